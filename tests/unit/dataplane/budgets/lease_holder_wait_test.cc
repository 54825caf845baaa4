// Requests that wait for money: in which order they are served, and when a wait is in vain.
#include <catch2/catch_all.hpp>
#include <cstdint>
#include <vector>

#include "dataplane/budgets/lease_holder.h"
#include "tests/unit/dataplane/budgets/holder_bench.h"

namespace spillway {
namespace {

TEST_CASE("newcomers do not overtake those that wait, and small ones do not starve") {
  HolderBench bench;
  const AccountHandle account = bench.Open("b");
  bench.Give("b", 50);
  const std::vector<Need> large{{.account = account, .nanos = 80}};
  const std::vector<Need> small{{.account = account, .nanos = 10}};
  REQUIRE(bench.holder.Reserve(large, 0).outcome == ReserveOutcome::kShort);
  bench.holder.Wait(1, large);
  CHECK(bench.holder.Reserve(small, 0).outcome == ReserveOutcome::kShort);
  bench.holder.Wait(2, small);
  SECTION("the large one is served first") {
    bench.Give("b", 85);
    CHECK(bench.holder.TakeServed() == std::vector<uint64_t>{1});
    CHECK(bench.Figures(account).free() == 5);
  }
  SECTION("a grant serves whoever fits") {
    bench.Give("b", 60);
    CHECK(bench.holder.TakeServed() == std::vector<uint64_t>{2});
  }
  SECTION("when the large one gives up, the small one is served") {
    const ReserveResult result = bench.holder.GiveUp(1, 0);
    CHECK(result.outcome == ReserveOutcome::kRefused);
    CHECK(result.reason == ReserveReason::kExhausted);
    CHECK(bench.holder.TakeServed() == std::vector<uint64_t>{2});
    CHECK(bench.holder.waiting() == 0);
  }
  SECTION("the last try is out of turn") {
    CHECK(bench.holder.GiveUp(2, 0).admitted());
    CHECK(bench.Figures(account).reserved == 10);
  }
  SECTION("a caller that is gone is not served") {
    CHECK(bench.holder.Cancel(1, 0));
    CHECK(bench.holder.TakeServed() == std::vector<uint64_t>{2});
    CHECK_FALSE(bench.holder.Cancel(2, 0));
  }
}

TEST_CASE("an answer counts for a waiter when what it granted is on disk") {
  HolderBench bench;
  const AccountHandle account = bench.Open("b");
  const std::vector<Need> needs{{.account = account, .nanos = 100}};
  bench.holder.Wait(1, needs);
  CHECK(bench.holder.AnsweredNs(1) == -1);
  bench.holder.OnGrant(bench.Grant("b", 0, 0, 1), 5);  // to a request of before
  CHECK(bench.holder.AnsweredWaiters().empty());
  const int64_t number = bench.holder.MakeRequest(10).number();
  v1::LeaseGrant grant = bench.Grant("b", 60, 0, number);
  bench.holder.OnGrant(grant, 20);
  CHECK(bench.holder.AnsweredNs(1) == -1);
  bench.now = 30;
  bench.Record();
  CHECK(bench.holder.AnsweredNs(1) == 30);
  REQUIRE(bench.holder.AnsweredWaiters().size() == 1);
  CHECK(bench.holder.AnsweredWaiters()[0].waiter == 1);
  CHECK(bench.holder.AnsweredWaiters()[0].out_of_reach);
  CHECK(bench.holder.GiveUp(1, 40).outcome == ReserveOutcome::kRefused);
  CHECK(bench.holder.AnsweredWaiters().empty());
}

TEST_CASE("a wait is in vain when nothing that anybody has would do") {
  struct Case {
    const char* name;
    Nanos level, remainder, elsewhere;
    bool closed, in_vain;
  };
  const Case kCases[] = {
      {"nothing at all", 0, 0, 0, false, true},
      {"what remains would do", 0, 100, 0, false, false},
      {"others have enough", 0, 0, 100, false, false},
      {"together with what is here", 40, 30, 30, false, false},
      {"one short", 40, 30, 29, false, true},
      {"below zero remains nothing", 40, -500, 60, false, false},
      {"closed for the moment", 0, 0, 0, true, false},
  };
  for (const Case& test : kCases) {
    DYNAMIC_SECTION(test.name) {
      HolderBench bench;
      const AccountHandle account = bench.Open("b");
      const std::vector<Need> needs{{.account = account, .nanos = 100}};
      bench.holder.Wait(1, needs);
      v1::LeaseGrant grant =
          bench.Grant("b", test.level, test.remainder, bench.holder.MakeRequest(0).number());
      grant.mutable_accounts(0)->set_elsewhere(test.elsewhere);
      grant.mutable_accounts(0)->set_closed(test.closed);
      bench.holder.OnGrant(grant, 0);
      bench.Record();
      REQUIRE(bench.holder.AnsweredWaiters().size() == 1);
      CHECK(bench.holder.AnsweredWaiters()[0].out_of_reach == test.in_vain);
    }
  }
}

TEST_CASE("what runs here, or is on its way back, keeps a wait alive") {
  HolderBench bench;
  const AccountHandle account = bench.Open("b");
  bench.Give("b", 100);
  const std::vector<Need> running{{.account = account, .nanos = 70}};
  REQUIRE(bench.holder.Reserve(running, 0).admitted());
  const std::vector<Need> needs{{.account = account, .nanos = 100}};
  const auto in_vain = [&] {
    bench.holder.OnGrant(bench.Grant("b", 100, 0, bench.holder.MakeRequest(0).number()), 0);
    REQUIRE(bench.holder.AnsweredWaiters().size() == 1);
    return bench.holder.AnsweredWaiters()[0].out_of_reach;
  };
  bench.holder.Wait(1, needs);
  CHECK_FALSE(in_vain());  // the running call may cost nothing
  // Another holder asked for the idle rest. Until the control plane has heard that it is back, what
  // it says of the remainder is too little.
  bench.holder.OnRecall(RecallOf("b", "h2"));
  CHECK(bench.Figures(account).returning == 30);
  CHECK_FALSE(bench.holder.AnsweredWaiters()[0].out_of_reach);
  bench.Record();
  CHECK(in_vain());
  CHECK(bench.Figures(account).returning == 0);
}

}  // namespace
}  // namespace spillway
