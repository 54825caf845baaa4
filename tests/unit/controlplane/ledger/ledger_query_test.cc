// Roll-ups, queries, verification, backups, and what applying costs.
#include <algorithm>
#include <ctime>
#include <print>

#include "common/clock.h"
#include "controlplane/ledger/keys.h"
#include "tests/unit/controlplane/ledger/usage_source.h"

namespace spillway {
namespace {

TEST_CASE("more combinations than an hour may have share one visible row") {
  const TempFolder folder;
  const LedgerOptions options{.rollup_rows_per_hour_max = 10};
  auto opened = OpenLedger(folder.path(), options);
  UsageSource source("dp-1", 'a');
  for (int i = 0; i < 100; ++i) source.Run({.key = "key-" + std::to_string(i % 25), .cost = 10});
  std::minstd_rand random(1);
  for (const v1::UsageRun& run : source.Runs(random, 5)) {
    Apply(*opened.ledger, {run});
    if (run.first_seq() > 50 && run.first_seq() < 60) {
      opened.ledger.reset();
      opened.store.reset();
      opened = OpenLedger(folder.path(), options);
    }
  }
  v1::QuerySpendRequest request;
  request.add_by(v1::DIMENSION_KEY);
  const auto spend = opened.ledger->QuerySpend(request);
  CHECK(spend->rows_size() == 11);
  const auto overflow = std::ranges::find_if(
      spend->rows(), [](const auto& row) { return row.values(0) == kOverflowRow; });
  REQUIRE(overflow != spend->rows().end());
  CHECK(overflow->cost_nanos() == 600);
  CHECK(TotalOf(*opened.ledger).cost_nanos() == 1000);
  CheckVerified(*opened.ledger);
}

TEST_CASE("spend is grouped, filtered and ordered as asked") {
  const TempFolder folder;
  auto opened = OpenLedger(folder.path());
  UsageSource source("dp-1", 'a');
  constexpr int64_t kHour = 3'600'000;
  source.Run({.team = "a", .model = "x", .time_ms = kTestHourMs + 1, .cost = 1});
  source.Run({.team = "b", .model = "x", .time_ms = kTestHourMs + kHour, .cost = 10});
  source.Run({.team = "a",
              .model = "y",
              .time_ms = kTestHourMs + 25 * kHour,
              .cost = 100,
              .winner = false});
  Apply(*opened.ledger, {source.All()});
  struct Case {
    const char* name;
    std::vector<int> by;
    std::map<int, std::string> where;
    int64_t since_ms, until_ms;
    std::vector<std::pair<std::string, int64_t>> want;
  };
  const Case kCases[] = {
      {"everything", {}, {}, 0, 0, {{"", 111}}},
      {"by team, dearest first", {v1::DIMENSION_TEAM}, {}, 0, 0, {{"a", 101}, {"b", 10}}},
      {"by two",
       {v1::DIMENSION_TEAM, v1::DIMENSION_MODEL},
       {},
       0,
       0,
       {{"a|y", 100}, {"b|x", 10}, {"a|x", 1}}},
      {"by hour, in time order",
       {v1::DIMENSION_HOUR},
       {},
       0,
       0,
       {{"2026-01-01T00:00:00Z", 1}, {"2026-01-01T01:00:00Z", 10}, {"2026-01-02T01:00:00Z", 100}}},
      {"by day", {v1::DIMENSION_DAY}, {}, 0, 0, {{"2026-01-01", 11}, {"2026-01-02", 100}}},
      {"filtered",
       {v1::DIMENSION_MODEL},
       {{v1::DIMENSION_TEAM, "a"}},
       0,
       0,
       {{"y", 100}, {"x", 1}}},
      {"filtered by day", {}, {{v1::DIMENSION_DAY, "2026-01-01"}}, 0, 0, {{"", 11}}},
      {"since an hour, whole", {}, {}, kTestHourMs + kHour + 5, 0, {{"", 110}}},
      {"until an hour, exclusive", {}, {}, 0, kTestHourMs + kHour, {{"", 1}}},
      {"nothing there", {}, {{v1::DIMENSION_TEAM, "z"}}, 0, 0, {}},
  };
  for (const Case& test : kCases) {
    DYNAMIC_SECTION(test.name) {
      v1::QuerySpendRequest request;
      for (const int by : test.by) request.add_by(static_cast<v1::Dimension>(by));
      for (const auto& [dimension, value] : test.where)
        (*request.mutable_where())[dimension] = value;
      request.set_since_ms(test.since_ms);
      request.set_until_ms(test.until_ms);
      const auto spend = opened.ledger->QuerySpend(request);
      REQUIRE(spend.has_value());
      std::vector<std::pair<std::string, int64_t>> got;
      for (const v1::SpendRow& row : spend->rows()) {
        std::string values;
        for (const std::string& value : row.values()) values += (values.empty() ? "" : "|") + value;
        got.emplace_back(values, row.cost_nanos());
      }
      CHECK(got == test.want);
    }
  }
  CHECK(TotalOf(*opened.ledger).requests() == 2);
  CHECK(TotalOf(*opened.ledger).attempts() == 3);
  v1::QuerySpendRequest bad;
  bad.add_by(static_cast<v1::Dimension>(99));
  CHECK(opened.ledger->QuerySpend(bad).error().code == ErrorCode::kInvalidRequest);
}

TEST_CASE("events are listed page by page, in time order") {
  const TempFolder folder;
  auto opened = OpenLedger(folder.path());
  UsageSource source("dp-1", 'a');
  for (int i = 0; i < 25; ++i) source.Run({.time_ms = kTestHourMs + (i * 7919) % 25, .cost = i});
  Apply(*opened.ledger, {source.All()});
  v1::ListLedgerEventsRequest request;
  request.set_page_size(10);
  std::vector<v1::LedgerEvent> events;
  int pages = 0;
  while (true) {
    const auto page = opened.ledger->ListEvents(request);
    REQUIRE(page.has_value());
    ++pages;
    events.insert(events.end(), page->events().begin(), page->events().end());
    if (page->next_page_token().empty()) break;
    request.set_page_token(page->next_page_token());
  }
  CHECK(pages == 3);
  REQUIRE(events.size() == 25);
  CHECK(std::ranges::is_sorted(events, {}, &v1::LedgerEvent::time_ms));
  CHECK(events[0].instance() == "dp-1");
  CHECK(events[0].source() == "provider");
  CHECK(events[0].end() == "finished");
  CHECK(events[0].team() == "support");
  request.set_page_token("nonsense");
  CHECK(opened.ledger->ListEvents(request).error().code == ErrorCode::kInvalidRequest);
  v1::ListLedgerEventsRequest later;
  later.set_since_ms(kTestHourMs + 20);
  CHECK(opened.ledger->ListEvents(later)->events_size() == 5);
}

TEST_CASE("verify finds a roll-up that is wrong, one that is missing, one too many") {
  const TempFolder folder;
  auto opened = OpenLedger(folder.path());
  UsageSource source("dp-1", 'a');
  source.Run({.team = "a"});
  source.Run({.team = "b"});
  Apply(*opened.ledger, {source.All()});
  CheckVerified(*opened.ledger);
  std::vector<std::string> keys;
  std::string value;
  REQUIRE(opened.store->Scan(Table::kLedgerRollups, {}, {},
                             [&](std::string_view key, std::string_view bytes) {
                               keys.emplace_back(key);
                               value = bytes;
                               return true;
                             }));
  REQUIRE(keys.size() == 2);
  WriteBatch batch;
  SECTION("wrong") {
    value[48] ^= 1;
    batch.Put(Table::kLedgerRollups, keys[0], value);
  }
  SECTION("missing") { batch.Delete(Table::kLedgerRollups, keys[1]); }
  SECTION("too many") {
    v1::Attribution nobody;
    nobody.set_team("nobody");
    batch.Put(Table::kLedgerRollups, ledger::RollupKey(7200, nobody), value);
  }
  const auto written = opened.store->Write(std::move(batch));
  REQUIRE(written);
  const auto verified = opened.ledger->Verify();
  REQUIRE(verified.has_value());
  CHECK(verified->differences_size() == 1);
  CHECK(verified->events() == 2);
}

TEST_CASE(
    "with backups on, marks and purge follow the last backup, and only what it holds is pruned") {
  const TempFolder folder;
  auto opened = OpenLedger(folder.path(), {.retention_days = 1, .backups = true});
  UsageSource source("dp-1", 'a');
  source.Run({.time_ms = kTestHourMs, .cost = 5});
  REQUIRE(opened.ledger->Apply(std::vector{source.All()}, {.created_ns = 9, .seq = 4}));
  CHECK(opened.ledger->MarksOf("dp-1")[0].committed_upto() == 3);
  CHECK(opened.ledger->MarksOf("dp-1")[0].backed_up_upto() == 0);
  CHECK(opened.ledger->purgeable().seq == 0);
  constexpr int64_t kDay = 86'400'000;
  CHECK(*opened.ledger->Prune(kTestHourMs + 5 * kDay) == 0);
  REQUIRE(opened.ledger->BackUp(folder.path() + "/backups", kTestHourMs + 2 * kDay));
  CHECK(opened.ledger->MarksOf("dp-1")[0].backed_up_upto() == 3);
  CHECK(opened.ledger->purgeable() == Ledger::Position{.created_ns = 9, .seq = 4});
  source.Run({.time_ms = kTestHourMs + 3 * kDay, .cost = 50});
  REQUIRE(opened.ledger->Apply(std::vector{source.Records(4, 5)}, {.created_ns = 9, .seq = 5}));
  CHECK(opened.ledger->purgeable().seq == 4);
  CHECK(*opened.ledger->Prune(kTestHourMs + 10 * kDay) == 1);
  CHECK(opened.ledger->ListEvents({})->events_size() == 1);
  CHECK(TotalOf(*opened.ledger).cost_nanos() == 55);
  CheckVerified(*opened.ledger);
  // All of it is remembered.
  opened.ledger.reset();
  opened.store.reset();
  opened = OpenLedger(folder.path(), {.backups = true});
  CHECK(opened.ledger->MarksOf("dp-1")[0].backed_up_upto() == 3);
  CHECK(opened.ledger->purgeable().seq == 4);
  CheckVerified(*opened.ledger);
}

TEST_CASE("a restored backup and the stream behind it give equal totals") {
  const TempFolder folder;
  auto opened = OpenLedger(folder.path(), {.backups = true});
  UsageSource source("dp-1", 'a');
  for (int i = 0; i < 10; ++i) source.Run({.cost = 3});
  REQUIRE(opened.ledger->Apply(std::vector{source.All()}, {.created_ns = 9, .seq = 1}));
  const auto backup = opened.ledger->BackUp(folder.path() + "/backups", kTestHourMs);
  REQUIRE(backup.has_value());
  const int64_t half = source.last_seq();
  for (int i = 0; i < 10; ++i) source.Run({.cost = 4});
  REQUIRE(opened.ledger->Apply(std::vector{source.Records(half + 1, source.last_seq())},
                               {.created_ns = 9, .seq = 2}));
  opened.ledger.reset();
  opened.store.reset();
  REQUIRE(Store::Restore(backup->path, folder.path() + "/db"));
  opened = OpenLedger(folder.path(), {.backups = true});
  CHECK(TotalOf(*opened.ledger).cost_nanos() == 30);
  CHECK(opened.ledger->position().seq == 1);
  REQUIRE(opened.ledger->Apply(std::vector{source.Records(half + 1, source.last_seq())},
                               {.created_ns = 9, .seq = 2}));
  CHECK(TotalOf(*opened.ledger).cost_nanos() == 70);
  CheckVerified(*opened.ledger);
}

TEST_CASE("ledger throughput", "[.benchmark]") {
  const TempFolder folder;
  auto opened = OpenLedger(folder.path());
  UsageSource source("dp-1", 'a');
  constexpr int kAttempts = 200'000;
  for (int i = 0; i < kAttempts; ++i)
    source.Run({.team = "team-" + std::to_string(i % 50),
                .key = "key-" + std::to_string(i % 1000),
                .cost = 1});
  std::vector<v1::UsageRun> runs;
  for (int64_t from = 1; from <= source.last_seq(); from += 200)
    runs.push_back(source.Records(from, std::min(from + 199, source.last_seq())));
  const int64_t begin = SystemClock().MonotonicNs();
  const std::clock_t cpu = std::clock();
  for (size_t at = 0; at < runs.size(); at += 64) {
    const size_t size = std::min<size_t>(64, runs.size() - at);
    Ledger::Position position = opened.ledger->position();
    position.seq += size;
    REQUIRE(opened.ledger->Apply(std::span(runs).subspan(at, size), position));
  }
  const double seconds = static_cast<double>(SystemClock().MonotonicNs() - begin) / 1e9;
  const double cpu_seconds = static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC;
  std::println("ledger: {:.0f} records/s, {:.0f} per CPU second",
               static_cast<double>(source.last_seq()) / seconds,
               static_cast<double>(source.last_seq()) / cpu_seconds);
}

}  // namespace
}  // namespace spillway
