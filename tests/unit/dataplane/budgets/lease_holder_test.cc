#include "dataplane/budgets/lease_holder.h"

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <chrono>
#include <vector>

#include "tests/unit/dataplane/budgets/holder_bench.h"

namespace spillway {
namespace {

TEST_CASE("a grant counts only once its level is on disk") {
  HolderBench bench;
  const AccountHandle account = bench.Open("b");
  bench.holder.OnGrant(bench.Grant("b", 100), 0);
  CHECK(bench.Reserve(account, 10).outcome == ReserveOutcome::kShort);
  REQUIRE(bench.holder.HasLevels());
  const LeaseHolder::Levels levels = bench.holder.TakeLevels();
  REQUIRE(levels.levels.size() == 1);
  CHECK(levels.levels[0].granted == 100);
  CHECK(levels.levels[0].key.budget_id == "b");
  CHECK(bench.Reserve(account, 10).outcome == ReserveOutcome::kShort);
  bench.holder.Recorded(levels.ticket, 0);
  CHECK(bench.Reserve(account, 100).admitted());
  CHECK(bench.Reserve(account, 1).outcome == ReserveOutcome::kShort);
}

TEST_CASE("a level is a maximum: lost, doubled and late copies do no harm") {
  HolderBench bench;
  const AccountHandle account = bench.Open("b");
  for (const Nanos level : {100, 40, 100, 250, 100}) bench.Give("b", level);
  CHECK(bench.Figures(account).granted == 250);
}

TEST_CASE("grants of a lower epoch, of another holder or of no epoch are refused") {
  HolderBench bench;
  const AccountHandle account = bench.Open("b");
  bench.epoch = 5;
  CHECK(bench.holder.OnGrant(bench.Grant("b", 10), 0).new_epoch);
  bench.epoch = 4;
  CHECK(bench.holder.OnGrant(bench.Grant("b", 99), 0).stale);
  bench.epoch = 0;
  CHECK(bench.holder.OnGrant(bench.Grant("b", 99), 0).stale);
  bench.epoch = 5;
  v1::LeaseGrant other = bench.Grant("b", 99);
  other.set_holder("h2");
  CHECK(bench.holder.OnGrant(other, 0).stale);
  bench.Record();
  CHECK(bench.Figures(account).granted == 10);
  // A budget that was never opened here is not opened by a grant.
  bench.Give("unknown", 50);
  CHECK(bench.holder.account_count() == 1);
}

TEST_CASE("a request needs all its budgets or none") {
  HolderBench bench;
  const AccountHandle rich = bench.Open("rich");
  const AccountHandle poor = bench.Open("poor");
  bench.Give("rich", 100);
  bench.Give("poor", 5);
  const std::vector<Need> needs{{.account = rich, .nanos = 20}, {.account = poor, .nanos = 20}};
  const ReserveResult result = bench.holder.Reserve(needs, 0);
  CHECK(result.outcome == ReserveOutcome::kShort);
  CHECK(result.need == 1);
  CHECK(bench.Figures(rich).reserved == 0);
  bench.holder.Wait(1, needs);
  CHECK(bench.Figures(rich).reserved == 0);
  bench.Give("poor", 20);
  CHECK(bench.holder.TakeServed() == std::vector<uint64_t>{1});
  CHECK(bench.Figures(rich).reserved == 20);
  CHECK(bench.Figures(poor).reserved == 20);
}

TEST_CASE("one account named twice must hold the sum") {
  HolderBench bench;
  const AccountHandle account = bench.Open("b");
  bench.Give("b", 30);
  const std::vector<Need> needs{{.account = account, .nanos = 20},
                                {.account = account, .nanos = 20}};
  CHECK_FALSE(bench.holder.Reserve(needs, 0).admitted());
}

TEST_CASE("settling more than was reserved stays as a debt; less comes back") {
  HolderBench bench;
  const AccountHandle account = bench.Open("b");
  bench.Give("b", 100);
  const std::vector<Need> needs{{.account = account, .nanos = 60, .upper_nanos = 90}};
  REQUIRE(bench.holder.Reserve(needs, 0).admitted());
  CHECK(bench.Figures(account).overshoot_bound == 30);
  bench.holder.Settle(needs, 130, 0);
  CHECK(bench.Figures(account).free() == -30);
  CHECK(bench.Figures(account).overshoot_bound == 0);
  CHECK_FALSE(bench.Reserve(account, 1).admitted());
  bench.Give("b", 150);
  CHECK(bench.Reserve(account, 20).admitted());
  CHECK_FALSE(bench.Reserve(account, 1).admitted());
  bench.holder.Void(std::vector<Need>{{.account = account, .nanos = 20}}, 0);
  CHECK(bench.Figures(account).free() == 20);
  CHECK(bench.holder.calls() == 0);
}

TEST_CASE("a running call is topped up, and its bound shrinks") {
  HolderBench bench;
  const AccountHandle account = bench.Open("b");
  bench.Give("b", 100);
  std::vector<Need> needs{{.account = account, .nanos = 40, .upper_nanos = 120}};
  REQUIRE(bench.holder.Reserve(needs, 0).admitted());
  CHECK(bench.holder.Extend(needs, 50, 0).admitted());
  CHECK(needs[0].nanos == 90);
  CHECK(bench.Figures(account).overshoot_bound == 30);
  CHECK(bench.holder.Extend(needs, 20, 0).outcome == ReserveOutcome::kShort);
  CHECK(needs[0].nanos == 90);
  bench.holder.Settle(needs, 90, 0);
  CHECK(bench.Figures(account).reserved == 0);
  CHECK(bench.Figures(account).free() == 10);
}

TEST_CASE("a request says what calls in flight may cost above what they reserved") {
  struct Case {
    const char* name;
    v1::OnOverrun policy;
    Nanos want;
  };
  const Case kCases[] = {{"finish", v1::ON_OVERRUN_FINISH, 70}, {"cap", v1::ON_OVERRUN_CAP, 0}};
  for (const Case& test : kCases) {
    DYNAMIC_SECTION(test.name) {
      HolderBench bench;
      const AccountHandle account = bench.Open("b", {.limit = 1'000, .on_overrun = test.policy});
      bench.Give("b", 200);
      const auto overrun = [&] {
        const v1::LeaseRequest request = bench.holder.MakeRequest(kSecond);
        return request.accounts_size() == 1 ? request.accounts(0).overrun() : -1;
      };
      std::vector<Need> first{{.account = account, .nanos = 40, .upper_nanos = 90}};
      const std::vector<Need> second{{.account = account, .nanos = 40, .upper_nanos = 60}};
      REQUIRE(bench.holder.Reserve(first, 0).admitted());
      REQUIRE(bench.holder.Reserve(second, 0).admitted());
      CHECK(overrun() == test.want);
      REQUIRE(bench.holder.Extend(first, 30, 0).admitted());
      CHECK(overrun() == std::max<Nanos>(0, test.want - 30));
      bench.holder.Settle(first, 90, 0);
      CHECK(overrun() == std::max<Nanos>(0, test.want - 50));
      bench.holder.Void(second, 0);
      CHECK(overrun() == 0);
    }
  }
}

TEST_CASE("what a request says of an account") {
  HolderBench bench;
  const AccountHandle account = bench.Open("b");
  CHECK(bench.holder.WantsRequest());
  CHECK(bench.holder.MakeRequest(0).accounts_size() == 0);
  bench.Give("b", 100);
  const std::vector<Need> needs{{.account = account, .nanos = 30}};
  REQUIRE(bench.holder.Reserve(needs, 0).admitted());
  REQUIRE(bench.holder.Reserve(needs, 0).admitted());
  bench.holder.Settle(needs, 25, 0);
  const v1::LeaseRequest request = bench.holder.MakeRequest(kSecond);
  REQUIRE(request.accounts_size() == 1);
  const v1::HolderAccount& told = request.accounts(0);
  CHECK(told.granted_seen() == 100);
  CHECK(told.returned() == 0);
  CHECK(told.charged() == 25);
  CHECK(told.reserved() == 30);
  CHECK(told.target() > 0);
  CHECK(request.holder() == "h1");
  CHECK(request.instance() == "dp1");
  CHECK(request.epoch() == 1);
  // It is told again until the control plane has answered for it.
  CHECK(bench.holder.MakeRequest(kSecond).accounts_size() == 1);
  bench.holder.OnGrant(bench.Grant("b", 100, 0, request.number() + 1), kSecond);
  CHECK(bench.holder.MakeRequest(kSecond).accounts_size() == 0);
}

TEST_CASE("frozen, too large, not enforced") {
  HolderBench bench;
  const AccountHandle frozen = bench.Open("f", {.limit = 1'000, .frozen = true});
  bench.Give("f", 100);
  CHECK(bench.Reserve(frozen, 1).reason == ReserveReason::kFrozen);
  const AccountHandle account = bench.Open("b", {.limit = 1'000});
  CHECK(bench.Reserve(account, 1'001).reason == ReserveReason::kNeverFits);
  CHECK(bench.Reserve(account, 1'001).outcome == ReserveOutcome::kRefused);
  CHECK(bench.Reserve(account, 0).admitted());
  const std::vector<Need> warned{{.account = account, .nanos = 500, .enforce = false}};
  CHECK(bench.holder.Reserve(warned, 0).admitted());
  CHECK(bench.Figures(account).free() == -500);
  CHECK(bench.Reserve(AccountHandle{}, 1).reason == ReserveReason::kForgotten);
}

TEST_CASE("reserving and settling are fast", "[.bench]") {
  HolderBench bench;
  const AccountHandle a = bench.Open("a", {.limit = INT64_MAX / 4});
  const AccountHandle b = bench.Open("b", {.limit = INT64_MAX / 4});
  bench.Give("a", INT64_MAX / 4);
  bench.Give("b", INT64_MAX / 4);
  const std::vector<Need> needs{{.account = a, .nanos = 1'000, .upper_nanos = 2'000},
                                {.account = b, .nanos = 1'000, .upper_nanos = 2'000}};
  constexpr int kRounds = 2'000'000;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kRounds; ++i) {
    if (!bench.holder.Reserve(needs, i).admitted()) FAIL();
    bench.holder.Settle(needs, 900, i);
  }
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
  WARN("two budgets, reserve + settle: " << took.count() / kRounds << " ns");
}

}  // namespace
}  // namespace spillway
