// What a keeper knows again after a restart, and whom it waits for after a restore.
#include <utility>
#include <vector>

#include "controlplane/budgets/lease_keeper.h"
#include "tests/unit/controlplane/budgets/keeper_bench.h"

namespace spillway {
namespace {

TEST_CASE("after a restore nothing is granted until the whole roster has told all") {
  KeeperBench before;
  before.Send(Ask("h1").With("b", {}).Waits({{"b", 100}}));
  before.Send(Ask("h2").With("b", {}));
  before.keeper.OnHolder("dead", "dp-dead");
  before.keeper.Tombstone("dead", false);
  before.Take();

  KeeperBench bench;
  bench.keeper.SetBudgets(std::vector{Terms("b", 1'000)});
  for (const auto& [name, row] : before.rows) bench.keeper.Load(row);
  for (const auto& [name, row] : before.holders) bench.keeper.Load(row);
  bench.keeper.Begin(7, kNowMs, 0);
  bench.keeper.BeginRestore(false);
  CHECK(bench.keeper.gated());
  CHECK(bench.keeper.WaitedFor().size() == 2);
  bench.keeper.OnHolder("h3", "dp-h3");  // from the replay
  CHECK(bench.keeper.WaitedFor().size() == 3);
  bench.keeper.ReplayDone();
  // Granted after the backup, and told now.
  v1::LeaseGrant grant = bench.Send(Ask("h1", 7).With("b", {.g = 700, .c = 30}).Whole());
  CHECK(grant.accounts(0).closed());
  CHECK(bench.Exposure("b") == 700);
  bench.Send(Ask("h2", 6).With("b", {.g = 200}).Whole());  // not under the new epoch
  CHECK(bench.keeper.gated());
  bench.Send(Ask("h2", 7).With("b", {.g = 200}));  // not all of it
  CHECK(bench.keeper.gated());
  SECTION("each way out") {
    bench.Send(Ask("h2", 7).With("b", {.g = 200}).Whole());
    CHECK(bench.keeper.gated());
    SECTION("it reports") { bench.Send(Ask("h3", 7).Whole()); }
    SECTION("it is closed") { bench.keeper.OnClosed("h3", ClosedWith({})); }
    SECTION("it is retired") { bench.keeper.Tombstone("h3", true); }
    CHECK_FALSE(bench.keeper.gated());
    CHECK(LevelOf(bench.Send(Ask("h2", 7).With("b", {.g = 200, .v = 200}).Waits({{"b", 100}})),
                  "b") == 300);
    CHECK(LevelOf(bench.Send(Ask("h2", 7).With("b", {.g = 300, .v = 300}).Waits({{"b", 1}})),
                  "b") == 300);
  }
  SECTION("silence is no way out") {
    bench.keeper.Tombstone("h2", false);
    bench.keeper.Tombstone("h3", false);
    CHECK(bench.keeper.gated());
  }
  SECTION("windows that begin later are free at once") {
    bench.At(kNowMs + 86'400'000);
    CHECK(LevelOf(bench.Send(Ask("h9", 7).Waits({{"b", 5}}, kDayS + 86'400)), "b") == 5);
    CHECK(bench.keeper.gated());
  }
  SECTION("it outlives a restart") {
    LeaseKeeper next;
    next.Load(bench.row);
    for (const auto& [name, row] : bench.holders) next.Load(row);
    next.Begin(8, kNowMs, 0);
    CHECK(next.gated());
    next.OpenGate();
    CHECK_FALSE(next.gated());
  }
}

TEST_CASE("with events lost the gate stays shut") {
  KeeperBench bench;
  bench.keeper.BeginRestore(true);
  bench.keeper.ReplayDone();
  bench.Send(Ask("h1").With("b", {}).Whole());
  CHECK(bench.keeper.gated());
  CHECK(bench.keeper.Figures("b", "").gated);
  CHECK(bench.keeper.stream_damaged());
  CHECK(bench.keeper.WaitedFor().empty());
  // Restored once more, from a backup that was made meanwhile.
  bench.keeper.BeginRestore(false);
  bench.keeper.ReplayDone();
  bench.Send(Ask("h1").With("b", {}).Whole());
  CHECK(bench.keeper.gated());
}

TEST_CASE("loading what was written gives the same keeper") {
  KeeperBench bench({Terms("b", 1'000), Terms("c", 1'000, WindowKind::kLifetime)});
  bench.Send(Ask("h1").With("b", {}).Waits({{"b", 300}}).Waits({{"c", 50}}, 0));
  bench.keeper.OnCharge("h1", AccountOf("b"), 120);
  bench.keeper.Seed("c", "", 0, 400);
  bench.Send(Ask("h2").With("b", {.g = 20, .r = 5, .c = 3}));
  bench.keeper.OnClosed("h2", ClosedWith({{AccountOf("b"), 4}}));
  bench.Take();
  LeaseKeeper next;
  for (const auto& [name, row] : bench.rows) next.Load(row);
  for (const auto& [name, row] : bench.holders) next.Load(row);
  next.Load(bench.row);
  next.SetBudgets(std::vector{Terms("b", 1'000), Terms("c", 1'000, WindowKind::kLifetime)});
  next.Begin(2, kNowMs, 0);
  for (const auto& [budget, start] : {std::pair{"b", kDayS}, std::pair{"c", int64_t{0}}}) {
    CHECK(next.Exposure(AccountOf(budget, start)) ==
          bench.keeper.Exposure(AccountOf(budget, start)));
  }
  CHECK(next.Settled(AccountOf("b")) == 120);
  CHECK(next.Settled(AccountOf("c", 0)) == 400);
  CHECK(next.Figures("c", "").exposure == 450);
  CHECK_FALSE(next.gated());
}

}  // namespace
}  // namespace spillway
