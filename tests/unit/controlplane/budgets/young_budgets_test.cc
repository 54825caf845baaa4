// Budgets that restarts, removals and rollbacks meet soon after they were made.
#include "controlplane/budgets/young_budgets.h"

#include "tests/unit/controlplane/budgets/desk_world.h"

namespace spillway {
namespace {

constexpr int64_t kMinuteMs = 60'000;

TEST_CASE("what ran when a budget was made settles its difference after a restart, too") {
  DeskWorld world;
  ChargingSource source(kDp1, 'a');
  const int64_t first = source.Start({.team = "support", .reserved = 300});
  const int64_t second = source.Start({.team = "support", .reserved = 200});
  world.Apply({source.All()});
  v1::Budget budget = MakeBudget("team", 1000, v1::WINDOW_LIFETIME);
  budget.mutable_scope()->set_team("support");
  world.Put(budget);
  CHECK(world.Figures("team").settled == 500);
  // Settled before the restart: its reservation is not taken off again after it.
  const int64_t estimate = source.AbandonOn({}, first, 90, 90);
  world.Apply({source.Records(estimate, estimate)});
  CHECK(world.Figures("team").settled == 290);
  const bool long_down = GENERATE(false, true);
  if (long_down) world.clock.AdvanceMs(60 * kMinuteMs);
  world.Restart();
  CHECK(world.Figures("team").settled == 290);
  source.Finish(first, {.team = "support", .cost = 50, .reserved = 300});
  source.Finish(second, {.team = "support", .cost = 30, .reserved = 200});
  source.Run({.team = "support", .cost = 5});  // planned before the budget was heard of
  world.Apply({source.Records(estimate + 1, source.last_seq())});
  CHECK(world.Figures("team").settled == 85);
  world.Restart();
  CHECK(world.Figures("team").settled == 85);
}

TEST_CASE("a budget that grew up is grown up after a restart") {
  DeskWorld world;
  v1::Budget budget = MakeBudget("team", 1000, v1::WINDOW_LIFETIME);
  budget.mutable_scope()->set_team("support");
  world.Put(budget);
  ChargingSource source(kDp1, 'a');
  source.Run({.team = "support", .cost = 5});
  world.Apply({source.All()});
  CHECK(world.Figures("team").settled == 5);
  world.clock.AdvanceMs(16 * kMinuteMs);
  const int64_t sales = source.Run({.team = "sales", .cost = 40});
  world.Apply({source.Records(3, sales)});
  const bool restart = GENERATE(false, true);
  if (restart) world.Restart();
  source.Run({.team = "support", .cost = 7});
  world.Apply({source.Records(sales + 1, source.last_seq())});
  CHECK(world.Figures("team").settled == 5);
}

TEST_CASE("removed, restarted and brought back by a rollback: no window counts twice") {
  const auto window =
      GENERATE(v1::WINDOW_DAY, v1::WINDOW_WEEK, v1::WINDOW_MONTH, v1::WINDOW_LIFETIME);
  CAPTURE(window);
  DeskWorld world;
  const v1::Budget budget = MakeBudget("team", 1000, window);
  world.Put(budget);
  const WindowSpan span = WindowAt(static_cast<WindowKind>(window), 0, {}, world.clock.WallMs());
  const std::vector<v1::Account> accounts = {MakeAccount("team", span.start_s)};
  ChargingSource source(kDp1, 'a');
  source.FinishOn(accounts, source.StartOn(accounts, 70), 60, 60);
  const int64_t running = source.StartOn(accounts, 30);
  world.Apply({source.All()});
  CHECK(world.Figures("team").settled == 60);
  world.Remove("team");
  world.Restart();
  world.Put(budget);
  CHECK(world.Figures("team").settled == 60);
  source.FinishOn(accounts, running, 20, 20);
  world.Apply({source.Records(running + 1, source.last_seq())});
  CHECK(world.Figures("team").settled == 80);
}

TEST_CASE("huge charges count the same in memory and on disk") {
  DeskWorld world;
  world.Put(MakeBudget("team", 1000));
  ChargingSource source(kDp1, kHolder1);
  const std::vector<v1::Account> accounts = {MakeAccount("team")};
  for (int i = 0; i < 2; ++i) {
    const int64_t from = source.last_seq() + 1;
    source.FinishOn(accounts, source.StartOn(accounts, 10), 10, INT64_MAX);
    world.Apply({source.Records(from, source.last_seq())});
  }
  CHECK(world.Figures("team").settled == INT64_MAX);
  CHECK(world.Ask("dp-2", kHolder2, MakeAccount("team"), {}, 10) == 0);
  world.Restart();
  CHECK(world.Figures("team").settled == INT64_MAX);
}

TEST_CASE("charges to budgets that were never known are refused, and counted") {
  DeskWorld world;
  ChargingSource source(kDp1, kHolder1);
  const std::vector<v1::Account> accounts = {MakeAccount("made-up")};
  source.FinishOn(accounts, source.StartOn(accounts, 10), 10, 10);
  world.Apply({source.All()});
  CHECK(world.charges->refused() == 1);
  CHECK(ReadCharge(*world.store, LeaseKey(accounts[0], kHolder1)).value() == 0);
}

}  // namespace
}  // namespace spillway
