// The keeper's clock, and the windows that it opens and drops.
#include "controlplane/budgets/lease_keeper.h"
#include "tests/unit/controlplane/budgets/keeper_bench.h"

namespace spillway {
namespace {

TEST_CASE("T follows the wall clock at most five per cent fast or slow, and never goes back") {
  LeaseKeeper keeper;
  keeper.Load(LeaseKeeperRow{.time_ms = kNowMs + 500});
  keeper.Begin(1, kNowMs, 0);
  CHECK(keeper.time_ms() == kNowMs + 500);
  keeper.Advance(kNowMs + 1'000, 1'000'000'000);
  CHECK(keeper.time_ms() == kNowMs + 500 + 950);
  keeper.Advance(kNowMs + 3'600'000, 2'000'000'000);  // stepped ahead
  CHECK(keeper.time_ms() == kNowMs + 1'450 + 1'050);
  keeper.Advance(0, 3'000'000'000);  // stepped back
  CHECK(keeper.time_ms() == kNowMs + 2'500 + 950);
  keeper.Advance(kNowMs + 999'999'999, 3'000'000'000);  // no time went by
  CHECK(keeper.time_ms() == kNowMs + 3'450);
  keeper.Advance(kNowMs, 1'000'000'000);
  CHECK(keeper.time_ms() == kNowMs + 3'450);
}

TEST_CASE("a rolling budget counts its last buckets") {
  BudgetTerms terms = Terms("b", 1'000, WindowKind::kRolling);
  terms.rolling_hours = 3;
  KeeperBench bench({terms});
  const auto bucket = [](int hour) { return kDayS + int64_t{hour} * 3600; };
  // T is at 01:00. 400 are spent in that bucket, 100 stay out with h1.
  bench.Send(Ask("h1").Waits({{"b", 500}}, bucket(1)));
  bench.keeper.OnCharge("h1", AccountOf("b", bucket(1)), 400);
  bench.At(kNowMs + int64_t{2} * 3'600'000);  // 03:00: still in the window
  CHECK(LevelOf(bench.Send(Ask("h2").Waits({{"b", 600}}, bucket(3))), "b") == 0);
  CHECK(LevelOf(bench.Send(Ask("h2").Waits({{"b", 500}}, bucket(3))), "b") == 500);
  LeaseAccountFigures figures = bench.keeper.Figures("b", "");
  CHECK(figures.settled == 400);
  CHECK(figures.exposure == 1'000);
  CHECK(figures.resets_at_s == bucket(4));
  bench.At(kNowMs + int64_t{3} * 3'600'000);  // 04:00: what was spent at 01:00 counts no more
  figures = bench.keeper.Figures("b", "");
  CHECK(figures.settled == 0);
  CHECK(figures.exposure == 600);  // with what h1 still has out of 01:00
  bench.keeper.OnClosed("h1", ClosedWith({{AccountOf("b", bucket(1)), 500}}));
  CHECK(bench.keeper.Figures("b", "").exposure == 500);
  CHECK(LevelOf(bench.Send(Ask("h3").Waits({{"b", 500}}, bucket(4))), "b") == 500);
}

TEST_CASE("old accounts are dropped, those that are still out later") {
  KeeperBench bench;
  bench.Send(Ask("h1").With("b", {}).Waits({{"b", 300}}));
  bench.Send(Ask("h1").With("b", {.g = 300, .r = 200, .c = 100}));
  bench.keeper.OnCharge("h1", AccountOf("b"), 100);
  bench.Send(Ask("h2").With("b", {}).Waits({{"b", 10}}));
  const int64_t day_ms = 86'400'000;
  bench.At(kNowMs + 12 * day_ms);
  CHECK(bench.keeper.Prune(1'000) == 0);  // h2 still has 10
  bench.keeper.OnClosed("h1", ClosedWith({{AccountOf("b"), 100}}));
  bench.keeper.OnClosed("h2", ClosedWith({}));
  bench.Take();
  CHECK(bench.rows.size() == 2);
  CHECK(bench.keeper.Prune(1'000) == 1);
  bench.Take();
  CHECK(bench.rows.empty());
  bench.At(kNowMs + 20 * day_ms);
  bench.keeper.Prune(1'000);
  bench.Take();
  CHECK(bench.holders.empty());
}

}  // namespace
}  // namespace spillway
