// What is told of charges that arrive when their window is over.
#include <catch2/catch_all.hpp>
#include <map>
#include <utility>
#include <vector>

#include "tests/unit/controlplane/budgets/desk_world.h"

namespace spillway {
namespace {

constexpr int64_t kDaySeconds = 86'400;
constexpr int64_t kDayMs = kDaySeconds * 1000;

// Settled by window start.
std::map<int64_t, Nanos> UsesWithin(const DeskWorld& world, int64_t ended_within_ms) {
  std::map<int64_t, Nanos> settled;
  world.book->EachUse("id-day", ended_within_ms,
                      [&](const BudgetUse& use) { settled[use.window_start_s] = use.settled; });
  return settled;
}

TEST_CASE("a charge behind its window's end is told of that window") {
  DeskWorld world;
  world.Put(MakeBudget("day", 1000, v1::WINDOW_DAY));
  const std::vector<v1::Account> yesterday = {MakeAccount("day")};
  const std::vector<v1::Account> today = {MakeAccount("day", kJanuaryS + kDaySeconds)};
  world.clock.AdvanceMs(kDayMs + 300'000);
  world.desk->RunOnce();
  ChargingSource source(kDp1, kHolder1);
  source.FinishOn(yesterday, source.StartOn(yesterday, 10), 1300, 1300);
  source.FinishOn(today, source.StartOn(today, 10), 70, 70);
  world.Apply({source.All()});
  world.desk->RunOnce();
  REQUIRE(world.uses.size() == 2);
  CHECK(world.uses[0].window_start_s == kJanuaryS);
  CHECK(world.uses[0].window_end_s == kJanuaryS + kDaySeconds);
  CHECK(world.uses[0].settled == 1300);
  CHECK(world.uses[1].window_start_s == kJanuaryS + kDaySeconds);
  CHECK(world.uses[1].settled == 70);
}

TEST_CASE("looking at all accounts finds the window before, for as long as asked") {
  DeskWorld world;
  world.Put(MakeBudget("day", 1000, v1::WINDOW_DAY));
  const std::vector<v1::Account> yesterday = {MakeAccount("day")};
  ChargingSource source(kDp1, kHolder1);
  source.FinishOn(yesterday, source.StartOn(yesterday, 10), 1300, 1300);
  world.Apply({source.All()});
  world.clock.AdvanceMs(kDayMs);
  world.Restart();
  const std::map<int64_t, Nanos> of_yesterday = {{kJanuaryS, 1300}};
  CHECK(UsesWithin(world, 60'000) == of_yesterday);
  CHECK(UsesWithin(world, 0).empty());
  world.clock.AdvanceMs(60'000);
  world.Restart();
  CHECK(UsesWithin(world, 60'000).empty());
  CHECK(UsesWithin(world, 60'001) == of_yesterday);
}

}  // namespace
}  // namespace spillway
