#include "dataplane/metering/meter.h"

#include <utility>

#include "tests/unit/dataplane/metering/scratch.h"

namespace spillway {
namespace {

TEST_CASE("an attempt journals what it outgrew to, and ends at that when it is dropped") {
  const TempFolder folder;
  const ManualClock clock;
  auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  {
    Meter meter(*opened.journal, clock);
    auto attempt = meter.Start(SampleAttempt());
    attempt->Outgrow({.input = 100, .output = 400}, 0);
  }
  opened.journal->RunOnce();
  const auto records = ReadAll(*opened.journal, opened.journal->incarnation());
  REQUIRE(records.size() == 4);  // Hello, Started, outgrown, Finished
  const v1::Started& outgrown = records[2].outgrown();
  CHECK(outgrown.started_seq() == 2);
  CHECK(outgrown.request_id() == "req-1");
  CHECK(outgrown.attribution().team() == "support");
  CHECK(outgrown.revision() == 7);
  CHECK(outgrown.estimate().output_tokens() == 400);
  CHECK(outgrown.reserved_nanos() == 100'000 + 400 * 2'000);
  CHECK(records[3].finished().usage().output_tokens() == 400);
}

TEST_CASE("a dropped attempt is billed at its estimate") {
  const TempFolder folder;
  const ManualClock clock;
  auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  Meter meter(*opened.journal, clock);
  {
    auto dropped = meter.Start(SampleAttempt());
  }
  opened.journal->RunOnce();
  const auto records = ReadAll(*opened.journal, opened.journal->incarnation());
  REQUIRE(records.size() == 3);
  CHECK(records[2].finished().source() == v1::USAGE_SOURCE_ESTIMATED);
  CHECK(records[2].finished().end() == v1::END_UPSTREAM_CUT);
  CHECK(records[2].finished().cost_nanos() == 200'000);
}

TEST_CASE("an estimate costs what its service tier does") {
  const TempFolder folder;
  const ManualClock clock;
  auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  const Rates dear{.input = 4'000'000'000, .output = 8'000'000'000};
  const PriceTable table{.standard = SimplePrice(1'000'000'000, 2'000'000'000, 0)->standard,
                         .tiers = {{"priority", {.base = dear}}}};
  AttemptInfo info = SampleAttempt();
  info.price = std::make_shared<const PriceTable>(table);
  info.service_tier = "priority";
  {
    Meter meter(*opened.journal, clock);
    auto attempt = meter.Start(info);
    attempt->Outgrow({.input = 100, .output = 400}, 0);
  }
  opened.journal->RunOnce();
  const auto records = ReadAll(*opened.journal, opened.journal->incarnation());
  REQUIRE(records.size() == 4);
  CHECK(records[1].started().reserved_nanos() == 400'000 + 50 * 8'000);
  CHECK(records[1].started().estimate().service_tier() == "priority");
  CHECK(records[2].outgrown().reserved_nanos() == 400'000 + 400 * 8'000);
  CHECK(records[3].finished().cost_nanos() == 400'000 + 400 * 8'000);
  CHECK(records[3].finished().usage().service_tier() == "priority");
}

TEST_CASE("nothing consumed costs nothing") {
  const TempFolder folder;
  const ManualClock clock;
  auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  Meter meter(*opened.journal, clock);
  auto outcome = SampleOutcome();
  outcome.source = v1::USAGE_SOURCE_NONE;
  outcome.end = v1::END_UNREACHABLE;
  CHECK(std::move(*meter.Start(SampleAttempt())).Finish(outcome).cost == 0);
}

}  // namespace
}  // namespace spillway
