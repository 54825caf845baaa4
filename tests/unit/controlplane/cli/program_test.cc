#include "controlplane/cli/program.h"

#include <catch2/catch_all.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "common/clock.h"
#include "controlplane/cli/commands.h"
#include "controlplane/cli/completion.h"
#include "tests/fakes/temp_folder.h"

namespace spillway::cli {
namespace {

struct Run {
  int exit = 0;
  std::string out;
  std::string err;
};

Run RunWith(const std::vector<std::string>& words, const std::string& input = "") {
  std::istringstream in(input);
  std::ostringstream out;
  std::ostringstream err;
  const ManualClock clock;
  Surroundings surroundings{.in = in,
                            .out = out,
                            .err = err,
                            .in_is_terminal = false,
                            .environment = [](const char*) { return std::nullopt; },
                            .clock = clock};
  const int exit = RunProgram(words, surroundings);
  return {exit, out.str(), err.str()};
}

void Walk(const Command& command, const std::string& path,
          const std::function<void(const std::string&, const Command&)>& visit) {
  visit(path, command);
  for (const Command& verb : command.verbs) Walk(verb, path + " " + verb.name, visit);
}

TEST_CASE("every command has help with an example that parses") {
  GlobalFlags flags;
  const Command root = RootCommand(flags);
  Walk(root, "", [](const std::string& path, const Command& command) {
    INFO("spillway" << path);
    CHECK_FALSE(command.summary.empty());
    std::istringstream stream(path);
    std::vector<std::string> words;
    for (std::string word; stream >> word;) words.push_back(word);
    words.emplace_back("--help");
    const Run help = RunWith(words);
    CHECK(help.exit == kOk);
    CHECK(help.err.empty());
    for (const Command& verb : command.verbs) CHECK(help.out.contains(verb.name));
    if (!command.run) return;
    CHECK_FALSE(command.examples.empty());
    for (const Example& example : command.examples) CHECK(help.out.contains(example.line));
  });
}

TEST_CASE("wrong usage is exit code 2 and one hint where help is") {
  const auto words = GENERATE(values<std::vector<std::string>>(
      {{"aply"},
       {"apply", "--nonsense"},
       {"get"},
       {"get", "nonsense"},
       {"keys", "create"},
       {"spend", "--by", "moon"},
       {"revisions", "rollback", "x"},
       {"-o", "xml", "version"},
       {"completion", "fish"},
       {"validate"},
       {"apply"},
       {"ledger"},
       {"spend", "--by", "tag:env"},
       {"spend", "--by", "tag:"},
       {"spend", "--where", "tag:env"},
       {"spend", "--waste", "--unpriced"},
       {"spend", "chargeback"},
       {"spend", "chargeback", "--month", "2026-13"},
       {"spend", "chargeback", "--month", "2026-11", "--time-zone", "Mars"},
       {"keys", "list", "-o", "csv"},
       {"budgets", "show"},
       {"budgets", "raise", "b"},
       {"budgets", "raise", "b", "--usd", "20"},
       {"budgets", "raise", "b", "--usd", "-1", "--until", "1d"},
       {"budgets", "raise", "b", "--usd", "20", "--until", "2020-01-01"},
       {"alerts", "test"},
       {"alerts", "list", "--limit", "0"},
       {}}));
  const Run run = RunWith(words);
  INFO(run.err);
  CHECK(run.exit == kUsage);
  CHECK(run.out.empty());
  CHECK_FALSE(run.err.empty());
}

TEST_CASE("an unreachable control plane says which address and what to set") {
  // Port 1 of the loopback: nothing listens there.
  const Run run = RunWith({"keys", "list", "--admin", "127.0.0.1:1"});
  CHECK(run.exit == kFailed);
  CHECK(run.err.contains("127.0.0.1:1"));
  CHECK(run.err.contains("SPILLWAY_ADMIN"));
}

TEST_CASE("a timeout that makes no sense is found before anything is changed") {
  const Run run = RunWith({"keys", "revoke", "k", "--timeout", "soon", "--admin", "127.0.0.1:1"});
  CHECK(run.exit == kUsage);
}

TEST_CASE("version prints one line, or JSON") {
  CHECK(RunWith({"version"}).out.starts_with("spillway "));
  CHECK(RunWith({"version", "-o", "json"}).out.starts_with("{\n  \"version\": \""));
}

TEST_CASE("validate reads standard input, offline, and names every line") {
  const Run good = RunWith({"validate", "-f", "-"}, "teams: [{name: support}]\n");
  CHECK(good.exit == kOk);
  CHECK(good.out == "valid: 1 resources\n");
  const Run bad = RunWith({"validate", "-f", "-"},
                          "teams:\n  - {name: support, organization: nobody}\n"
                          "models:\n  - {name: m, provider: nobody, price: {input: 1}}\n"
                          "  - {name: n, colour: red}\n");
  INFO(bad.out);
  CHECK(bad.exit == kFailed);
  CHECK(bad.out.contains("team/support"));
  CHECK(bad.out.contains("stdin:2"));
  CHECK(bad.out.contains("stdin:4"));
  CHECK(bad.out.contains("colour"));
  CHECK(RunWith({"validate", "-f", "/nowhere.yaml"}).exit == kFailed);
  // What is wrong deep inside a resource names its own line, and no second one.
  const Run deep = RunWith({"validate", "-f", "-"},
                           "price_books:\n  - name: b\n    models:\n"
                           "      m: {input: 1, colour: red}\n");
  INFO(deep.out);
  CHECK(deep.out.contains("(stdin:4)"));
  CHECK_FALSE(deep.out.contains("(stdin:2)"));
}

TEST_CASE("the sample is valid as it is written, whatever this machine's environment") {
  const Run sample = RunWith({"validate", "-f", SPILLWAY_SAMPLES "quickstart.yaml"});
  INFO(sample.out << sample.err);
  CHECK(sample.exit == kOk);
  const Run bad = RunWith({"validate", "-f", "-"},
                          "providers:\n  - {name: p, dialect: openai, base_url: 'ftp://h/v1', "
                          "credentials: [{name: main, api_key: '${env:K}'}]}\n");
  CHECK(bad.exit == kFailed);
  CHECK(bad.out.contains("base_url"));
}

TEST_CASE("completion scripts hold every command and flag") {
  GlobalFlags flags;
  const Command root = RootCommand(flags);
  for (const char* shell : {"bash", "zsh"}) {
    const Run run = RunWith({"completion", shell});
    REQUIRE(run.exit == kOk);
    Walk(root, "", [&](const std::string& path, const Command& command) {
      INFO(shell << path);
      CHECK(run.out.contains("\"" + path + "\""));
      for (const Flag& flag : command.flags) {
        const std::string last = flag.names.substr(flag.names.rfind(',') + 1);
        CHECK(run.out.contains(last));
      }
    });
  }
}

TEST_CASE("the bash script completes words, flags and choices") {
  struct Row {
    const char* line;
    const char* want;
  };
  const auto row = GENERATE(values<Row>({{"spillway keys cr", "create"},
                                         {"spillway app", "apply"},
                                         {"spillway apply --pr", "--prune"},
                                         {"spillway get mod", "model models"},
                                         {"spillway -o y", "yaml"},
                                         {"spillway keys create x --tea", "--team"},
                                         {"spillway spend --by te", "team"},
                                         {"spillway budgets unf", "unfreeze"},
                                         {"spillway budgets raise x --u", "--usd --until"},
                                         {"spillway spend --w", "--where --waste"},
                                         {"spillway spend charge", "chargeback"},
                                         {"spillway alerts te", "test"},
                                         {"spillway tokens create --role ed", "editor"},
                                         {"spillway keys nonsense-", ""}}));
  const TempFolder folder;
  const std::string path = folder.Path("completion.sh");
  std::ofstream(path) << RunWith({"completion", "bash"}).out << "\nCOMP_WORDS=(" << row.line
                      << ")\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_spillway\n"
                      << "echo \"${COMPREPLY[*]}\"\n";
  FILE* shell = ::popen(("bash --norc " + path).c_str(), "r");
  REQUIRE(shell != nullptr);
  std::string reply(4096, '\0');
  reply.resize(::fread(reply.data(), 1, reply.size(), shell));
  CHECK(::pclose(shell) == 0);
  INFO(row.line);
  CHECK(reply == std::string(row.want) + "\n");
}

}  // namespace
}  // namespace spillway::cli
