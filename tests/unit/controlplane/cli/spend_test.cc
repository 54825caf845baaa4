// Reports, from the command line to a real ledger and back.
#include <catch2/catch_all.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "controlplane/cli/program.h"
#include "tests/unit/controlplane/api/admin_world.h"
#include "tests/unit/controlplane/ledger/usage_source.h"

namespace spillway::cli {
namespace {

struct SpendRun {
  int exit = 0;
  std::string out;
  std::string err;
};

SpendRun RunIn(api::AdminWorld& world, const std::vector<std::string>& words) {
  std::istringstream in;
  std::ostringstream out;
  std::ostringstream err;
  Surroundings surroundings{.in = in,
                            .out = out,
                            .err = err,
                            .in_is_terminal = false,
                            .environment = [&](const char* name) -> std::optional<std::string> {
                              if (std::string_view(name) == "SPILLWAY_ADMIN")
                                return world.address();
                              if (std::string_view(name) == "SPILLWAY_ADMIN_TOKEN")
                                return world.secrets[v1::ROLE_VIEWER];
                              return std::nullopt;
                            },
                            .clock = world.api.clock};
  const int exit = RunProgram(words, surroundings);
  return {exit, out.str(), err.str()};
}

struct Call {
  std::string team = "support";
  int64_t time_ms = kTestHourMs;
  int64_t cost = 1'000'000'000;
  v1::EndReason end = v1::END_FINISHED;
  bool winner = true, fallback = false, unpriced = false, estimated = false;
  std::string env = {};
};

void AddCall(UsageSource& source, const Call& call) {
  source.Add([&](v1::UsageRecord& record) {
    record.set_time_ms(call.time_ms);
    v1::Finished& finished = *record.mutable_finished();
    v1::Attribution& who = *finished.mutable_attribution();
    who.set_team(call.team);
    who.set_model("m");
    who.set_provider("p");
    if (!call.env.empty()) {
      v1::Tag& tag = *who.add_tags();
      tag.set_name("env");
      tag.set_value(call.env);
    }
    finished.mutable_usage()->set_input_tokens(1000);
    finished.mutable_usage()->set_output_tokens(10);
    finished.set_cost_nanos(call.cost);
    finished.set_source(call.estimated ? v1::USAGE_SOURCE_ESTIMATED : v1::USAGE_SOURCE_PROVIDER);
    finished.set_end(call.end);
    finished.set_winner(call.winner);
    finished.set_fallback(call.fallback);
    finished.set_unpriced(call.unpriced);
  });
}

TEST_CASE("waste, unpriced calls and tags are shown apart") {
  api::AdminWorld world;
  UsageSource source("dp-1", 'a');
  AddCall(source, {.env = "prod"});
  AddCall(source, {.cost = 250'000'000, .end = v1::END_UPSTREAM_ERROR, .winner = false});
  AddCall(source, {.cost = 500'000'000, .fallback = true});
  AddCall(source, {.cost = 125'000'000, .end = v1::END_CLIENT_LEFT});
  AddCall(source, {.team = "=cmd|'x'", .cost = 0, .unpriced = true, .env = "test"});
  Apply(*world.ledger, {source.All()});

  const SpendRun plain = RunIn(world, {"spend", "--by", "team"});
  CHECK(plain.out ==
        "TEAM      REQUESTS  INPUT  OUTPUT  COST USD\n"
        "support          3  4,000      40     1.875\n"
        "=cmd|'x'         1  1,000      10         0\n"
        "total            4  5,000      50     1.875\n");
  CHECK(plain.err.contains("1 call had no known price and counts as USD 0: "));
  const SpendRun waste =
      RunIn(world, {"spend", "--waste", "--by", "team", "--where", "team=support"});
  CHECK(waste.out ==
        "TEAM     REQUESTS  COST USD  RETRIES   USD  FALLBACKS  USD  DISCONNECTS    USD\n"
        "support         3     1.875        1  0.25          1  0.5            1  0.125\n");
  CHECK(RunIn(world, {"spend", "--unpriced"}).out ==
        "MODEL  PROVIDER  UNPRICED CALLS  OF CALLS  INPUT  OUTPUT\n"
        "m      p                      1         5  5,000      50\n");
  const SpendRun tags = RunIn(world, {"spend", "--by", "tag:env", "--since", "2026-01-01"});
  INFO(tags.err);
  CHECK(tags.out.contains("TAG:ENV"));
  CHECK(tags.out.contains("prod            1  1,000      10         1"));
  CHECK(RunIn(world, {"spend", "--where", "tag:env=test", "--since", "2026-01-01", "-o", "json"})
            .out.contains("\"unpriced_attempts\": 1"));
  const SpendRun csv = RunIn(world, {"spend", "--by", "team", "-o", "csv"});
  CHECK(
      csv.out.starts_with("team,requests,attempts,input_tokens,output_tokens,"
                          "cached_input_tokens,reasoning_tokens,cost_nanos,cost_usd,"
                          "estimated_nanos,estimated_usd,retries,retry_nanos,retry_usd,"));
  CHECK(csv.out.contains("\r\nsupport,3,4,4000,40,0,0,1875000000,1.875,0,0,1,250000000,0.25,"));
  CHECK(csv.out.contains("\r\n\"'=cmd|'x'\",1,1,"));
}

TEST_CASE("the JSON of spend keeps its names and order") {
  api::AdminWorld world;
  UsageSource source("dp-1", 'a');
  AddCall(source, {.cost = 1'500'000});
  Apply(*world.ledger, {source.All()});
  const SpendRun json = RunIn(world, {"spend", "--by", "team,month", "-o", "json"});
  CHECK(
      json.out.starts_with("{\n  \"rows\": [\n    {\n"
                           "      \"team\": \"support\",\n"
                           "      \"month\": \"2026-01\",\n"
                           "      \"requests\": 1,\n"
                           "      \"attempts\": 1,\n"
                           "      \"input_tokens\": 1000,\n"
                           "      \"output_tokens\": 10,\n"
                           "      \"cached_input_tokens\": 0,\n"
                           "      \"reasoning_tokens\": 0,\n"
                           "      \"cost_nanos\": 1500000,\n"
                           "      \"cost_usd\": \"0.0015\",\n"
                           "      \"estimated_nanos\": 0,\n"
                           "      \"estimated_usd\": \"0\",\n"
                           "      \"retries\": 0,\n"));
  CHECK(json.out.contains("\"partial\": false"));
}

TEST_CASE("a month is closed per team, and what is not final is said") {
  api::AdminWorld world;
  constexpr int64_t kHour = 3'600'000;
  constexpr int64_t kFebruary = kTestHourMs + kHour * 24 * 31;
  UsageSource source("dp-1", 'a');
  AddCall(source, {.cost = 3'000'000'000});
  AddCall(source, {.cost = 1'000'000'000, .estimated = true});
  AddCall(source, {.team = "sales", .cost = 500'000'000});
  AddCall(source, {.time_ms = kTestHourMs - 1, .cost = 70'000'000'000});   // December
  AddCall(source, {.time_ms = kFebruary, .cost = 90'000'000'000});         // February
  AddCall(source, {.time_ms = kFebruary - kHour / 2, .cost = 7'000'000});  // 05:00 in Kolkata
  source.Start({.team = "sales", .reserved = 2'000'000'000});
  Apply(*world.ledger, {source.All()});
  world.api.clock.SetWallMs(kFebruary + kHour);

  const SpendRun closed = RunIn(world, {"spend", "chargeback", "--month", "2026-01"});
  CHECK(closed.out ==
        "TEAM     REQUESTS  INPUT  OUTPUT  COST USD  OF IT ESTIMATED   SHARE  OPEN CALLS\n"
        "support         3  3,000      30     4.007                1  25.0 %           0\n"
        "sales           1  1,000      10       0.5                0   0.0 %           1\n"
        "total           4  4,000      40     4.507                1  22.2 %           1\n");
  CHECK(closed.err.starts_with(
      "not final: 1 calls that began in it have not ended (reserved: USD 2)"));
  const SpendRun json = RunIn(world, {"spend", "chargeback", "--month", "2026-01", "-o", "json"});
  CHECK(
      json.out.starts_with("{\n  \"month\": \"2026-01\",\n  \"time_zone\": \"UTC\",\n"
                           "  \"from\": \"2026-01-01T00:00:00.000Z\",\n"
                           "  \"to\": \"2026-02-01T00:00:00.000Z\",\n"
                           "  \"complete\": false,\n"));
  const SpendRun csv = RunIn(world, {"spend", "chargeback", "--month", "2026-01", "-o", "csv"});
  CHECK(csv.out.contains("\r\nsales,1,1,"));
  CHECK(csv.out.contains("open_attempts,open_reserved_nanos,open_reserved_usd\r\n"));
  CHECK_FALSE(csv.out.contains("total"));
  // 18:30 UTC is midnight there: the last call belongs to February, the one before January's to it.
  const SpendRun kolkata = RunIn(world, {"spend", "chargeback", "--month", "2026-01", "--time-zone",
                                         "Asia/Kolkata", "-o", "json"});
  INFO(kolkata.err);
  CHECK(kolkata.out.contains("\"from\": \"2025-12-31T18:30:00.000Z\""));
  CHECK(kolkata.out.contains("\"cost_usd\": \"74\""));
  const SpendRun running = RunIn(world, {"spend", "chargeback", "--month", "2026-02"});
  CHECK(running.err.contains("the month is not over until 2026-03-01"));
  const SpendRun empty = RunIn(world, {"spend", "chargeback", "--month", "2024-01"});
  CHECK(empty.err == "no spend in that month\n");
}

}  // namespace
}  // namespace spillway::cli
