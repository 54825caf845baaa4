// Figures that no honest data plane has, and limits that fall below what is out.
#include <string>
#include <vector>

#include "controlplane/budgets/lease_keeper.h"
#include "tests/unit/controlplane/budgets/keeper_bench.h"

namespace spillway {
namespace {

constexpr Nanos kHuge = Nanos{1} << 60;  // the largest that a request may say

TEST_CASE("sums of huge figures lift no limit, and go down exactly") {
  BudgetTerms rolling = Terms("r", 1'000, WindowKind::kRolling);
  rolling.rolling_hours = 3;
  KeeperBench bench({Terms("b", 1'000), rolling});
  const int64_t bucket_s = kDayS + 3600;
  for (int i = 0; i < 9; ++i) {
    const std::string holder = "x" + std::to_string(i);
    bench.Send(Ask(holder).With("b", {.c = kHuge}));
    bench.Send(Ask(holder).With("r", {.c = kHuge}, bucket_s));
  }
  CHECK(bench.Exposure("b") == INT64_MAX);
  CHECK(bench.keeper.Figures("r", "").exposure == INT64_MAX);
  CHECK(LevelOf(bench.Send(Ask("h").Waits({{"b", 10}})), "b") == 0);
  CHECK(LevelOf(bench.Send(Ask("h").Waits({{"r", 10}}, bucket_s)), "r") == 0);
  for (int i = 0; i < 9; ++i) {
    bench.keeper.OnClosed("x" + std::to_string(i),
                          ClosedWith({{AccountOf("b"), 5}, {AccountOf("r", bucket_s), 5}}));
  }
  bench.Take();
  CHECK(bench.Exposure("b") == 45);
  CHECK(bench.keeper.Figures("r", "").exposure == 55);  // with what "h" waited for
  CHECK(LevelOf(bench.Send(Ask("h").Waits({{"b", 955}})), "b") == 955);
}

TEST_CASE("huge charges stay huge") {
  KeeperBench bench;
  bench.keeper.OnCharge("h1", AccountOf("b"), INT64_MAX);
  bench.keeper.OnCharge("h1", AccountOf("b"), INT64_MAX);
  CHECK(bench.Exposure("b") == INT64_MAX);
  // How far beyond it was is not known any more: nothing brings it down.
  bench.keeper.OnCharge("h1", AccountOf("b"), -INT64_MAX);
  CHECK(bench.Exposure("b") == INT64_MAX);
  CHECK(bench.Send(Ask("h1").With("b", {.g = kHuge, .r = kHuge})).accounts(0).remainder() < 0);
  CHECK(LevelOf(bench.Send(Ask("h2").Waits({{"b", 10}})), "b") == 0);
}

TEST_CASE("needs that no limit holds are not served") {
  KeeperBench bench;
  const std::vector<std::pair<std::string, Nanos>> needs(40, {"b", kHuge});
  CHECK(LevelOf(bench.Send(Ask("h1").Waits(needs)), "b") == 0);
  CHECK(bench.Exposure("b") == 0);
}

TEST_CASE("accounts of budgets that nobody knows leave nothing behind") {
  KeeperBench bench;
  bench.keeper.BeginRestore(false);
  bench.keeper.ReplayDone();
  bench.keeper.OnHolder("h1", "dp-h1");
  const Ask ask = Ask("h1").With("made-up", {.g = 5}).With("made-up", {.g = 5}).Whole();
  const v1::LeaseGrant grant = bench.Send(Ask(ask).Waits({{"b", 1}, {"another", 5}}));
  CHECK(grant.accounts_size() == 3);
  for (const v1::GrantedAccount& account : grant.accounts()) CHECK(account.granted() == 0);
  CHECK(bench.keeper.unknown_accounts() == 2);
  CHECK_FALSE(bench.keeper.gated());  // it told all that can matter
  bench.Send(ask);
  bench.keeper.OnCharge("h1", AccountOf("made-up"), 5);
  bench.keeper.OnClosed("h1", ClosedWith({{AccountOf("made-up"), 5}}));
  bench.Take();
  for (const auto& [name, row] : bench.rows) CHECK(row.budget_id == "b");
}

TEST_CASE("a budget that is gone is forgotten with its last account") {
  KeeperBench bench;
  bench.Send(Ask("h1").With("b", {.c = 5}));
  bench.keeper.OnClosed("h1", ClosedWith({{AccountOf("b"), 5}}));
  bench.keeper.SetBudgets({});
  bench.Take();
  bench.Send(Ask("h2").With("b", {.c = 7}));  // still counted
  CHECK(bench.Exposure("b") == 12);
  bench.keeper.OnClosed("h2", ClosedWith({{AccountOf("b"), 7}}));
  bench.Take();
  bench.At(kNowMs + int64_t{20} * 86'400'000);
  bench.keeper.Prune(1'000);
  bench.Take();
  CHECK(bench.rows.empty());
  bench.Send(Ask("h3").With("b", {.c = 9}));
  CHECK(bench.rows.empty());
}

TEST_CASE("a limit below what is out has what is idle recalled") {
  KeeperBench bench;
  bench.Send(Ask("h1").With("b", {}).Waits({{"b", 900}}));
  bench.Send(Ask("h1").With("b", {.g = 900, .c = 100}));
  const auto recalled = [&] {
    bench.Take();
    int accounts = 0;
    for (const v1::Recall& recall : bench.recalls) {
      CHECK(recall.holder().empty());  // nobody keeps anything
      CHECK(recall.epoch() == 1);
      accounts += recall.accounts_size();
    }
    return accounts;
  };
  bench.keeper.SetBudget(Terms("b", 950));
  CHECK(recalled() == 0);
  bench.keeper.SetBudget(Terms("b", 500));
  CHECK(recalled() == 1);
  SECTION("a raise ends") {
    BudgetTerms raised = Terms("b", 500);
    raised.raise = 500;
    raised.raise_until_ms = kNowMs + 5'000;
    bench.keeper.SetBudget(raised);
    CHECK(recalled() == 0);
    bench.At(kNowMs + 4'000);
    CHECK(recalled() == 0);
    bench.At(kNowMs + 6'000);
    CHECK(recalled() == 1);
    bench.At(kNowMs + 7'000);
    CHECK(recalled() == 0);
  }
  SECTION("nothing is idle") {
    bench.Send(Ask("h1").With("b", {.g = 900, .c = 900}));
    bench.keeper.SetBudget(Terms("b", 400));
    CHECK(recalled() == 0);
  }
}

TEST_CASE("a rolling budget's idle money is recalled from all its buckets") {
  BudgetTerms terms = Terms("b", 1'000, WindowKind::kRolling);
  terms.rolling_hours = 3;
  KeeperBench bench({terms});
  bench.Send(Ask("h1").Waits({{"b", 300}}, kDayS + 3600));
  bench.At(kNowMs + 3'600'000);
  bench.Send(Ask("h1").Waits({{"b", 400}}, kDayS + 7200));
  terms.limit = 500;
  bench.keeper.SetBudget(terms);
  bench.Take();
  REQUIRE(bench.recalls.size() == 1);
  REQUIRE(bench.recalls[0].accounts_size() == 2);
  CHECK(bench.recalls[0].accounts(0).window_start_s() == kDayS + 3600);
  CHECK(bench.recalls[0].accounts(1).window_start_s() == kDayS + 7200);
}

}  // namespace
}  // namespace spillway
