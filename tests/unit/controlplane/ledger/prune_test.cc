#include <catch2/catch_all.hpp>

#include "common/clock.h"
#include "controlplane/ledger/keys.h"
#include "tests/unit/controlplane/ledger/usage_source.h"

namespace spillway {
namespace {

constexpr int64_t kMinute = 60'000;
constexpr int64_t kDay = 86'400'000;

// A ledger with one event at the clock's start and a backup of it.
struct PruneBench {
  TempFolder folder;
  ManualClock clock{kTestHourMs};
  OpenedLedger opened = OpenLedger(folder.path());
  UsageSource source{"dp-1", 'a'};

  PruneBench() {
    source.Run({.time_ms = clock.WallMs()});
    Apply(*opened.ledger, {source.All()});
    BackUp();
  }
  void BackUp() { REQUIRE(opened.ledger->BackUp(folder.path() + "/backups", clock.WallMs())); }
  void Reopen() {
    opened.ledger.reset();
    opened.store.reset();
    opened = OpenLedger(folder.path());
  }
  int64_t Prune() { return opened.ledger->Prune(clock).value(); }
  // Time passes, with a turn of upkeep every hour.
  int64_t PruneThrough(int64_t days) {
    int64_t pruned = 0;
    for (int64_t hour = 0; hour < days * 24; ++hour) {
      clock.AdvanceMs(kHourMs);
      pruned += Prune();
    }
    return pruned;
  }
  int64_t events() const { return opened.ledger->ListEvents({})->events_size(); }
  bool TellsTagsSince(int64_t since_ms) const {
    v1::QuerySpendRequest request;
    request.set_from_events(true);
    request.set_since_ms(since_ms);
    return opened.ledger->QuerySpend(request).has_value();
  }

  static constexpr int64_t kHourMs = 3'600'000;
};

}  // namespace

TEST_CASE("a date that is wrong for a minute deletes nothing, and nothing is believed of it") {
  PruneBench bench;
  CHECK(bench.Prune() == 0);
  const bool reopened = GENERATE(false, true);
  const int64_t years = GENERATE(1, -1);
  const int64_t right_ms = bench.clock.WallMs();
  bench.clock.SetWallMs(right_ms + years * 365 * kDay);
  bench.BackUp();
  CHECK(bench.Prune() == 0);
  if (reopened) bench.Reopen();
  CHECK(bench.Prune() == 0);
  bench.clock.AdvanceMs(kMinute);
  CHECK(bench.Prune() == 0);
  bench.clock.SetWallMs(right_ms + 2 * kMinute);
  CHECK(bench.Prune() == 0);
  bench.BackUp();
  CHECK(bench.Prune() == 0);
  CHECK(bench.events() == 1);
  CHECK(bench.TellsTagsSince(kTestHourMs));
  CheckVerified(*bench.opened.ledger);

  // The retention is kept nevertheless.
  CHECK(bench.PruneThrough(89) == 0);
  bench.BackUp();
  CHECK(bench.PruneThrough(2) == 1);
  CHECK_FALSE(bench.TellsTagsSince(kTestHourMs));
  CheckVerified(*bench.opened.ledger);
}

TEST_CASE("time that nobody counted is caught up with as long as it took") {
  PruneBench bench;
  CHECK(bench.Prune() == 0);
  bench.opened.ledger.reset();
  bench.opened.store.reset();
  bench.clock.AdvanceMs(70 * kDay);  // the machine was off
  bench.opened = OpenLedger(bench.folder.path());
  bench.BackUp();
  CHECK(bench.PruneThrough(30) == 0);  // 100 days by the wall clock, 60 by what was counted
  CHECK(bench.PruneThrough(14) == 0);
  CHECK(bench.PruneThrough(2) == 1);  // 92 days of 116
}

TEST_CASE("deletions dated in the future end now") {
  PruneBench bench;
  std::string future;
  ledger::AppendInt64(future, kTestHourMs + 275 * kDay);
  WriteBatch wrong;
  wrong.Put(Table::kMeta, ledger::kPrunedKey, future);
  const auto written = bench.opened.store->Write(std::move(wrong));
  REQUIRE(written);
  bench.Reopen();
  CHECK_FALSE(bench.TellsTagsSince(kTestHourMs));
  CHECK(bench.Prune() == 0);
  CHECK(bench.TellsTagsSince(kTestHourMs));
  CHECK(bench.opened.ledger->Verify()->events() == 1);
  bench.Reopen();
  CHECK(bench.TellsTagsSince(kTestHourMs));
}

TEST_CASE("more events than a batch has room for go in one turn") {
  PruneBench bench;
  constexpr int64_t kEvents = 12'000;
  WriteBatch old;
  for (int64_t i = 0; i < kEvents; ++i) {
    old.Put(Table::kLedgerEvents, ledger::EventKey(kTestHourMs - kDay + i, std::string(16, 'x'), i),
            "");
  }
  const auto written = bench.opened.store->Write(std::move(old));
  REQUIRE(written);
  CHECK(*bench.opened.ledger->Prune(kTestHourMs + 90 * kDay) == kEvents);
  CHECK(bench.events() == 1);
  CHECK(*bench.opened.ledger->Prune(kTestHourMs + 90 * kDay) == 0);
}

}  // namespace spillway
