#include <format>
#include <utility>

#include "controlplane/cli/commands.h"
#include "controlplane/cli/rollout.h"
#include "controlplane/cli/show_resource.h"
#include "controlplane/cli/time_text.h"

namespace spillway::cli {
namespace {

struct KeyArguments {
  std::string name;
  std::string team;
  std::string user;
  std::string organization;
  std::string feature;
  std::vector<std::string> routes;
  std::vector<std::string> models;
  std::string expires;
  std::string grace = "24h";
  RolloutFlags rollout;
};

Argument NameArgument(KeyArguments& arguments) {
  return {.name = "NAME", .help = "the key's name", .target = &arguments.name};
}

void AddRollout(Command& command, KeyArguments& arguments) {
  for (Flag& flag : FlagsOf(arguments.rollout)) command.flags.push_back(std::move(flag));
}

// The secret first and at once: it is gone when the wait is interrupted.
Answer<int> ShowSecret(Session& session, const v1::KeySecretResponse& response,
                       std::string_view note, const RolloutFlags& rollout) {
  if (session.for_people()) {
    session.out() << response.secret() << "\n" << std::flush;
    session.err() << "This is the secret of key \"" << response.key().name()
                  << "\"; it is shown here and nowhere again.\n"
                  << note << std::flush;
  }
  Value value;
  value.Set("key", KeyValue(response.key(), session.now_ms()))
      .Set("secret", response.secret())
      .Set("revision", response.revision());
  auto finished = FinishWith(session, value, response.revision(), true, rollout);
  // A program gets the secret even when the wait could not be made.
  if (!finished && !session.for_people()) session.Print(value);
  return finished;
}

Answer<int> CreateKey(Session& session, const KeyArguments& arguments) {
  v1::CreateKeyRequest request;
  v1::Key& key = *request.mutable_key();
  key.set_name(arguments.name);
  key.set_team(arguments.team);
  key.set_user(arguments.user);
  key.set_organization(arguments.organization);
  key.set_feature(arguments.feature);
  key.mutable_routes()->Assign(arguments.routes.begin(), arguments.routes.end());
  key.mutable_models()->Assign(arguments.models.begin(), arguments.models.end());
  if (!arguments.expires.empty()) {
    SW_TRY(const int64_t expires_at_ms, ParseExpiry(arguments.expires, session.now_ms()));
    key.set_expires_at_ms(expires_at_ms);
  }
  SW_TRY(Client* const client, StartChange(session, arguments.rollout));
  SW_TRY(const v1::KeySecretResponse response, client->CreateKey(request));
  return ShowSecret(session, response, "", arguments.rollout);
}

Answer<int> RotateKey(Session& session, const KeyArguments& arguments) {
  SW_TRY(const int64_t grace_ms, ParseSpan(arguments.grace));
  SW_TRY(Client* const client, StartChange(session, arguments.rollout));
  v1::RotateKeyRequest request;
  request.set_name(arguments.name);
  request.set_grace_ms(grace_ms);
  SW_TRY(const v1::KeySecretResponse response, client->RotateKey(request));
  const std::string note =
      response.key().secrets_size() < 2
          ? "The previous secret no longer works.\n"
          : std::format("The previous secret works until {} (--grace 0s ends it at once).\n",
                        MomentText(response.key().secrets(1).not_after_ms()));
  return ShowSecret(session, response, note, arguments.rollout);
}

Answer<int> RevokeKey(Session& session, const KeyArguments& arguments) {
  SW_TRY(Client* const client, StartChange(session, arguments.rollout));
  v1::RevokeKeyRequest request;
  request.set_name(arguments.name);
  SW_TRY(const v1::ApplyResponse response, client->RevokeKey(request));
  return FinishChange(session, response, arguments.rollout);
}

Answer<int> ListKeys(Session& session) {
  SW_TRY(const std::vector<v1::Resource> keys, ListAll(session, v1::KIND_KEY));
  Value::List items;
  for (const v1::Resource& key : keys) items.push_back(ResourceValue(key, session.now_ms()));
  session.PrintItems(std::move(items), TableOf(v1::KIND_KEY, keys, session.now_ms()), "no keys");
  return kOk;
}

std::string AllOr(const google::protobuf::RepeatedPtrField<std::string>& names) {
  return Joined({names.begin(), names.end()}, ", ");
}

Table DetailsOf(const v1::Key& key, int64_t now_ms, int64_t revision) {
  Table table({"FIELD", "VALUE"});
  table.Row({"name", key.name()});
  table.Row({"state", KeyState(key, now_ms)});
  table.Row({"organization", key.organization()});
  table.Row({"team", key.team()});
  table.Row({"user", key.user()});
  table.Row({"feature", key.feature()});
  const bool all = key.routes().empty() && key.models().empty();
  table.Row({"routes", all ? "all of its organization" : AllOr(key.routes())});
  table.Row({"models", all ? "all of its organization" : AllOr(key.models())});
  table.Row({"expires", key.expires_at_ms() == 0 ? "never" : MomentText(key.expires_at_ms())});
  table.Row({"declared", key.declared() ? "by a file" : "no"});
  for (const v1::KeySecret& secret : key.secrets()) {
    table.Row(
        {"secret",
         secret.public_id() +
             (secret.not_after_ms() == 0 ? "" : " until " + MomentText(secret.not_after_ms()))});
  }
  table.Row({"revision", std::to_string(revision)});
  return table;
}

Answer<int> ShowKey(Session& session, const KeyArguments& arguments) {
  SW_TRY(Client* const client, session.client());
  v1::GetRequest request;
  request.set_kind(v1::KIND_KEY);
  request.set_name(arguments.name);
  SW_TRY(const v1::GetResponse response, client->Get(request));
  const v1::Key& key = response.resource().key();
  if (session.for_people()) {
    session.Print(DetailsOf(key, session.now_ms(), response.revision()), "");
  } else {
    Value value = KeyValue(key, session.now_ms());
    value.Set("revision", response.revision());
    session.Print(value);
  }
  return kOk;
}

Command CreateCommand() {
  auto a = std::make_shared<KeyArguments>();
  Command command{
      .name = "create",
      .summary = "Make a key's secret and show it once",
      .arguments = {NameArgument(*a)},
      .flags = {{"--team", "NAME", "who pays; leave it out for a key that a file declares",
                 &a->team},
                {"--user", "NAME", "the user it belongs to", &a->user},
                {"--organization", "NAME", "when it has no team", &a->organization},
                {"--routes", "NAME,...", "what it may call (default: everything)", &a->routes},
                {"--models", "NAME,...", "what it may call, by model", &a->models},
                {"--feature", "TEXT", "what its spend is attributed to", &a->feature},
                {"--expires", "WHEN", "90d, or a date: 2027-01-01", &a->expires}},
      .examples = {{"keys create support-bot", "the secret of a key that a file declares"},
                   {"keys create alice-laptop --team support --expires 90d", "a new key"},
                   {"keys create ci --team support -o json | jq -r .secret", "for a script"}},
      .run = [a](Session& s) { return CreateKey(s, *a); },
      .values = a};
  AddRollout(command, *a);
  return command;
}

Command RotateCommand() {
  auto a = std::make_shared<KeyArguments>();
  Command command{
      .name = "rotate",
      .summary = "Make a new secret; the previous one works for a while",
      .arguments = {NameArgument(*a)},
      .flags = {{"--grace", "SPAN", "how long the previous one works (default 24h)", &a->grace}},
      .examples = {{"keys rotate support-bot", "the previous secret works for 24 hours more"},
                   {"keys rotate support-bot --grace 0s", "it leaked: end it now"}},
      .run = [a](Session& s) { return RotateKey(s, *a); },
      .values = a};
  AddRollout(command, *a);
  return command;
}

Command RevokeCommand() {
  auto a = std::make_shared<KeyArguments>();
  Command command{.name = "revoke",
                  .summary = "End a key for ever",
                  .arguments = {NameArgument(*a)},
                  .examples = {{"keys revoke alice-laptop", "refused everywhere from now on"}},
                  .run = [a](Session& s) { return RevokeKey(s, *a); },
                  .values = a};
  AddRollout(command, *a);
  return command;
}

Command ShowKeyCommand() {
  auto a = std::make_shared<KeyArguments>();
  return {.name = "show",
          .summary = "Show one key: its state, what it may call, the public ids of its secrets",
          .arguments = {NameArgument(*a)},
          .examples = {{"keys show support-bot", "is it active, and until when"}},
          .run = [a](Session& s) { return ShowKey(s, *a); },
          .values = a};
}

}  // namespace

Command KeysCommand() {
  Command list{.name = "list",
               .summary = "List all keys",
               .examples = {{"keys list", "names, states and public ids; never a secret"}},
               .run = ListKeys};
  return {.name = "keys",
          .summary = "API keys of clients",
          .examples = {{"keys create support-bot", "make the secret of a declared key"}},
          .verbs = {CreateCommand(), std::move(list), ShowKeyCommand(), RotateCommand(),
                    RevokeCommand()},
          .run = ListKeys};
}

}  // namespace spillway::cli
