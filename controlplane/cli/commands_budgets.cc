// budgets: where each stands, and what operators do in a hurry.
#include <algorithm>
#include <format>
#include <memory>
#include <utility>

#include "common/money.h"
#include "common/utc.h"
#include "controlplane/cli/budget_text.h"
#include "controlplane/cli/commands.h"
#include "controlplane/cli/rollout.h"
#include "controlplane/cli/show_resource.h"
#include "controlplane/cli/time_text.h"

namespace spillway::cli {
namespace {

struct BudgetArguments {
  std::string name;
  std::string subject;
  std::string usd;
  std::string until;
  int64_t limit = 100;
  RolloutFlags rollout;
};

Argument NameArgument(BudgetArguments& arguments) {
  return {.name = "NAME", .help = "the budget's name", .target = &arguments.name};
}

void AddRollout(Command& command, BudgetArguments& arguments) {
  for (Flag& flag : FlagsOf(arguments.rollout)) command.flags.push_back(std::move(flag));
}

// As the protocol has it, and the end of the window as people read it.
template <typename Message>
Value WithReset(const Message& message) {
  Value value = ValueOf(message);
  return value.Set("resets_at",
                   message.window_end_ms() == 0 ? "" : FormatUtc(message.window_end_ms()));
}

Answer<std::vector<v1::BudgetStatus>> FetchAll(Session& session) {
  SW_TRY(Client* const client, session.client());
  std::vector<v1::BudgetStatus> all;
  v1::ListBudgetsRequest request;
  do {
    SW_TRY(v1::ListBudgetsResponse response, client->ListBudgets(request));
    for (v1::BudgetStatus& status : *response.mutable_budgets()) all.push_back(std::move(status));
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return all;
}

Answer<int> ListBudgets(Session& session) {
  SW_TRY(const std::vector<v1::BudgetStatus> all, FetchAll(session));
  Table table({"NAME", "WHOSE", ">LIMIT USD", "WINDOW", ">ACCOUNTS", ">SETTLED", ">RESERVED",
               ">LEASED", ">STRANDED", ">REMAINDER", "RESETS AT", ">OVERSHOOT BOUND", "STATE"});
  Value::List items;
  for (const v1::BudgetStatus& status : all) {
    table.Row({status.budget().name(), ScopeText(status.budget().scope()),
               FormatUsd(status.limit_nanos()), WindowText(status.budget()),
               Grouped(status.accounts()), FormatUsd(status.settled_nanos()),
               FormatUsd(status.reserved_nanos()), FormatUsd(status.leased_nanos()),
               FormatUsd(status.stranded_nanos()), FormatUsd(status.remainder_nanos()),
               ResetText(status.window_end_ms()), FormatUsd(status.overshoot_bound_nanos()),
               StateText(status)});
    items.push_back(WithReset(status));
  }
  session.PrintItems(std::move(items), table, "no budgets");
  return kOk;
}

Answer<v1::ShowBudgetResponse> Fetch(Session& session, const BudgetArguments& arguments) {
  constexpr int64_t kPage = 1000;
  if (arguments.limit < 0) return FailUsage("--limit must be 0 (all) or more");
  SW_TRY(Client* const client, session.client());
  v1::ShowBudgetRequest request;
  request.set_name(arguments.name);
  request.set_subject(arguments.subject);
  v1::ShowBudgetResponse all;
  while (true) {
    const int64_t left = arguments.limit - all.accounts_size();
    request.set_page_size(
        static_cast<int32_t>(arguments.limit == 0 ? kPage : std::min(left, kPage)));
    SW_TRY(v1::ShowBudgetResponse page, client->ShowBudget(request));
    *all.mutable_status() = std::move(*page.mutable_status());
    for (v1::BudgetAccount& account : *page.mutable_accounts())
      *all.add_accounts() = std::move(account);
    all.set_next_page_token(page.next_page_token());
    request.set_page_token(page.next_page_token());
    const bool full = arguments.limit != 0 && all.accounts_size() >= arguments.limit;
    if (full || page.next_page_token().empty()) return all;
  }
}

Table AccountsTable(const v1::ShowBudgetResponse& response) {
  Table table({"SUBJECT", "WINDOW FROM", ">LIMIT USD", ">SETTLED", ">RESERVED", ">LEASED",
               ">STRANDED", ">REMAINDER", "RESETS AT", ">OVERSHOOT BOUND", "STATE"});
  for (const v1::BudgetAccount& account : response.accounts()) {
    table.Row({account.subject(), MomentText(account.window_start_ms()),
               FormatUsd(account.limit_nanos()), FormatUsd(account.settled_nanos()),
               FormatUsd(account.reserved_nanos()), FormatUsd(account.leased_nanos()),
               FormatUsd(account.stranded_nanos()), FormatUsd(account.remainder_nanos()),
               ResetText(account.window_end_ms()), FormatUsd(account.overshoot_bound_nanos()),
               StateText(account)});
  }
  return table;
}

Table HoldersTable(const v1::ShowBudgetResponse& response, int64_t now_ms) {
  Table table({"SUBJECT", "DATA PLANE", "HOLDER", ">SPENT USD", ">RESERVED", ">LEASED", ">STRANDED",
               "STATE"});
  for (const v1::BudgetAccount& account : response.accounts()) {
    for (const v1::BudgetHolder& holder : account.holders()) {
      table.Row({account.subject(), holder.instance(), holder.incarnation(),
                 FormatUsd(holder.spent_nanos()), FormatUsd(holder.reserved_nanos()),
                 FormatUsd(holder.leased_nanos()), FormatUsd(holder.stranded_nanos()),
                 HolderText(holder, now_ms)});
    }
  }
  return table;
}

void PrintForPeople(Session& session, const v1::ShowBudgetResponse& response) {
  session.out() << HeadText(response.status());
  if (response.accounts().empty()) {
    session.out() << "nothing was spent or leased in the running window\n";
    return;
  }
  session.out() << "\n" << AccountsTable(response).Text();
  const Table holders = HoldersTable(response, session.now_ms());
  if (!holders.empty()) session.out() << "\n" << holders.Text();
  session.out() << "\n" << BoundText(response);
  if (!response.next_page_token().empty())
    session.err() << "there are more accounts: --limit 0 shows all, --subject one\n";
}

Answer<int> ShowBudget(Session& session, const BudgetArguments& arguments) {
  SW_TRY(const v1::ShowBudgetResponse response, Fetch(session, arguments));
  if (session.for_people()) {
    PrintForPeople(session, response);
    return kOk;
  }
  Value::List accounts;
  for (const v1::BudgetAccount& account : response.accounts())
    accounts.push_back(WithReset(account));
  Value value;
  value.Set("status", WithReset(response.status()))
      .Set("accounts", std::move(accounts))
      .Set("more", !response.next_page_token().empty());
  session.Print(value);
  return kOk;
}

Answer<int> Freeze(Session& session, const BudgetArguments& arguments, bool frozen) {
  SW_TRY(Client* const client, StartChange(session, arguments.rollout));
  v1::FreezeBudgetRequest request;
  request.set_name(arguments.name);
  request.set_frozen(frozen);
  SW_TRY(const v1::ApplyResponse response, client->FreezeBudget(request));
  return FinishChange(session, response, arguments.rollout);
}

Answer<int> Raise(Session& session, const BudgetArguments& arguments) {
  const Result<Nanos> nanos = ParseUsd(arguments.usd);
  if (!nanos || *nanos <= 0)
    return FailUsage(std::format("--usd {}: write dollars on top of the limit, such as 20 or 12.50",
                                 arguments.usd));
  if (arguments.until.empty())
    return FailUsage("--until says when the raise ends: 24h, 7d or a date such as 2026-12-01");
  SW_TRY(const int64_t until_ms, ParseExpiry(arguments.until, session.now_ms()));
  if (until_ms <= session.now_ms())
    return FailUsage(std::format("--until {}: that has passed", arguments.until));
  SW_TRY(Client* const client, StartChange(session, arguments.rollout));
  v1::RaiseBudgetRequest request;
  request.set_name(arguments.name);
  request.set_nanos(*nanos);
  request.set_until_ms(until_ms);
  SW_TRY(const v1::ApplyResponse response, client->RaiseBudget(request));
  return FinishChange(session, response, arguments.rollout);
}

Answer<int> Lower(Session& session, const BudgetArguments& arguments) {
  SW_TRY(Client* const client, StartChange(session, arguments.rollout));
  v1::LowerRaiseRequest request;
  request.set_name(arguments.name);
  SW_TRY(const v1::ApplyResponse response, client->LowerRaise(request));
  return FinishChange(session, response, arguments.rollout);
}

Command ShowBudgetCommand() {
  auto a = std::make_shared<BudgetArguments>();
  return {
      .name = "show",
      .summary = "One budget: its accounts, who holds leases, how far it may be overshot",
      .arguments = {NameArgument(*a)},
      .flags = {{"--subject", "VALUE", "of a budget with `each`: this account only", &a->subject},
                {"--limit", "N", "accounts, by subject; 0: all (default 100)", &a->limit}},
      .examples = {{"budgets show support-month", "what is left, and where the rest is"},
                   {"budgets show per-user-day --subject alice", "one user's day"}},
      .run = [a](Session& s) { return ShowBudget(s, *a); },
      .values = a};
}

Command FreezeCommand(bool frozen) {
  auto a = std::make_shared<BudgetArguments>();
  Command command{
      .name = frozen ? "freeze" : "unfreeze",
      .summary = frozen ? "Admit nothing under a budget from now on; calls in flight finish"
                        : "End a freeze; what was spent stays spent",
      .arguments = {NameArgument(*a)},
      .examples = {frozen ? Example{"budgets freeze support-month", "the kill switch"}
                          : Example{"budgets unfreeze support-month", "as before the freeze"}},
      .run = [a, frozen](Session& s) { return Freeze(s, *a, frozen); },
      .values = a};
  AddRollout(command, *a);
  return command;
}

Command RaiseCommand() {
  auto a = std::make_shared<BudgetArguments>();
  Command command{.name = "raise",
                  .summary = "Give more than the limit for a while; replaces an earlier raise",
                  .arguments = {NameArgument(*a)},
                  .flags = {{"--usd", "AMOUNT", "dollars on top of the limit (required)", &a->usd},
                            {"--until", "WHEN", "24h, 7d or a date (required)", &a->until}},
                  .examples = {{"budgets raise support-month --usd 20 --until 2026-12-01",
                                "to the month's end"},
                               {"budgets raise per-user-day --usd 5 --until 8h", "a long day"}},
                  .run = [a](Session& s) { return Raise(s, *a); },
                  .values = a};
  AddRollout(command, *a);
  return command;
}

Command LowerCommand() {
  auto a = std::make_shared<BudgetArguments>();
  Command command{.name = "lower",
                  .summary = "End a raise now",
                  .arguments = {NameArgument(*a)},
                  .examples = {{"budgets lower support-month", "back to the limit of the file"}},
                  .run = [a](Session& s) { return Lower(s, *a); },
                  .values = a};
  AddRollout(command, *a);
  return command;
}

Answer<int> OpenGate(Session& session) {
  SW_TRY(Client* const client, session.client());
  SW_TRY(const v1::OpenBudgetGateResponse response, client->OpenBudgetGate());
  if (!session.for_people()) {
    session.Print(ValueOf(response));
    return kOk;
  }
  session.out() << (response.was_shut() ? "the gate is open: budgets grant again\n"
                                        : "the gate was not shut\n");
  if (response.waited_for_size() > 0) {
    session.err() << std::format(
        "not waited for any more: {}; what they hold can be spent on top of the limits\n",
        Printable(Joined({response.waited_for().begin(), response.waited_for().end()}, ", ")));
  }
  return kOk;
}

Command OpenGateCommand() {
  return {.name = "open-gate",
          .summary =
              "After a restore: grant again without waiting for every data plane; what the "
              "missing ones hold may be spent on top",
          .examples = {{"budgets open-gate", "when a data plane of before the restore is gone"}},
          .run = OpenGate};
}

}  // namespace

Command BudgetsCommand() {
  Command list{.name = "list",
               .summary = "All budgets: limit, spent, held by data planes, left",
               .examples = {{"budgets list", "which are near their end"}},
               .run = ListBudgets};
  return {.name = "budgets",
          .summary = "Budgets: what is left, who holds it, freeze and raise",
          .examples = {{"budgets", "the same as `budgets list`"}},
          .verbs = {std::move(list), ShowBudgetCommand(), FreezeCommand(true), FreezeCommand(false),
                    RaiseCommand(), LowerCommand(), OpenGateCommand()},
          .run = ListBudgets};
}

}  // namespace spillway::cli
