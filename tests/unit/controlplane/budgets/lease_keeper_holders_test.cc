// How holders end, and what is told of each.
#include <string>
#include <vector>

#include "controlplane/budgets/lease_keeper.h"
#include "tests/unit/controlplane/budgets/keeper_bench.h"

namespace spillway {
namespace {

TEST_CASE("a tombstoned or closed holder is told so and granted nothing; its money stays counted") {
  KeeperBench bench;
  bench.Send(Ask("h1").With("b", {}).Waits({{"b", 300}}));
  SECTION("tombstoned") {
    bench.keeper.Tombstone("h1", false);
    CHECK(bench.Exposure("b") == 300);
    const v1::LeaseGrant grant =
        bench.Send(Ask("h1").With("b", {.g = 300, .r = 100, .target = 50}).Waits({{"b", 400}}));
    CHECK(grant.tombstoned());
    CHECK(LevelOf(grant, "b") == 300);
    CHECK(bench.Exposure("b") == 200);  // it may give back
    CHECK(bench.holders.at("h1").tombstoned);
  }
  SECTION("closed") {
    bench.keeper.OnCharge("h1", AccountOf("b"), 40);
    bench.keeper.OnClosed("h1", ClosedWith({{AccountOf("b"), 70}}));
    CHECK(bench.Exposure("b") == 70);
    bench.keeper.OnCharge("h1", AccountOf("b"), 45);  // late
    CHECK(bench.Exposure("b") == 85);
    bench.keeper.OnCharge("h1", AccountOf("b"), -60);
    CHECK(bench.Exposure("b") == 70);
    CHECK(bench.Send(Ask("h1").With("b", {.g = 300, .target = 9})).tombstoned());
    CHECK(bench.Exposure("b") == 70);
    bench.keeper.OnClosed("h1", ClosedWith({}));  // once
    CHECK(bench.Exposure("b") == 70);
  }
}

TEST_CASE("what a holder has is given back by its own instance only") {
  KeeperBench bench;
  bench.Send(Ask("h1").With("b", {}).Waits({{"b", 300}}));
  v1::LeaseRequest forged = Ask("h1").With("b", {.g = 300, .r = 300}).request;
  forged.set_instance("dp-captured");
  CHECK(bench.keeper.OnRequest(forged) == LeaseKeeper::RequestOutcome::kInvalid);
  CHECK(bench.Exposure("b") == 300);
  CHECK(bench.holders.at("h1").instance == "dp-h1");
}

TEST_CASE("closed without naming an account") {
  KeeperBench bench({Terms("b", 1'000), Terms("c", 1'000)});
  bench.Send(Ask("h1").With("b", {}).With("c", {}).Waits({{"b", 300}}).Waits({{"c", 300}}));
  // b was given back but for what it charged; the grant of c never arrived.
  bench.Send(Ask("h1").With("b", {.g = 300, .r = 250, .c = 50}));
  bench.keeper.OnClosed("h1", ClosedWith({}));
  CHECK(bench.Exposure("b") == 50);
  CHECK(bench.Exposure("c") == 0);
}

TEST_CASE("retiring an instance tombstones its open holders") {
  KeeperBench bench;
  bench.Send(Ask("h1").With("b", {}));
  bench.keeper.OnHolder("h2", "dp-h1");
  bench.keeper.OnHolder("h3", "other");
  bench.keeper.OnClosed("h2", ClosedWith({}));
  CHECK(bench.keeper.TombstoneInstance("dp-h1", true) == std::vector<std::string>{"h1"});
  bench.Take();
  CHECK(bench.holders.at("h1").retired);
  CHECK_FALSE(bench.holders.at("h3").tombstoned);
}

TEST_CASE("figures by holder, with what is stranded") {
  KeeperBench bench;
  bench.Send(Ask("h1").With("b", {}).Waits({{"b", 300}}));
  bench.Send(Ask("h1").With("b", {.g = 300, .c = 100, .v = 50}));
  bench.At(kNowMs + 20'000);
  bench.Send(Ask("h2").With("b", {}).Waits({{"b", 200}}));
  const LeaseAccountFigures figures = bench.keeper.Figures("b", "");
  CHECK(figures.exposure == 500);
  CHECK(figures.remainder == 500);
  REQUIRE(figures.holders.size() == 2);
  const LeaseHolderFigures& silent = figures.holders[0];
  CHECK(silent.instance == "dp-h1");
  CHECK(silent.state == LeaseHolderFigures::State::kSilent);
  CHECK(silent.leased == 200);
  CHECK(silent.reserved == 50);
  CHECK(silent.spent == 100);
  CHECK(silent.stranded() == 200);
  CHECK(figures.holders[1].stranded() == 0);
  CHECK(bench.keeper.Figures("b", "nobody").remainder == 1'000);
  CHECK(bench.keeper.List("b", "", 10).accounts.size() == 1);
  CHECK(bench.keeper.List("b", "z", 10).accounts.empty());
}

}  // namespace
}  // namespace spillway
