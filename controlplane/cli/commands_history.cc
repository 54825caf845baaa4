#include <format>
#include <utility>

#include "controlplane/cli/commands.h"
#include "controlplane/cli/rollout.h"
#include "controlplane/cli/time_text.h"

namespace spillway::cli {
namespace {

constexpr int64_t kListedDefault = 20;

struct HistoryArguments {
  int64_t limit = kListedDefault;
  int64_t from = 0;
  int64_t to = 0;
  RolloutFlags rollout;
};

Answer<int> ListRevisions(Session& session, int64_t limit) {
  if (limit < 1 || limit > 1000) return FailUsage("--limit must be from 1 to 1000");
  SW_TRY(Client* const client, session.client());
  v1::ListRevisionsRequest request;
  request.set_limit(static_cast<int32_t>(limit));
  SW_TRY(const v1::ListRevisionsResponse response, client->ListRevisions(request));
  Table table({">REVISION", "COMMITTED", "AUTHOR", ">CHANGES", "SUMMARY"});
  Value::List items;
  for (const v1::Revision& revision : response.revisions()) {
    table.Row({std::to_string(revision.revision()), MomentText(revision.committed_at_ms()),
               revision.author(), std::to_string(revision.changes_size()), revision.summary()});
    items.push_back(ValueOf(revision));
  }
  session.PrintItems(std::move(items), table, "no revisions: nothing was ever applied");
  return kOk;
}

Answer<int> DiffRevisions(Session& session, const HistoryArguments& arguments) {
  SW_TRY(Client* const client, session.client());
  v1::DiffRevisionsRequest request;
  request.set_from(arguments.from);
  request.set_to(arguments.to);
  SW_TRY(const v1::ApplyResponse response, client->DiffRevisions(request));
  if (!session.for_people()) {
    session.Print(ValueOf(response));
  } else if (response.changes().empty()) {
    session.out() << std::format("revisions {} and {} are the same\n", arguments.from,
                                 response.revision());
  } else {
    session.out() << ChangesText(response);
  }
  return kOk;
}

Answer<int> Rollback(Session& session, const HistoryArguments& arguments) {
  SW_TRY(Client* const client, StartChange(session, arguments.rollout));
  v1::RollbackRequest request;
  request.set_revision(arguments.from);
  SW_TRY(const v1::ApplyResponse response, client->Rollback(request));
  return FinishChange(session, response, arguments.rollout);
}

// `revisions rollback N` and, for the hurried, `rollback N`.
Command RollbackCommand(const std::string& prefix) {
  auto a = std::make_shared<HistoryArguments>();
  return {.name = "rollback",
          .summary = "Make a new revision with the resources of an old one",
          .arguments = {{.name = "REVISION", .help = "the old one", .target = &a->from}},
          .flags = FlagsOf(a->rollout),
          .examples = {{prefix + "rollback 41",
                        "undo what came after revision 41; revoked keys stay revoked, keys that no "
                        "file declares and spend stay as they are"}},
          .run = [a](Session& s) { return Rollback(s, *a); },
          .values = a};
}

Flag LimitFlag(HistoryArguments& arguments) {
  return {"--limit", "N", "how many, newest first (default 20)", &arguments.limit};
}

Command RevisionListCommand() {
  auto a = std::make_shared<HistoryArguments>();
  return {.name = "list",
          .summary = "List revisions, newest first",
          .flags = {LimitFlag(*a)},
          .examples = {{"revisions list --limit 5", "who changed what, lately"}},
          .run = [a](Session& s) { return ListRevisions(s, a->limit); },
          .values = a};
}

Command RevisionDiffCommand() {
  auto a = std::make_shared<HistoryArguments>();
  return {.name = "diff",
          .summary = "Show what changed between two revisions",
          .arguments = {{.name = "FROM", .help = "the older revision", .target = &a->from},
                        {.name = "TO",
                         .help = "the newer one; left out: the current",
                         .target = &a->to,
                         .required = false}},
          .examples = {{"revisions diff 41 42", "what revision 42 did"},
                       {"revisions diff 41", "everything since revision 41"}},
          .run = [a](Session& s) { return DiffRevisions(s, *a); },
          .values = a};
}

}  // namespace

std::vector<Command> HistoryCommands() {
  Command revisions{
      .name = "revisions",
      .summary = "The configuration's history",
      .examples = {{"revisions", "the last 20"}},
      .verbs = {RevisionListCommand(), RevisionDiffCommand(), RollbackCommand("revisions ")},
      .run = [](Session& s) { return ListRevisions(s, kListedDefault); }};
  std::vector<Command> commands;
  commands.push_back(std::move(revisions));
  commands.push_back(RollbackCommand(""));
  return commands;
}

}  // namespace spillway::cli
