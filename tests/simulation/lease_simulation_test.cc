#include <catch2/catch_all.hpp>
#include <print>
#include <string>

#include "tests/simulation/cluster.h"

namespace spillway::simulation {
namespace {

constexpr Faults kEverything{
    .loss = 40, .doubling = 40, .late = 20, .kills = true, .restores = true};

Setup Faulty(uint64_t seed, Naive naive = Naive::kNone) {
  Setup setup{.seed = seed, .naive = naive, .faults = kEverything};
  setup.data_planes = 2 + static_cast<int>(seed % 5 % 4);
  // Some seeds without restores: their gates keep much else from happening.
  setup.faults.restores = seed % 3 == 0;
  constexpr int64_t kPauses[] = {150'000, 400'000, 1'000'000, 4'000'000};
  setup.faults.pause_us = kPauses[seed % 4];
  return setup;
}

void Print(uint64_t seed, Cluster& cluster) {
  const Figures& f = cluster.world().figures;
  std::println(
      "seed {}: {} steps, {} faults ({} kills, {} power cuts, {} wipes, {} "
      "partitions, {} restores, {} streams lost, {} clock steps, {} freezes, {} edits, "
      "{} tombstones), "
      "{} admitted, {} refused, {} waited, {} violations",
      seed, cluster.world().schedule.steps(), f.faults, f.kills, f.power_cuts, f.wipes,
      f.partitions, f.restores, f.streams_lost, f.clock_steps, f.freezes, f.edits, f.tombstones,
      f.admitted, f.refused, f.waited, cluster.world().violations.size());
}

std::string First(Cluster& cluster) {
  return cluster.world().violations.empty() ? "" : cluster.world().violations.front();
}

// Steps until an invariant notices, over some seeds; -1: nothing did.
int64_t StepsUntilCaught(Naive naive, int seeds, int64_t steps) {
  int64_t sum = 0;
  for (int seed = 1; seed <= seeds; ++seed) {
    Setup setup = Faulty(static_cast<uint64_t>(seed), naive);
    setup.faults.restores = naive == Naive::kRestoreWithoutGate || setup.faults.restores;
    if (naive == Naive::kSpendUnrecorded || naive == Naive::kCloseAtJournal) {
      setup.faults.only = Faults::Only::kPowerCuts;
      setup.faults.pause_us = 100'000;
    }
    if (naive == Naive::kFreedAtCommit) setup.faults.restores = true;
    if (naive == Naive::kSendUnsynced) {
      setup.faults.only = Faults::Only::kControlPlaneKills;
      setup.faults.pause_us = 200'000;
    }
    Cluster cluster(setup);
    cluster.Run(steps);
    if (cluster.world().violations.empty()) cluster.Finish();
    sum += cluster.world().schedule.steps();
    if (!cluster.world().violations.empty()) {
      std::println("{}", First(cluster));
      return sum;
    }
  }
  return -1;
}

}  // namespace

TEST_CASE("the invariants hold under every fault") {
  const auto seed = static_cast<uint64_t>(GENERATE(range(1, 11)));
  CAPTURE(seed);
  Cluster cluster(Faulty(seed));
  cluster.Run(12'000);
  cluster.Finish();
  INFO(First(cluster));
  CHECK(cluster.world().violations.empty());
  CHECK(cluster.world().figures.admitted > 100);
  Print(seed, cluster);
}

// For a long run: lease_simulation_test "[.long]" goes through seeds from 1 on, ten million steps
// in all, and says what it did.
TEST_CASE("the invariants hold for ten million steps", "[.long]") {
  int64_t steps = 0;
  int64_t faults = 0;
  uint64_t seed = 1;
  for (; steps < 10'000'000; ++seed) {
    CAPTURE(seed);
    Cluster cluster(Faulty(seed));
    cluster.Run(200'000);
    cluster.Finish();
    Print(seed, cluster);
    INFO(First(cluster));
    REQUIRE(cluster.world().violations.empty());
    steps += cluster.world().schedule.steps();
    faults += cluster.world().figures.faults;
  }
  std::println("{} steps, {} faults, seeds 1 to {}: no violation", steps, faults, seed - 1);
}

TEST_CASE("each wrong reading of the rules is caught") {
  struct Row {
    const char* name;
    Naive naive;
  };
  const Row row = GENERATE(values<Row>({
      {"a silent holder is reclaimed after a time", Naive::kReclaimByTime},
      {"I return x, as a change", Naive::kReturnIsAChange},
      {"spent before the level is on disk", Naive::kSpendUnrecorded},
      {"granted before the batch is on disk", Naive::kSendUnsynced},
      {"a restore without its gate", Naive::kRestoreWithoutGate},
      {"orphans settle at the likely cost", Naive::kOrphansAtEstimate},
      {"the instance as identity after a wiped disk", Naive::kSameIdAfterWipe},
      {"journals freed at commit, not at the backup's mark", Naive::kFreedAtCommit},
      {"closed at what the unsynced journal shows", Naive::kCloseAtJournal},
  }));
  CAPTURE(row.name);
  std::print("{}: ", row.name);
  CHECK(StepsUntilCaught(row.naive, 20, 40'000) > 0);
}

TEST_CASE("without faults nearly everything is used, and nobody is refused what is there") {
  const auto seed = static_cast<uint64_t>(GENERATE(range(1, 3)));
  CAPTURE(seed);
  Setup setup{.seed = seed, .requests_per_s = 60};
  Cluster cluster(setup);
  cluster.Run(40'000);
  cluster.Finish();
  INFO(First(cluster));
  CHECK(cluster.world().violations.empty());
  const Figures& figures = cluster.world().figures;
  CAPTURE(figures.admitted, figures.refused, figures.falsely_refused);
  CHECK(figures.falsely_refused * 100 <= figures.admitted);
  for (const auto& [key, account] : cluster.world().truth.accounts) {
    CHECK(account.running == 0);
  }
}

TEST_CASE("without a recall idle money is refused to those who need it") {
  int64_t with = 0;
  int64_t without = 0;
  for (uint64_t seed = 1; seed <= 2; ++seed) {
    Cluster good({.seed = seed, .requests_per_s = 60});
    good.Run(25'000);
    with += good.world().figures.falsely_refused;
    Cluster bad({.seed = seed, .naive = Naive::kNoRecall, .requests_per_s = 60});
    bad.Run(25'000);
    without += bad.world().figures.falsely_refused;
  }
  CAPTURE(with, without);
  CHECK(without > 4 * with + 10);
}

TEST_CASE("twenty calls on a budget that fits twenty reservations are all admitted") {
  const int data_planes = GENERATE(1, 3);
  const auto seed = static_cast<uint64_t>(GENERATE(range(1, 6)));
  CAPTURE(data_planes, seed);
  Setup setup{
      .seed = seed, .data_planes = data_planes, .requests_per_s = 0, .mixed_budgets = false};
  Cluster cluster(setup);
  cluster.Run(50);  // everybody has met
  const Wish wish{.budgets = {{"all", ""}}, .likely = 200, .upper = 200, .actual = 200};
  int admitted = 0;
  int refused = 0;
  for (int i = 0; i < 20; ++i) {
    cluster.data_plane(i % data_planes).Request(wish, [&](bool yes) {
      ++(yes ? admitted : refused);
    });
  }
  while (admitted + refused < 20) cluster.Run(1);
  CHECK(admitted == 20);
  CHECK_FALSE(cluster.Ask(0, wish));
  CHECK(cluster.world().violations.empty());
}

TEST_CASE("a wish for two budgets holds neither while it waits") {
  // Two data planes, each with the money of the other's second budget: both are served.
  Setup setup{.seed = 7, .data_planes = 2, .requests_per_s = 0};
  Cluster cluster(setup);
  cluster.Run(50);
  for (int round = 0; round < 40; ++round) {
    const std::string first = round % 2 == 0 ? "all" : "day";
    const std::string second = round % 2 == 0 ? "day" : "all";
    int admitted = 0;
    int decided = 0;
    const auto done = [&](bool yes) {
      admitted += static_cast<int>(yes);
      ++decided;
    };
    cluster.data_plane(0).Request(
        {.budgets = {{first, ""}, {second, ""}}, .likely = 20, .upper = 20, .actual = 20}, done);
    cluster.data_plane(1).Request(
        {.budgets = {{second, ""}, {first, ""}}, .likely = 20, .upper = 20, .actual = 20}, done);
    while (decided < 2) cluster.Run(1);
    CHECK(admitted == 2);
  }
  CHECK(cluster.world().violations.empty());
}

}  // namespace spillway::simulation
