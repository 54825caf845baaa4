#include <format>
#include <utility>

#include "common/settings.h"
#include "controlplane/cli/commands.h"
#include "controlplane/cli/completion.h"
#include "controlplane/cli/time_text.h"

namespace spillway::cli {
namespace {

struct TokenArguments {
  std::string name;
  std::string role = "viewer";
  std::string expires;
};

Answer<int> CreateBackup(Session& session) {
  constexpr int64_t kBackupMs = 600'000;
  SW_TRY(Client* const client, session.client());
  client->SetDeadline(kBackupMs);
  SW_TRY(const v1::CreateBackupResponse response, client->CreateBackup());
  if (!session.for_people()) {
    session.Print(ValueOf(response));
  } else {
    session.out() << std::format(
        "{} ({}, revision {})\nrestore: spillway-controlplane --restore {}\n", response.path(),
        SizeText(response.bytes()), response.revision(), response.path());
  }
  return kOk;
}

Answer<int> ListBackups(Session& session) {
  SW_TRY(Client* const client, session.client());
  SW_TRY(const v1::ListBackupsResponse response, client->ListBackups());
  Table table({"CREATED", ">SIZE", "PATH"});
  Value::List items;
  for (const v1::BackupInfo& backup : response.backups()) {
    table.Row({MomentText(backup.created_at_ms()), SizeText(backup.bytes()), backup.path()});
    items.push_back(ValueOf(backup));
  }
  session.PrintItems(std::move(items), table, "no backups; `spillway backup create` makes one");
  return kOk;
}

v1::Role RoleOf(const std::string& name) {
  if (name == "admin") return v1::ROLE_ADMIN;
  return name == "editor" ? v1::ROLE_EDITOR : v1::ROLE_VIEWER;
}

Answer<int> CreateToken(Session& session, const TokenArguments& arguments) {
  v1::CreateAdminTokenRequest request;
  request.set_name(arguments.name);
  request.set_role(RoleOf(arguments.role));
  if (!arguments.expires.empty()) {
    SW_TRY(const int64_t expires_at_ms, ParseExpiry(arguments.expires, session.now_ms()));
    request.set_expires_at_ms(expires_at_ms);
  }
  SW_TRY(Client* const client, session.client());
  SW_TRY(const v1::CreateAdminTokenResponse response, client->CreateAdminToken(request));
  if (!session.for_people()) {
    session.Print(ValueOf(response));
  } else {
    session.out() << response.secret() << "\n";
    session.err() << std::format(
        "This is the token \"{}\" ({}); it is shown here and nowhere again.\n", arguments.name,
        arguments.role);
  }
  return kOk;
}

Answer<int> ListTokens(Session& session) {
  SW_TRY(Client* const client, session.client());
  SW_TRY(const v1::ListAdminTokensResponse response, client->ListAdminTokens());
  Table table({"NAME", "ROLE", "PUBLIC ID", "CREATED", "EXPIRES"});
  Value::List items;
  for (const v1::AdminToken& token : response.tokens()) {
    const char* role = token.role() == v1::ROLE_ADMIN    ? "admin"
                       : token.role() == v1::ROLE_EDITOR ? "editor"
                                                         : "viewer";
    table.Row({token.name(), role, token.public_id(), MomentText(token.created_at_ms()),
               token.expires_at_ms() == 0 ? "never" : MomentText(token.expires_at_ms())});
    items.push_back(ValueOf(token));
  }
  session.PrintItems(std::move(items), table, "no tokens");
  return kOk;
}

Answer<int> RevokeToken(Session& session, const TokenArguments& arguments) {
  SW_TRY(Client* const client, session.client());
  v1::RevokeAdminTokenRequest request;
  request.set_name(arguments.name);
  SW_CHECK(client->RevokeAdminToken(request));
  if (session.for_people()) {
    session.out() << "token \"" << arguments.name << "\" is revoked\n";
  } else {
    Value value;
    session.Print(value.Set("revoked", arguments.name));
  }
  return kOk;
}

Answer<int> PrintVersion(Session& session, bool server) {
  Value value;
  value.Set("version", Version());
  std::string text = std::format("spillway {}\n", Version());
  if (server) {
    SW_TRY(Client* const client, session.client());
    SW_TRY(const v1::GetServerInfoResponse info, client->GetServerInfo());
    value.Set("server", ValueOf(info));
    text += std::format("control plane {}: cluster {}, epoch {}, revision {}, {}\n", info.version(),
                        info.cluster_id(), info.epoch(), info.revision(),
                        info.writable() ? "writable" : "read-only: " + info.why_not_writable());
  }
  if (session.for_people()) {
    session.out() << text;
  } else {
    session.Print(value);
  }
  return kOk;
}

Command TokensCommand(const std::string& prefix) {
  auto a = std::make_shared<TokenArguments>();
  Command create{
      .name = "create",
      .summary = "Make an admin token and show it once",
      .arguments = {{.name = "NAME", .help = "who will use it", .target = &a->name}},
      .flags = {{"--role",
                 "ROLE",
                 "viewer, editor or admin (default viewer)",
                 &a->role,
                 {"viewer", "editor", "admin"}},
                {"--expires", "WHEN", "90d, or a date (default: never)", &a->expires}},
      .examples = {{prefix + "tokens create ci --role editor --expires 90d", "for a pipeline"}},
      .run = [a](Session& s) { return CreateToken(s, *a); },
      .values = a};
  Command revoke{.name = "revoke",
                 .summary = "End an admin token",
                 .arguments = {{.name = "NAME", .help = "its name", .target = &a->name}},
                 .examples = {{prefix + "tokens revoke ci", "refused from now on"}},
                 .run = [a](Session& s) { return RevokeToken(s, *a); },
                 .values = a};
  Command list{.name = "list",
               .summary = "List admin tokens; never their secrets",
               .examples = {{prefix + "tokens list", "who may do what"}},
               .run = ListTokens};
  return {.name = "tokens",
          .summary = "Tokens of operators",
          .examples = {{prefix + "tokens", "the same as `tokens list`"}},
          .verbs = {std::move(create), std::move(list), std::move(revoke)},
          .run = ListTokens};
}

Command BackupCommand() {
  Command create{.name = "create",
                 .summary = "Make a consistent backup on the control plane's disk",
                 .examples = {{"backup create", "configuration, ledger and tokens"}},
                 .run = CreateBackup};
  Command list{.name = "list",
               .summary = "List backups",
               .examples = {{"backup list", "newest last"}},
               .run = ListBackups};
  return {.name = "backup",
          .summary = "Backups of the control plane",
          .examples = {{"backup", "the same as `backup list`"}},
          .verbs = {std::move(create), std::move(list)},
          .run = ListBackups};
}

Command VersionCommand() {
  auto server = std::make_shared<bool>(false);
  return {.name = "version",
          .summary = "Show this program's version, and the control plane's",
          .flags = {{"--server", "", "ask the control plane, too: version, epoch, revision",
                     server.get()}},
          .examples = {{"version --server", "is the control plane writable, and why not"}},
          .run = [server](Session& s) { return PrintVersion(s, *server); },
          .values = server};
}

Command CompletionCommand() {
  auto shell = std::make_shared<std::string>();
  return {.name = "completion",
          .summary = "Print a completion script for a shell",
          .arguments = {{.name = "SHELL",
                         .help = "bash or zsh",
                         .target = shell.get(),
                         .choices = {"bash", "zsh"}}},
          .examples = {{"completion bash > ~/.local/share/bash-completion/completions/spillway",
                        "for bash"},
                       {"completion zsh > \"${fpath[1]}/_spillway\"", "for zsh"}},
          .run = [shell](Session& s) -> Answer<int> {
            s.out() << (*shell == "zsh" ? ZshCompletion(s.root()) : BashCompletion(s.root()));
            return kOk;
          },
          .values = shell};
}

}  // namespace

std::vector<Command> OperationsCommands() {
  Command admin{.name = "admin",
                .summary = "The same as `tokens`: `admin tokens ...`",
                .verbs = {TokensCommand("admin ")}};
  std::vector<Command> commands;
  commands.push_back(BackupCommand());
  commands.push_back(TokensCommand(""));
  commands.push_back(std::move(admin));
  commands.push_back(VersionCommand());
  commands.push_back(CompletionCommand());
  return commands;
}

}  // namespace spillway::cli
