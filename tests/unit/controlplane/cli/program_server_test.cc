// The program against a real control plane's API.
#include <catch2/catch_all.hpp>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "controlplane/cli/program.h"
#include "tests/unit/controlplane/api/admin_world.h"

namespace spillway::cli {
namespace {

using api::AdminWorld;

struct Run {
  int exit = 0;
  std::string out;
  std::string err;
};

class Operator {
 public:
  explicit Operator(AdminWorld& world) : world_(world) {
    environment_ = {{"SPILLWAY_ADMIN", world.address()},
                    {"SPILLWAY_ADMIN_TOKEN", world.secrets[v1::ROLE_ADMIN]}};
  }
  Run operator()(const std::vector<std::string>& words, const std::string& input = "") {
    std::istringstream in(input);
    std::ostringstream out;
    std::ostringstream err;
    Surroundings surroundings{
        .in = in,
        .out = out,
        .err = err,
        .in_is_terminal = false,
        .environment = [this](const char* name) -> std::optional<std::string> {
          const auto it = environment_.find(name);
          if (it == environment_.end()) return std::nullopt;
          return it->second;
        },
        .clock = world_.api.clock};
    const int exit = RunProgram(words, surroundings);
    return {exit, out.str(), err.str()};
  }
  void Set(const std::string& name, const std::string& value) { environment_[name] = value; }

