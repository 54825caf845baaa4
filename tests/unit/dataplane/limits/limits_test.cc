#include "dataplane/limits/limits.h"

#include <atomic>
#include <catch2/catch_all.hpp>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "dataplane/limits/rep.h"
#include "tests/unit/dataplane/limits/specs.h"

namespace spillway {
namespace {

struct Bench {
  explicit Bench(const RateLimitOptions& options = {}) : limits(options, clock) {}
  LimitOutcome Admit(const std::vector<RateLimitMatch>& matches, LimitAsk ask = {}) {
    return limits.Admit(matches, ask, clock.MonotonicNs());
  }
  // Admitted, and it went upstream and ended.
  bool Serve(const std::vector<RateLimitMatch>& matches, LimitAsk ask = {}) {
    LimitOutcome outcome = Admit(matches, ask);
    if (outcome) outcome->Settle(ask);
    return outcome.has_value();
  }
  int ServeAll(const std::vector<RateLimitMatch>& matches, int offered, LimitAsk ask = {}) {
    int served = 0;
    for (int i = 0; i < offered; ++i) served += Serve(matches, ask) ? 1 : 0;
    return served;
  }

  ManualClock clock;
  RateLimits limits;
};

TEST_CASE("no limit, no ticket") {
  Bench bench;
  const LimitOutcome outcome = bench.Admit({});
  REQUIRE(outcome);
  CHECK(outcome->empty());
}

TEST_CASE("the first so many of a period pass, the next is refused and told when to come back") {
  struct Row {
    std::string name;
    LimitFigures figures;
    LimitAsk ask;
    int want;
    LimitHeld::What what;
  };
  const Row row = GENERATE(values<Row>({
      {"requests", {.requests = 5}, {}, 5, LimitHeld::What::kRequests},
      {"tokens", {.tokens = 500}, {60, 40}, 5, LimitHeld::What::kTokens},
      {"input tokens",
       {.tokens = 500, .kind = v1::TOKEN_KIND_INPUT},
       {60, 40},
       8,
       LimitHeld::What::kTokens},
      {"output tokens",
       {.tokens = 500, .kind = v1::TOKEN_KIND_OUTPUT},
       {60, 40},
       12,
       LimitHeld::What::kTokens},
      {"an estimate above the limit passes once",
       {.tokens = 50},
       {60, 40},
       1,
       LimitHeld::What::kTokens},
      {"whichever is used up first",
       {.requests = 7, .tokens = 500},
       {60, 40},
       5,
       LimitHeld::What::kTokens},
  }));
  CAPTURE(row.name);
  Bench bench;
  const auto matches = MatchOf(SpecOf("limit", row.figures), "s");
  bench.clock.AdvanceMs(777);  // periods begin with the first use, not by the clock
  CHECK(bench.ServeAll(matches, 100, row.ask) == row.want);
  bench.clock.AdvanceMs(400);
  const LimitOutcome refused = bench.Admit(matches, row.ask);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().limit == "limit");
  CHECK(refused.error().what == row.what);
  const bool owed = row.figures.tokens == 50;
  CHECK(refused.error().retry_after_ms == (owed ? 1'600 : 600));
  bench.clock.AdvanceMs(599);
  CHECK_FALSE(bench.Serve(matches, row.ask));
  bench.clock.AdvanceMs(owed ? 1'001 : 1);
  CHECK(bench.Serve(matches, row.ask));
}

TEST_CASE("every period a request of its own may ask for is kept exactly") {
  struct Row {
    int64_t period_ms;
    int64_t requests;
  };
  const Row row = GENERATE(values<Row>(
      {{1'000, 7}, {60'000, 100}, {3'600'000, 1'000}, {86'400'000, 1'000}, {1'000, 1}}));
  CAPTURE(row.period_ms, row.requests);
  Bench bench;
  const auto matches =
      MatchOf(SpecOf("limit", {.requests = row.requests, .period_ms = row.period_ms}));
  int64_t served = 0;
  for (int step = 0; step < 1'000; ++step) {  // ten periods
    served += bench.ServeAll(matches, static_cast<int>(row.requests / 10 + 1));
    bench.clock.AdvanceNs(row.period_ms * kNsPerMs / 100);
  }
  CHECK(served == 10 * row.requests);
}

TEST_CASE("all limits or none") {
  Bench bench;
  const auto wide = SpecOf("wide", {.requests = 100, .tokens = 10'000, .concurrent = 50});
  const auto narrow = SpecOf("narrow", {.requests = 3});
  std::vector<RateLimitMatch> both = MatchOf(wide, "s");
  both.push_back({.limit = narrow, .subject = "s"});
  std::vector<LimitTicket> running;
  for (int i = 0; i < 10; ++i) {
    LimitOutcome outcome = bench.Admit(both, {10, 10});
    if (outcome) {
      outcome->Settle({10, 10});
      running.push_back(*std::move(outcome));
    } else {
      CHECK(outcome.error().limit == "narrow");
      CHECK(outcome.error().standings.requests.limit == 3);     // the tightest,
      CHECK(outcome.error().standings.tokens.limit == 10'000);  // whose ever it is
    }
  }
  CHECK(running.size() == 3);
  const LimitStandings left = bench.limits.Standings(MatchOf(wide, "s"), bench.clock.MonotonicNs());
  CHECK(left.requests.remaining == 97);
  CHECK(left.tokens.remaining == 9'940);
}

TEST_CASE("subjects have buckets of their own") {
  Bench bench;
  const auto spec = SpecOf("user", {.requests = 2});
  for (const char* user : {"alice", "bob", "carol"})
    CHECK(bench.ServeAll(MatchOf(spec, user), 9) == 2);
}

TEST_CASE("concurrent requests are counted while they run") {
  Bench bench;
  const auto matches = MatchOf(SpecOf("limit", {.concurrent = 20}));
  std::deque<LimitTicket> running;
  for (int i = 0; i < 20; ++i) {
    LimitOutcome outcome = bench.Admit(matches);
    REQUIRE(outcome);
    running.push_back(*std::move(outcome));
  }
  const LimitOutcome refused = bench.Admit(matches);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().what == LimitHeld::What::kConcurrent);
  running.pop_front();
  CHECK(bench.Admit(matches));
}

TEST_CASE("settled tokens are paid back before anything is admitted") {
  Bench bench;
  const auto matches = MatchOf(SpecOf("limit", {.tokens = 1'000}));
  for (int i = 0; i < 5; ++i) {
    LimitOutcome outcome = bench.Admit(matches, {100, 0});
    REQUIRE(outcome);
    outcome->Settle({700, 0});  // 3,500 in all, as soon as the second: debt
    if (i == 1) break;
  }
  CHECK_FALSE(bench.Serve(matches, {1, 0}));  // 1,400 of 1,000
  bench.clock.AdvanceMs(1'000);
  CHECK(bench.ServeAll(matches, 100, {100, 0}) == 6);
}

TEST_CASE("ten periods of tokens with wrong estimates stay within two percent") {
  struct Row {
    std::string name;
    int64_t estimate;
    int64_t actual;
  };
  const Row row =
      GENERATE(values<Row>({{"too high", 400, 100}, {"too low", 100, 400}, {"right", 100, 100}}));
  CAPTURE(row.name);
  Bench bench;
  const auto matches = MatchOf(SpecOf("limit", {.tokens = 20'000}));
  struct Running {
    LimitTicket ticket;
    int64_t ends_ms;
  };
  std::deque<Running> running;
  int64_t used = 0;
  for (int64_t ms = 0; ms < 10'000; ++ms) {
    while (!running.empty() && running.front().ends_ms <= ms) {
      running.front().ticket.Settle({row.actual, 0});
      running.pop_front();
    }
    if (LimitOutcome outcome = bench.Admit(matches, {row.estimate, 0})) {
      used += row.actual;
      running.push_back({*std::move(outcome), ms + 50});
    }
    bench.clock.AdvanceMs(1);
  }
  CHECK(used >= 196'000);
  // Debt of the last period: what 50 ms admit at the wrong estimate, less nothing.
  CHECK(used <= 204'000 + (row.actual > row.estimate ? 50 * row.actual : 0));
}

TEST_CASE("an edited limit keeps what was used") {
  Bench bench;
  CHECK(bench.ServeAll(MatchOf(SpecOf("limit", {.requests = 10})), 6) == 6);
  CHECK(bench.ServeAll(MatchOf(SpecOf("limit", {.requests = 8})), 9) == 2);
  CHECK(bench.ServeAll(MatchOf(SpecOf("limit", {.requests = 20})), 99) == 12);
  // A longer period began when the shorter one did.
  const auto slow = MatchOf(SpecOf("limit", {.requests = 20, .period_ms = 5'000}));
  bench.clock.AdvanceMs(4'999);
  CHECK_FALSE(bench.Serve(slow));
}

TEST_CASE("subjects beyond the maximum share a bucket, idle ones make room") {
  Bench bench({.subjects_per_limit_max = 10});
  const auto spec = SpecOf("user", {.requests = 1});
  int served = 0;
  for (int i = 0; i < 50; ++i)
    served += bench.Serve(MatchOf(spec, "u" + std::to_string(i))) ? 1 : 0;
  CHECK(served == 11);
  MetricsText text;
  bench.limits.Collect(text);
  const std::string metrics = std::move(text).Take();
  CHECK_THAT(metrics, Catch::Matchers::ContainsSubstring(
                          "spillway_limit_overflow_total{limit=\"user\"} 40"));
  CHECK_THAT(metrics,
             Catch::Matchers::ContainsSubstring("spillway_limit_refused_total{limit=\"user\"} 39"));
  for (int i = 0; i < 3 * 64; ++i) {
    if (i % 64 == 0) bench.clock.AdvanceMs(2'000);
    bench.limits.rep().table.Sweep(bench.clock.MonotonicNs());
  }
  CHECK(bench.limits.rep().table.totals().entries == 0);
  CHECK(bench.Serve(MatchOf(spec, "new")));
}

TEST_CASE("newcomers too many look for idle ones once a second, not each of them") {
  Bench bench({.subjects_per_limit_max = 2});
  const auto spec = SpecOf("user", {.requests = 1, .period_ms = 100});
  CHECK(bench.Serve(MatchOf(spec, "first")));
  const auto own_buckets = [&](const std::string& name) {
    int served = 0;
    for (int i = 0; i < 1'000; ++i)  // of every shard some
      served += bench.Serve(MatchOf(spec, name + std::to_string(i))) ? 1 : 0;
    return served - 1;  // one from the bucket they share
  };
  CHECK(own_buckets("a") == 1);
  bench.clock.AdvanceMs(500);  // both are idle
  CHECK(own_buckets("b") == 0);
  bench.clock.AdvanceMs(500);
  CHECK(own_buckets("c") == 1);
}

TEST_CASE("one that owes is not forgotten") {
  Bench bench({.subjects_per_limit_max = 1});
  const auto spec = SpecOf("user", {.tokens = 100});
  {
    LimitOutcome outcome = bench.Admit(MatchOf(spec, "debtor"), {10, 0});
    REQUIRE(outcome);
    outcome->Settle({350, 0});
  }
  for (int i = 0; i < 3; ++i) {
    for (int sweep = 0; sweep < 64; ++sweep)
      bench.limits.rep().table.Sweep(bench.clock.MonotonicNs());
    CHECK_FALSE(bench.Serve(MatchOf(spec, "debtor"), {10, 0}));
    bench.clock.AdvanceMs(1'000);
  }
  CHECK(bench.Serve(MatchOf(spec, "debtor"), {10, 0}));
}

TEST_CASE("a subject too long for a key shares the bucket of those") {
  Bench bench;
  const auto spec = SpecOf("user", {.requests = 1});
  CHECK(bench.Serve(MatchOf(spec, std::string(300, 'a'))));
  CHECK_FALSE(bench.Serve(MatchOf(spec, std::string(300, 'b'))));
  CHECK(bench.Serve(MatchOf(spec, std::string(256, 'a'))));
}

TEST_CASE("a refusal says which limit and when to come back") {
  Bench bench;
  const auto matches = MatchOf(SpecOf("team-tokens", {.tokens = 100, .period_ms = 60'000}));
  CHECK(bench.Serve(matches, {100, 0}));
  const LimitOutcome refused = bench.Admit(matches, {100, 0});
  REQUIRE_FALSE(refused);
  const Error error = ToError(refused.error());
  CHECK(error.code == ErrorCode::kRateLimited);
  CHECK(error.message == "rate limit 'team-tokens' (tokens) is used up; try again in 1m0s");
  CHECK(error.retry_after_ms == 60'000);
  CHECK(refused.error().standings.tokens.remaining == 0);
}

TEST_CASE("many threads at one limit admit exactly the limit") {
  Bench bench;
  const auto matches = MatchOf(SpecOf(
      "limit", {.requests = 20'000, .tokens = 200'000, .concurrent = 3, .period_ms = 60'000}));
  std::atomic<int64_t> served = 0;
  std::atomic<int64_t> running = 0;
  std::atomic<int64_t> most = 0;
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 30'000; ++i) {
        LimitOutcome outcome = bench.limits.Admit(matches, {12, 0}, bench.clock.MonotonicNs());
        if (!outcome) continue;
        const int64_t now = ++running;
        int64_t seen = most.load();
        while (seen < now && !most.compare_exchange_weak(seen, now)) {
        }
        if ((i + t) % 3 == 0) {
          --running;
          continue;  // dropped: as if it had never been
        }
        outcome->Settle({10, 0});
        ++served;
        --running;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(most <= 3);
  const LimitStandings left = bench.limits.Standings(matches, bench.clock.MonotonicNs());
  CHECK(left.requests.remaining == 20'000 - served);
  CHECK(left.tokens.remaining == 200'000 - 10 * served);
  const LimitOutcome last = bench.Admit(matches, {1, 0});
  CHECK(last.has_value() == (served < 20'000));
}

}  // namespace
}  // namespace spillway
