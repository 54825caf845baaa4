#include "controlplane/budgets/lease_keeper.h"

#include <chrono>
#include <string>
#include <vector>

#include "tests/unit/controlplane/budgets/keeper_bench.h"

namespace spillway {
namespace {

TEST_CASE("exposure of an account") {
  struct Row {
    const char* name;
    LeaseAccountRow row;
    Nanos exposure;
  };
  const Row row = GENERATE(values<Row>({
      {"nothing", {}, 0},
      {"what may still be spent", {.granted = 100, .returned = 30}, 70},
      {"settled beyond it", {.granted = 100, .returned = 30, .settled = 90}, 90},
      {"reported beyond it", {.granted = 100, .returned = 30, .settled = 90, .reported = 95}, 95},
      {"closed", {.granted = 100, .settled = 20, .reported = 40, .final = 40}, 40},
      {"closed below what was settled", {.granted = 100, .settled = 50, .final = 40}, 50},
      {"closed with nothing", {.granted = 100, .reported = 10, .final = 0}, 0},
  }));
  CAPTURE(row.name);
  CHECK(row.row.Exposure() == row.exposure);
}

TEST_CASE("those that wait are served in order, each wholly or not at all") {
  KeeperBench bench({Terms("b", 100), Terms("c", 50)});
  const v1::LeaseGrant grant = bench.Send(Ask("h1")
                                              .Waits({{"b", 40}, {"c", 40}})
                                              .Waits({{"b", 10}, {"c", 20}})  // c has 10 left
                                              .Waits({{"b", 60}}));
  CHECK(LevelOf(grant, "b") == 100);
  CHECK(LevelOf(grant, "c") == 40);
  CHECK(bench.Exposure("b") == 100);
  CHECK(bench.rows.at("b@" + std::to_string(kDayS) + "/h1").granted == 100);
  CHECK(bench.row.time_ms == kNowMs);
}

TEST_CASE("a doubled or late request is granted nothing again") {
  KeeperBench bench;
  const Ask first = Ask("h1").With("b", {}).Waits({{"b", 40}});
  CHECK(LevelOf(bench.Send(first), "b") == 40);
  CHECK(LevelOf(bench.Send(first), "b") == 40);
  const Ask second = Ask("h1").With("b", {.g = 40, .v = 40}).Waits({{"b", 30}});
  CHECK(LevelOf(bench.Send(second), "b") == 70);
  // Overtaken by the second: figures by maximum, no grant.
  CHECK(LevelOf(bench.Send(first), "b") == 70);
  CHECK(bench.Exposure("b") == 70);
}

TEST_CASE("figures are maxima, and nonsense is refused") {
  KeeperBench bench;
  bench.Send(Ask("h1").With("b", {.g = 100, .r = 20, .c = 50}));
  bench.Send(Ask("h1").With("b", {.g = 80, .r = 10, .c = 40}));
  const LeaseAccountRow& row = bench.rows.at("b@" + std::to_string(kDayS) + "/h1");
  CHECK(row.granted == 100);
  CHECK(row.returned == 20);
  CHECK(row.reported == 50);
  for (const Told& bad : {Told{.g = -1}, Told{.g = 10, .r = 11}, Told{.c = -5}, Told{.v = -1},
                          Told{.g = INT64_MAX}, Told{.c = INT64_MAX}, Told{.target = -1}}) {
    bench.Send(Ask("h1").With("b", bad));
    CHECK(row.granted == 100);
    CHECK(bench.Exposure("b") == 80);
  }
  bench.Send(Ask("h2").Waits({{"b", INT64_MAX}}));
  CHECK(bench.Exposure("b") == 80);
  CHECK(bench.keeper.OnRequest(Ask("").request) == LeaseKeeper::RequestOutcome::kInvalid);
  CHECK(bench.keeper.OnRequest(Ask(std::string(65, 'x')).request) ==
        LeaseKeeper::RequestOutcome::kInvalid);
  CHECK(bench.keeper.OnRequest(Ask("h1", 2).request) == LeaseKeeper::RequestOutcome::kHigherEpoch);
}

TEST_CASE("stock is about the target, never more than a share of what remains") {
  KeeperBench bench;
  CHECK(LevelOf(bench.Send(Ask("h1").With("b", {.target = 100})), "b") == 100);
  bench.Send(Ask("h2").With("b", {}));
  bench.At(kNowMs + 600);  // now two are counted
  // rest 900, two data planes: at most 225
  CHECK(LevelOf(bench.Send(Ask("h2").With("b", {.target = 800})), "b") == 225);
  const v1::LeaseGrant again = bench.Send(Ask("h2").With("b", {.g = 225, .target = 200}));
  CHECK(LevelOf(again, "b") == 225);
  CHECK(again.fleet_size() == 2);
  CHECK(again.accounts(0).remainder() == 1'000 - 100 - 225);
}

TEST_CASE("who lacks gets a recall sent, stock stops, and is served when money comes back") {
  KeeperBench bench;
  bench.Send(Ask("h1").With("b", {}).Waits({{"b", 900}}));
  const v1::LeaseGrant lacking = bench.Send(Ask("h2").With("b", {}).Waits({{"b", 200}}));
  CHECK(LevelOf(lacking, "b") == 0);
  REQUIRE(bench.recalls.size() == 1);
  CHECK(bench.recalls[0].holder() == "h2");
  CHECK(bench.recalls[0].accounts(0).budget_id() == "b");
  // Scarce: no stock, and no second recall at once.
  CHECK(LevelOf(bench.Send(Ask("h3").With("b", {.target = 50})), "b") == 0);
  bench.Send(Ask("h2").With("b", {}).Waits({{"b", 200}}));
  CHECK(bench.recalls.empty());
  bench.Send(Ask("h1").With("b", {.g = 900, .r = 150, .c = 700, .v = 50}));
  REQUIRE(bench.grants.size() == 2);  // the answer, and what h2 waits for
  const auto& served = bench.grants[bench.grants[0].instance == "dp-h2" ? 0 : 1];
  CHECK(served.instance == "dp-h2");
  CHECK(LevelOf(served.grant, "b") == 200);
  CHECK(bench.Exposure("b") == 950);
}

TEST_CASE("who lacks hears what others have: of those who are there, and what they did not spend") {
  KeeperBench bench;
  bench.Send(Ask("h1").With("b", {}).Waits({{"b", 900}}));
  bench.Send(Ask("h1").With("b", {.g = 900, .c = 300, .v = 250}));
  const auto elsewhere = [&] {
    const v1::LeaseGrant grant = bench.Send(Ask("h2").With("b", {}).Waits({{"b", 200}}));
    REQUIRE(grant.accounts_size() == 1);
    return grant.accounts(0).elsewhere();
  };
  CHECK(elsewhere() == 600);  // reserved is not spent: a call may cost less
  CHECK(bench.Send(Ask("h2").With("b", {})).accounts(0).elsewhere() == 0);  // lacks nothing
  SECTION("what was settled is spent, whether it was reported or not") {
    bench.keeper.OnCharge("h1", AccountOf("b"), 450);
    CHECK(elsewhere() == 450);
  }
  SECTION("who was given up gives nothing back") {
    bench.keeper.Tombstone("h1", false);
    CHECK(elsewhere() == 0);
  }
  SECTION("nor who is silent") {
    bench.At(kNowMs + 10'500);
    CHECK(elsewhere() == 0);
  }
}

TEST_CASE("what others have of a rolling budget's earlier buckets may come back, too") {
  BudgetTerms terms = Terms("b", 1'000, WindowKind::kRolling);
  terms.rolling_hours = 3;
  KeeperBench bench({terms});
  bench.Send(Ask("h1").With("b", {}, kDayS + 3600).Waits({{"b", 900}}, kDayS + 3600));
  bench.At(kNowMs + 3'600'000);
  bench.Send(Ask("h1").With("b", {.g = 900, .c = 100, .v = 800}, kDayS + 3600));
  const v1::LeaseGrant lacking =
      bench.Send(Ask("h2").With("b", {}, kDayS + 7200).Waits({{"b", 200}}, kDayS + 7200));
  REQUIRE(lacking.accounts_size() == 1);
  CHECK(lacking.accounts(0).granted() == 0);
  CHECK(lacking.accounts(0).elsewhere() == 800);
}

TEST_CASE("nothing idle elsewhere, no recall") {
  KeeperBench bench;
  bench.Send(Ask("h1").With("b", {}).Waits({{"b", 950}}));
  bench.Send(Ask("h1").With("b", {.g = 950, .c = 950}));
  bench.Send(Ask("h2").With("b", {}).Waits({{"b", 100}}));
  CHECK(bench.recalls.empty());
}

TEST_CASE("what was spent beyond the lease is covered, and counted") {
  KeeperBench bench;
  bench.Send(Ask("h1").With("b", {}).Waits({{"b", 100}}));
  const v1::LeaseGrant covered = bench.Send(Ask("h1").With("b", {.g = 100, .c = 130}));
  CHECK(LevelOf(covered, "b") == 130);
  CHECK(bench.Exposure("b") == 130);
  CHECK(covered.accounts(0).remainder() == 870);
}

TEST_CASE("no grant when there must be none") {
  BudgetTerms frozen = Terms("frozen", 1'000);
  frozen.frozen = true;
  KeeperBench bench({Terms("b", 1'000), frozen});
  struct Row {
    const char* name;
    const char* budget;
    int64_t start_s;
  };
  const Row row = GENERATE(values<Row>({
      {"not begun", "b", kDayS + 86'400},
      {"long over", "b", kDayS - 86'400},
      {"no window of this budget", "b", kDayS + 60},
      {"frozen", "frozen", kDayS},
      {"unknown", "nobody's", kDayS},
  }));
  CAPTURE(row.name);
  const v1::LeaseGrant grant = bench.Send(Ask("h1")
                                              .With(row.budget, {.target = 100}, row.start_s)
                                              .Waits({{row.budget, 10}}, row.start_s));
  REQUIRE(grant.accounts_size() == 1);
  CHECK(grant.accounts(0).granted() == 0);
  CHECK(grant.accounts(0).closed());
  CHECK(bench.recalls.empty());
}

TEST_CASE("a limit is edited without losing what was spent") {
  KeeperBench bench;
  bench.Send(Ask("h1").With("b", {}).Waits({{"b", 600}}));
  bench.keeper.SetBudget(Terms("b", 500));
  const v1::LeaseGrant lowered = bench.Send(Ask("h2").With("b", {.target = 9}).Waits({{"b", 1}}));
  CHECK(LevelOf(lowered, "b") == 0);
  CHECK(lowered.accounts(0).remainder() == -100);
  REQUIRE(bench.recalls.size() == 1);
  BudgetTerms raised = Terms("b", 500);
  raised.raise = 200;
  raised.raise_until_ms = kNowMs + 5'000;
  bench.keeper.SetBudget(raised);  // who waited is served
  bench.Take();
  REQUIRE(bench.grants.size() == 1);
  CHECK(LevelOf(bench.grants[0].grant, "b") == 1);
  CHECK(bench.keeper.Figures("b", "").limit == 700);
  bench.At(kNowMs + 6'000);
  CHECK(bench.keeper.Figures("b", "").limit == 500);
  CHECK(bench.keeper.Figures("b", "").remainder == -101);
  bench.keeper.SetBudgets({});
  CHECK(bench.Send(Ask("h2").With("b", {.target = 9})).accounts(0).closed());
  CHECK(bench.Exposure("b") == 601);
}

TEST_CASE("requests stay cheap with many budgets and subjects", "[.bench]") {
  std::vector<BudgetTerms> budgets;
  budgets.reserve(1'000);
  for (int i = 0; i < 1'000; ++i) budgets.push_back(Terms("b" + std::to_string(i), INT64_MAX / 4));
  LeaseKeeper keeper;
  keeper.SetBudgets(budgets);
  keeper.Begin(1, kNowMs, 0);
  for (int i = 0; i < 100'000; ++i) {
    keeper.Load(LeaseAccountRow{.budget_id = "b" + std::to_string(i % 1'000),
                                .subject = "u" + std::to_string(i),
                                .window_start_s = kDayS,
                                .holder = "h1",
                                .granted = 100});
  }
  constexpr int kRounds = 200;
  const auto start = std::chrono::steady_clock::now();
  for (int round = 0; round < kRounds; ++round) {
    Ask ask("h2");
    for (int i = 0; i < 100; ++i) {
      ask.With("b" + std::to_string(i), {.target = 10'000}).Waits({{"b" + std::to_string(i), 100}});
    }
    keeper.OnRequest(ask.request);
    keeper.TakeEffects();
  }
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - start;
  WARN("a request of 100 accounts and 100 waiters: " << took.count() / kRounds << " us");
}

}  // namespace
}  // namespace spillway