 private:
  AdminWorld& world_;
  std::map<std::string, std::string> environment_;
};

constexpr const char* kFile =
    "providers:\n"
    "  - {name: local, dialect: openai, base_url: 'http://127.0.0.1:9100/v1', credentials: []}\n"
    "models: [{name: m, provider: local, price: {input: 0.25, output: 2}}]\n"
    "teams: [{name: support}]\n"
    "keys: [{name: support-bot, team: support}]\n";

void SetFleet(AdminWorld& world, int active, int connected) {
  v1::WaitActiveResponse answer;
  answer.set_active(active);
  answer.set_connected(connected);
  answer.set_elapsed_us(12'345);
  world.fleet.Set(answer);
}

TEST_CASE("apply prints what it changed and how far it got") {
  AdminWorld world;
  Operator run(world);
  SetFleet(world, 3, 3);
  const Run applied = run({"apply", "-f", "-"}, kFile);
  INFO(applied.err);
  CHECK(applied.exit == kOk);
  CHECK(applied.out ==
        "+ provider/local\n+ model/m\n+ team/support\n+ key/support-bot\n"
        "revision 1\nactive on 3/3 in 12 ms\n");
  const Run again = run({"apply", "-f", "-"}, kFile);
  CHECK(again.out == "nothing changes; revision 1 is current\nactive on 3/3\n");
  const Run changed = run({"apply", "-f", "-", "--no-wait"},
                          "models: [{name: m, provider: local, price: {input: 1}}]");
  CHECK(changed.out ==
        "~ model/m\n    price.input: 0.25 -> 1\n    price.output: 2 -> (none)\nrevision 2\n");
}

TEST_CASE("apply without a data plane says so and succeeds") {
  AdminWorld world;
  Operator run(world);
  const Run applied = run({"apply", "-f", "-"}, "teams: [{name: t}]");
  CHECK(applied.exit == kOk);
  CHECK(applied.out.ends_with(
      "no data plane is connected; they take revision 1 when they connect\n"));
}

TEST_CASE("a data plane that refuses the revision is named with its reason") {
  AdminWorld world;
  Operator run(world);
  v1::WaitActiveResponse answer;
  answer.set_active(2);
  answer.set_connected(3);
  v1::Instance& behind = *answer.add_behind();
  behind.set_instance("dp-3");
  behind.set_nack_revision(1);
  behind.set_nack_reason("model m: too dear");
  world.fleet.Set(answer);
  const Run applied = run({"apply", "-f", "-"}, "teams: [{name: t}]");
  CHECK(applied.exit == kFailed);
  CHECK(applied.out.ends_with("active on 2/3\n  dp-3 refused revision 1: model m: too dear\n"));
}

TEST_CASE("violations of the server come with the lines of the file") {
  AdminWorld world;
  Operator run(world);
  const Run refused = run({"apply", "-f", "-"}, "teams:\n  - {name: t, organization: nobody}\n");
  CHECK(refused.exit == kFailed);
  CHECK(refused.out.empty());
  CHECK(refused.err.contains("team/t organization"));
  CHECK(refused.err.contains("(stdin:2)"));
}

TEST_CASE("keys create prints the secret once; JSON has it at the top") {
  AdminWorld world;
  Operator run(world);
  REQUIRE(run({"apply", "-f", "-"}, kFile).exit == kOk);
  SetFleet(world, 1, 1);
  const Run made = run({"keys", "create", "support-bot", "-o", "json"});
  CHECK(made.exit == kOk);
  CHECK(made.out.starts_with("{\n  \"key\": {\n    \"name\": \"support-bot\""));
  CHECK(made.out.contains("\n  \"secret\": \"sk-sw-"));
  CHECK(made.out.contains("\n  \"revision\": 2"));
  CHECK_FALSE(made.out.contains("sha256"));
  CHECK(made.out.contains("\"elapsed_us\": 12345"));
  const Run people = run({"keys", "create", "laptop", "--team", "support", "--expires", "90d"});
  CHECK(people.out.starts_with("sk-sw-"));
  CHECK(people.out.contains("active on 1/1 in 12 ms"));
  const Run again = run({"keys", "create", "support-bot"});
  CHECK(again.exit == kFailed);
  CHECK(again.err.contains("keys rotate support-bot"));
  const Run list = run({"keys", "list"});
  CHECK(list.out.contains("laptop       active  support"));
  CHECK_FALSE(list.out.contains("sk-sw-"));
  CHECK(run({"keys", "rotate", "laptop"}).err.contains("works until 2026-01-02"));
  CHECK(run({"keys", "revoke", "laptop"}).out.starts_with("~ key/laptop\n    revoked"));
  CHECK(run({"keys", "show", "laptop"}).out.contains("revoked"));
  CHECK(run({"keys", "list", "-o", "json"}).out.starts_with("{\n  \"items\": [\n"));
}

TEST_CASE("get prints tables, files and JSON") {
  AdminWorld world;
  Operator run(world);
  REQUIRE(run({"apply", "-f", "-"}, kFile).exit == kOk);
  CHECK(run({"get", "models"}).out ==
        "NAME  PROVIDER  UPSTREAM MODEL  INPUT USD/M  OUTPUT USD/M  PRICE FROM\n"
        "m     local     m                      0.25             2  model\n");
  CHECK(run({"list", "models"}).out == run({"get", "models"}).out);
  const Run yaml = run({"get", "models", "-o", "yaml"});
  CHECK(yaml.out.starts_with("models:\n"));
  CHECK(run({"apply", "-f", "-"}, yaml.out).out.starts_with("nothing changes"));
  CHECK(run({"get", "model", "m", "-o", "json"}).out.contains("\"input_usd\": \"0.25\""));
  CHECK(run({"get", "routes"}).err == "no routes\n");
  for (const char* noun : {"budgets", "budget", "rate-limits", "rate_limits", "alert-sinks",
                           "price-books", "price_book"}) {
    CAPTURE(noun);
    CHECK(run({"get", noun}).exit == kOk);
    CHECK(run({"list", noun}).err.starts_with("no "));
  }
  CHECK(run({"get", "rate_limits"}).err == "no rate-limits\n");
  const Run absent = run({"get", "model", "nobody"});
  CHECK(absent.exit == kFailed);
  CHECK(absent.err == "spillway: there is no model/nobody\n");
}

TEST_CASE("secrets set takes the value from standard input") {
  AdminWorld world;
  Operator run(world);
  REQUIRE(run({"apply", "-f", "-"}, kFile).exit == kOk);
  const Run set = run({"secrets", "set", "local"}, "sk-typed\n");
  CHECK(set.exit == kOk);
  CHECK_FALSE(set.out.contains("sk-typed"));
  CHECK(world.api.Unsealed("local") == "sk-typed");
  CHECK(run({"secrets", "set", "local"}, "").exit == kUsage);
  CHECK(run({"secrets", "set", "nobody"}, "x").exit == kFailed);
}

TEST_CASE("history, fleet, money and operations have their shapes") {
  AdminWorld world;
  Operator run(world);
  REQUIRE(run({"apply", "-f", "-"}, kFile).exit == kOk);
  REQUIRE(run({"apply", "-f", "-"}, "teams: [{name: sales}]").exit == kOk);
  CHECK(run({"revisions"}).out.contains("1 created"));
  CHECK(run({"revisions", "diff", "1", "2"}).out == "+ team/sales\n");
  CHECK(run({"rollback", "1"}).out.starts_with("- team/sales\nrevision 3\n"));
  CHECK(run({"fleet"}).out.contains("dp-1      ready"));
  CHECK(run({"fleet", "retire", "dp-1"}).out.contains("USD 0.0015"));
  CHECK(run({"fleet", "retire", "nobody"}).exit == kFailed);
  CHECK(run({"spend", "--by", "team,model", "--since", "24h", "-o", "json"}).out ==
        "{\n  \"rows\": []\n}\n");
  CHECK(run({"spend", "--by", "day", "--where", "team=support", "--until", "2026-01-01"}).exit ==
        kOk);
  CHECK(run({"spend", "--where", "team"}).exit == kUsage);
  CHECK(run({"ledger", "gaps", "-o", "json"}).out.contains("\"items\": []"));
  CHECK(run({"ledger", "verify"}).out.contains("they agree"));
  CHECK(run({"ledger", "events"}).exit == kOk);
  CHECK(run({"backup", "create"}).out.contains("--restore"));
  CHECK(run({"backup", "list", "-o", "json"}).out.contains("created_at_ms"));
  CHECK(run({"admin", "tokens", "create", "ci", "--role", "editor"}).out.starts_with("sk-admin-"));
  CHECK(run({"tokens", "list"}).out.contains("ci      editor"));
  CHECK(run({"tokens", "revoke", "ci"}).exit == kOk);
  CHECK(run({"version", "--server"}).out.contains("writable"));
}

TEST_CASE("a bad token is one clear line") {
  AdminWorld world;
  Operator run(world);
  run.Set("SPILLWAY_ADMIN_TOKEN", "sk-admin-nonsense");
  CHECK(run({"fleet"}).err.contains("refuses this admin token"));
  run.Set("SPILLWAY_ADMIN_TOKEN", "");
  CHECK(run({"fleet"}).err.contains("SPILLWAY_ADMIN_TOKEN"));
}

TEST_CASE("mutual TLS from the command line") {
  const TempFolder folder;
  const api::TestCertificates pem = api::MakeCertificates(folder);
  AdminWorld world({.tls_cert_file = pem.server_cert,
                    .tls_key_file = pem.server_key,
                    .tls_client_ca_file = pem.ca});
  Operator run(world);
  const std::string address = "https://localhost:" + std::to_string(world.server->port());
  CHECK(run({"fleet", "--admin", address, "--ca-file", pem.ca, "--cert", pem.client_cert, "--key",
             pem.client_key})
            .exit == kOk);
  const Run without = run({"fleet", "--admin", address, "--ca-file", pem.ca});
  CHECK(without.exit == kFailed);
  CHECK(without.err.contains("cannot reach the control plane"));
  CHECK(without.err.contains("--cert"));
  CHECK(run({"fleet"}).err.contains("needs https://"));
  CHECK(run({"fleet", "--admin", address}).err.contains("certificate verify failed"));
  CHECK(run({"fleet"}).exit == kFailed);
}

}  // namespace
}  // namespace spillway::cli
