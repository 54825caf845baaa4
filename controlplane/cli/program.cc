#include "controlplane/cli/program.h"

#include <iterator>
#include <utility>

#include "controlplane/cli/commands.h"
#include "controlplane/cli/parser.h"
#include "controlplane/cli/read_files.h"

namespace spillway::cli {
namespace {

std::vector<Flag> GlobalFlagsOf(GlobalFlags& flags) {
  ConnectionFlags& c = flags.connection;
  return {{"-o,--output",
           "FORMAT",
           "table, json or yaml; csv for spend and spend chargeback (default table)",
           &flags.format,
           {"table", "json", "yaml", "csv"}},
          {"--admin", "ADDRESS",
           "HOST:PORT or https://HOST:PORT (SPILLWAY_ADMIN; default "
           "127.0.0.1:7070)",
           &c.admin},
          {"--token", "TOKEN",
           "admin token; other users of this machine can see it here: prefer "
           "SPILLWAY_ADMIN_TOKEN or --token-file",
           &c.token},
          {"--token-file", "PATH", "file that holds the admin token (SPILLWAY_ADMIN_TOKEN_FILE)",
           &c.token_file},
          {"--ca-file", "PATH",
           "who vouches for the control plane; means TLS "
           "(SPILLWAY_ADMIN_CA_FILE)",
           &c.ca_file},
          {"--cert", "PATH", "client certificate, for mutual TLS (SPILLWAY_ADMIN_CERT)", &c.cert},
          {"--key", "PATH", "its private key (SPILLWAY_ADMIN_KEY)", &c.key},
          {"--insecure-transport", "", "send the token in clear to another machine",
           &c.insecure_transport}};
}

void Append(std::vector<Command>& to, std::vector<Command> commands) {
  std::ranges::move(commands, std::back_inserter(to));
}

void PrintFailure(const Failure& failure, std::ostream& err) {
  err << "spillway: " << failure.message << "\n";
  // One violation is the message already.
  if (failure.violations.size() > 1) err << ViolationsText(failure.violations);
}

}  // namespace

Command RootCommand(GlobalFlags& flags) {
  Command root{.name = "spillway",
               .summary =
                   "Govern a Spillway cluster.\n\n"
                   "Settings: flags, then the environment, then lines NAME=VALUE of the same "
                   "names in\n~/.config/spillway/config (mode 0600).\n"
                   "Exit codes: 0 done; 1 refused, unreachable or not active everywhere; 2 "
                   "wrong usage.",
               .flags = GlobalFlagsOf(flags),
               .examples = {{"validate -f gateway.yaml", "check a file, offline"},
                            {"apply -f gateway.yaml", "make it so, and wait for the data planes"},
                            {"keys create support-bot", "make a client's key"},
                            {"spend --by team,model --since 24h", "see what it costs"},
                            {"fleet", "see who runs what"}}};
  Append(root.verbs, ConfigCommands());
  root.verbs.push_back(KeysCommand());
  Append(root.verbs, HistoryCommands());
  root.verbs.push_back(FleetCommand());
  Append(root.verbs, MoneyCommands());
  root.verbs.push_back(BudgetsCommand());
  root.verbs.push_back(AlertsCommand());
  root.verbs.push_back(PricesCommand());
  Append(root.verbs, OperationsCommands());
  return root;
}

int RunProgram(const std::vector<std::string>& words, Surroundings& surroundings) {
  GlobalFlags flags;
  const Command root = RootCommand(flags);
  const Parsed parsed = Parse(root, words, surroundings.out, surroundings.err);
  if (parsed.command == nullptr) return parsed.exit;
  if (flags.format == "csv" && !parsed.command->csv) {
    surroundings.err << "spillway: -o csv is for `spend` and `spend chargeback`; take -o json\n";
    return kUsage;
  }
  Session session(surroundings, flags, root);
  const Answer<int> outcome = parsed.command->run(session);
  surroundings.out.flush();
  if (outcome) return *outcome;
  PrintFailure(outcome.error(), surroundings.err);
  return outcome.error().exit;
}

}  // namespace spillway::cli
