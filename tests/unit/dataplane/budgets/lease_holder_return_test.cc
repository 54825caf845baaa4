// What a holder gives back, and when it forgets an account.
#include <catch2/catch_all.hpp>
#include <vector>

#include "dataplane/budgets/lease_holder.h"
#include "tests/unit/dataplane/budgets/holder_bench.h"

namespace spillway {
namespace {

TEST_CASE("a recall takes what is idle, and tells it once it is on disk") {
  HolderBench bench;
  const AccountHandle account = bench.Open("b");
  bench.Give("b", 100);
  const std::vector<Need> needs{{.account = account, .nanos = 30}};
  REQUIRE(bench.holder.Reserve(needs, 0).admitted());
  bench.holder.OnRecall(RecallOf("b", "h1"));
  CHECK(bench.Figures(account).free() == 70);  // it lacks the money itself
  bench.holder.OnRecall(RecallOf("b", "h2", 0));
  CHECK(bench.Figures(account).free() == 70);  // of an older epoch
  bench.holder.MakeRequest(0);
  bench.holder.OnRecall(RecallOf("b", "h2"));
  CHECK(bench.Figures(account).free() == 0);
  CHECK_FALSE(bench.Reserve(account, 1).admitted());
  CHECK(bench.holder.MakeRequest(0).accounts(0).returned() == 0);
  CHECK_FALSE(bench.holder.WantsRequest());
  bench.Record();
  CHECK(bench.holder.WantsRequest());
  CHECK(bench.holder.MakeRequest(0).accounts(0).returned() == 70);
}

TEST_CASE("idle money and that of a window that is over goes back") {
  struct Row {
    const char* name;
    int64_t after_ns;
    int64_t window_time_s;
    bool in_flight;
    Nanos free;
  };
  const Row row = GENERATE(values<Row>({
      {"busy a moment ago", kSecond, 90'000, false, 60},
      {"idle for long", 11 * kSecond, 90'000, false, 0},
      {"a call runs: all but twice a second's demand", 11 * kSecond, 90'000, true, 2},
      {"window over", kSecond, 172'800, false, 0},
      {"window over while a call runs", kSecond, 172'800, true, 0},
  }));
  CAPTURE(row.name);
  HolderBench bench;
  const AccountHandle account = bench.Open("b");
  bench.Give("b", 100);
  std::vector<Need> needs{{.account = account, .nanos = row.in_flight ? 30 : 40}};
  REQUIRE(bench.holder.Reserve(needs, 0).admitted());
  if (!row.in_flight) bench.holder.Settle(needs, 40, 0);
  bench.holder.Tick(row.after_ns, row.window_time_s * 1000);
  CHECK(bench.Figures(account).free() == row.free);
}

TEST_CASE("an account is forgotten only when everything about it is known elsewhere") {
  HolderBench bench;
  const AccountHandle account = bench.Open("b");
  bench.Give("b", 100);
  const std::vector<Need> needs{{.account = account, .nanos = 100}};
  REQUIRE(bench.holder.Reserve(needs, 0).admitted());
  bench.holder.Settle(needs, 60, 0);
  const int64_t late_ms = (kDay.end_s + 7200) * 1000;
  const auto answer = [&] {
    const v1::LeaseRequest request = bench.holder.MakeRequest(0);
    bench.holder.OnGrant(bench.Grant("b", 100, 0, request.number()), 0);
    bench.holder.MakeRequest(0);
  };
  bench.holder.Tick(kSecond, late_ms);  // gives back
  CHECK(bench.holder.Holds(account));
  bench.Record();
  bench.holder.Tick(kSecond, late_ms);
  CHECK(bench.holder.Holds(account));  // the control plane was not told yet
  REQUIRE(bench.holder.Closing().size() == 1);
  CHECK(bench.holder.Closing()[0].charged() == 60);
  answer();
  bench.holder.Tick(kSecond, late_ms);
  CHECK_FALSE(bench.holder.Holds(account));
  CHECK(bench.holder.account_count() == 0);
  // A late copy of an old grant must not be spent again.
  CHECK(bench.Open("b") == AccountHandle{});
  bench.Give("b", 100);
  CHECK(bench.holder.account_count() == 0);
}

}  // namespace
}  // namespace spillway
