#include "controlplane/upkeep.h"

#include <catch2/catch_all.hpp>

#include "tests/unit/controlplane/ledger/usage_source.h"

namespace spillway {
namespace {

constexpr int64_t kMinute = 60'000;
constexpr int64_t kHour = 60 * kMinute;
constexpr int64_t kYear = 365 * 24 * kHour;

struct UpkeepBench {
  TempFolder folder;
  std::string backups = folder.path() + "/backups";
  ManualClock clock{kTestHourMs};
  OpenedLedger opened = OpenLedger(folder.path(), {.backups = true});
  Upkeep upkeep{
      *opened.ledger, clock, {.backup_dir = backups, .backup_every_ms = kHour, .backups_kept = 2}};

  std::string AskedFor() const { return opened.ledger->BackUp(backups, clock.WallMs())->path; }
  std::vector<int64_t> Automatic() const {
    std::vector<int64_t> made;
    for (const Store::Backup& backup : Store::ListBackups(backups).value())
      if (backup.kind == Store::BackupKind::kAutomatic) made.push_back(backup.created_at_ms);
    return made;
  }
  void Pass(int64_t ms) {
    for (int64_t passed = 0; passed < ms; passed += 30 * kMinute) {
      clock.AdvanceMs(30 * kMinute);
      upkeep.Turn();
    }
  }
};

}  // namespace

TEST_CASE("upkeep makes backups when they are due and removes only its own") {
  UpkeepBench bench;
  const std::string first = bench.AskedFor();
  bench.upkeep.Turn();
  CHECK(bench.Automatic().empty());  // there is one of this hour
  bench.Pass(5 * kHour);
  CHECK(bench.Automatic() ==
        std::vector<int64_t>{kTestHourMs + 4 * kHour, kTestHourMs + 5 * kHour});
  const std::string second = bench.AskedFor();
  bench.Pass(4 * kHour);
  CHECK(bench.Automatic().size() == 2);
  CHECK(std::filesystem::exists(first));
  CHECK(std::filesystem::exists(second));
}

TEST_CASE("a backup under a wrong date puts the next ones off by nothing") {
  UpkeepBench bench;
  bench.upkeep.Turn();
  const int64_t right_ms = bench.clock.WallMs();
  const int64_t years = GENERATE(1, -1);
  bench.clock.SetWallMs(right_ms + years * kYear);
  bench.upkeep.Turn();
  const std::vector<int64_t> made = bench.Automatic();
  // What data planes have freed behind it is in it.
  CHECK(std::ranges::count(made, bench.clock.WallMs()) == 1);
  bench.clock.SetWallMs(right_ms);
  bench.upkeep.Turn();
  CHECK(bench.Automatic() == made);  // the last under the right date is still young
  bench.Pass(kHour);
  CHECK(std::ranges::count(bench.Automatic(), right_ms + kHour) == 1);
}

TEST_CASE("a wrong date for a minute leaves the events and what is told of them") {
  UpkeepBench bench;
  UsageSource source("dp-1", 'a');
  source.Run({.time_ms = kTestHourMs});
  Apply(*bench.opened.ledger, {source.All()});
  bench.upkeep.Turn();
  bench.clock.SetWallMs(kTestHourMs + kYear);
  bench.upkeep.Turn();
  bench.clock.AdvanceMs(kMinute);
  bench.upkeep.Turn();
  bench.clock.SetWallMs(kTestHourMs + 2 * kMinute);
  bench.Pass(3 * kHour);
  const auto verified = bench.opened.ledger->Verify();
  CHECK(verified->events() == 1);
  CHECK(verified->differences().empty());
}

TEST_CASE("upkeep on its own thread ends when it is told to") {
  UpkeepBench bench;
  bench.upkeep.Start();
}

}  // namespace spillway
