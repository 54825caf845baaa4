#include "dataplane/limits/queue.h"

#include <boost/asio/co_spawn.hpp>
#include <catch2/catch_all.hpp>
#include <exception>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "dataplane/exchange/timer_wheel.h"
#include "dataplane/limits/rep.h"
#include "tests/unit/dataplane/limits/specs.h"

namespace spillway {
namespace {

// One loop on a clock moved by hand.
struct QueueBench {
  explicit QueueBench(const RateLimitOptions& options = {}) : limits(options, clock) {}
  ~QueueBench() { loop->io.DropPending(); }

  struct Waiting {
    std::string tenant;
    LimitWait cancel;
    std::optional<LimitOutcome> outcome;
    LimitAsk ask;
    std::vector<RateLimitMatch> matches;
  };
  std::shared_ptr<Waiting> Wait(const std::vector<RateLimitMatch>& matches, std::string tenant,
                                int64_t deadline_ms = 60'000, LimitAsk ask = {}) {
    auto waiting = std::make_shared<Waiting>();
    waiting->tenant = std::move(tenant);
    waiting->matches = matches;
    waiting->ask = ask;
    boost::asio::co_spawn(
        loop->io.get_executor(),
        limits.AdmitOrWait(
            *loop, waiting->matches, ask,
            {.deadline_ms = deadline_ms, .tenant = waiting->tenant, .cancel = &waiting->cancel}),
        [this, waiting](const std::exception_ptr& failed, LimitOutcome outcome) {
          if (failed) std::rethrow_exception(failed);
          if (outcome) outcome->Settle(waiting->ask);
          order.push_back(waiting->tenant);
          waiting->outcome.emplace(std::move(outcome));
        });
    Poll();
    return waiting;
  }
  void Poll() {
    loop->io.restart();
    loop->io.poll();
  }
  void PassMs(int64_t ms) {
    for (int64_t done = 0; done < ms; done += 5) {
      clock.AdvanceMs(std::min<int64_t>(5, ms - done));
      loop->timers->Advance();
      Poll();
    }
  }
  bool Take(const std::vector<RateLimitMatch>& matches, LimitAsk ask = {}) {
    LimitOutcome outcome = limits.Admit(matches, ask, clock.MonotonicNs());
    if (outcome) outcome->Settle(ask);
    return outcome.has_value();
  }
  int64_t waiting() { return limits.rep().queue.waiting(); }

  ManualClock clock;
  RateLimits limits;
  std::unique_ptr<Loop> loop = std::make_unique<Loop>(clock);
  std::vector<std::string> order;  // in which waits ended
};

TEST_CASE("one that may pass does not wait") {
  QueueBench bench;
  const auto waiting = bench.Wait(MatchOf(SpecOf("limit", {.requests = 1})), "a");
  REQUIRE(waiting->outcome);
  CHECK(waiting->outcome->has_value());
}

TEST_CASE("a waiting request passes when the next period begins") {
  QueueBench bench;
  const auto matches = MatchOf(SpecOf("limit", {.requests = 2}));
  CHECK(bench.Take(matches));
  CHECK(bench.Take(matches));
  const auto waiting = bench.Wait(matches, "a");
  bench.PassMs(980);
  CHECK_FALSE(waiting->outcome);
  CHECK(bench.waiting() == 1);
  bench.PassMs(50);
  REQUIRE(waiting->outcome);
  CHECK(waiting->outcome->has_value());
  CHECK(bench.waiting() == 0);
}

TEST_CASE("a freed slot is given on at once, without any time passing") {
  QueueBench bench;
  const auto matches = MatchOf(SpecOf("limit", {.concurrent = 1}));
  LimitOutcome running = bench.limits.Admit(matches, {}, bench.clock.MonotonicNs());
  REQUIRE(running);
  const auto first = bench.Wait(matches, "a");
  const auto second = bench.Wait(matches, "a");
  running->Drop();
  bench.Poll();
  REQUIRE(first->outcome);
  CHECK_FALSE(second->outcome);
  (*first->outcome)->Drop();
  bench.Poll();
  CHECK(second->outcome);
}

TEST_CASE("tokens that were not used are given on at once") {
  QueueBench bench;
  const auto matches = MatchOf(SpecOf("limit", {.tokens = 1'000}));
  LimitOutcome running = bench.limits.Admit(matches, {900, 0}, bench.clock.MonotonicNs());
  REQUIRE(running);
  const auto waiting = bench.Wait(matches, "a", 60'000, {200, 0});
  CHECK_FALSE(waiting->outcome);
  running->Settle({100, 0});
  bench.Poll();
  CHECK(waiting->outcome);
}

TEST_CASE("nobody overtakes those who wait") {
  QueueBench bench;
  const auto spec = SpecOf("limit", {.tokens = 1'000});
  const auto matches = MatchOf(spec);
  CHECK(bench.Take(matches, {900, 0}));
  const auto large = bench.Wait(matches, "a", 60'000, {500, 0});
  const auto small = bench.Wait(matches, "b", 60'000, {10, 0});
  CHECK_FALSE(small->outcome);
  CHECK_FALSE(bench.Take(matches, {10, 0}));  // nor a newcomer that does not wait
  bench.PassMs(1'050);
  CHECK(large->outcome);
  CHECK(small->outcome);
  CHECK(bench.Take(matches, {10, 0}));
}

TEST_CASE("turns go round between tenants") {
  QueueBench bench;
  const auto matches = MatchOf(SpecOf("limit", {.requests = 6}));
  while (bench.Take(matches)) {
  }
  for (int i = 0; i < 8; ++i) (void)bench.Wait(matches, "greedy");
  for (int i = 0; i < 2; ++i) (void)bench.Wait(matches, "modest");
  (void)bench.Wait(matches, "shy");
  bench.PassMs(1'050);
  REQUIRE(bench.order.size() == 6);
  CHECK(std::ranges::count(bench.order, "greedy") == 3);
  CHECK(std::ranges::count(bench.order, "modest") == 2);
  CHECK(std::ranges::count(bench.order, "shy") == 1);
  bench.PassMs(1'050);
  CHECK(bench.order.size() == 11);
}

TEST_CASE("tenants get equal tokens, not equal requests") {
  QueueBench bench;
  const auto matches = MatchOf(SpecOf("limit", {.tokens = 400'000}));
  CHECK(bench.Take(matches, {400'000, 0}));
  for (int i = 0; i < 40; ++i) {
    (void)bench.Wait(matches, "large", 600'000, {40'000, 0});
    for (int n = 0; n < 10; ++n) (void)bench.Wait(matches, "small", 600'000, {4'000, 0});
  }
  for (int period = 0; period < 4; ++period) bench.PassMs(1'000);
  bench.PassMs(50);
  const auto large = std::ranges::count(bench.order, "large") * 40'000;
  const auto small = std::ranges::count(bench.order, "small") * 4'000;
  CHECK(large + small > 1'400'000);
  CHECK(std::abs(large - small) <= int64_t{80'000} + 2 * LimitQueue::kQuantum);
}

TEST_CASE("a wait ends") {
  struct Row {
    std::string name;
    int64_t deadline_ms;
    bool cancel;
    LimitHeld::Why want;
  };
  const Row row = GENERATE(values<Row>({
      {"at its deadline", 300, false, LimitHeld::Why::kDeadline},
      {"at once, with no time", 0, false, LimitHeld::Why::kDeadline},
      {"when the client leaves", 60'000, true, LimitHeld::Why::kCancelled},
  }));
  CAPTURE(row.name);
  QueueBench bench;
  const auto matches = MatchOf(SpecOf("limit", {.requests = 1, .period_ms = 60'000}));
  CHECK(bench.Take(matches));
  const auto waiting = bench.Wait(matches, "a", row.deadline_ms);
  if (row.deadline_ms > 0) {
    bench.PassMs(250);
    CHECK_FALSE(waiting->outcome);
    CHECK(waiting->cancel.waiting());
  }
  if (row.cancel) waiting->cancel.Cancel();
  bench.Poll();
  bench.PassMs(row.deadline_ms == 300 ? 80 : 0);
  REQUIRE(waiting->outcome);
  REQUIRE_FALSE(waiting->outcome->has_value());
  CHECK(waiting->outcome->error().why == row.want);
  CHECK(waiting->outcome->error().limit == "limit");
  CHECK_FALSE(waiting->cancel.waiting());
  CHECK(bench.waiting() == 0);
  waiting->cancel.Cancel();  // nothing is there any more
  CHECK(ToError(waiting->outcome->error()).code ==
        (row.cancel ? ErrorCode::kCancelled : ErrorCode::kRateLimited));
}

TEST_CASE("one that leaves makes room for those behind") {
  QueueBench bench;
  const auto matches = MatchOf(SpecOf("limit", {.tokens = 1'000, .period_ms = 60'000}));
  CHECK(bench.Take(matches, {900, 0}));
  const auto large = bench.Wait(matches, "a", 60'000, {500, 0});
  const auto small = bench.Wait(matches, "a", 60'000, {50, 0});
  CHECK_FALSE(small->outcome);
  large->cancel.Cancel();
  bench.Poll();
  CHECK(large->outcome);
  REQUIRE(small->outcome);
  CHECK(small->outcome->has_value());
}

TEST_CASE("queues are bounded, of one limit and of all") {
  QueueBench bench({.waiting_per_limit_max = 3, .waiting_max = 4});
  const auto one = MatchOf(SpecOf("one", {.requests = 1, .period_ms = 60'000}));
  const auto two = MatchOf(SpecOf("two", {.requests = 1, .period_ms = 60'000}));
  CHECK(bench.Take(one));
  CHECK(bench.Take(two));
  for (int i = 0; i < 3; ++i) CHECK_FALSE(bench.Wait(one, "a")->outcome);
  const auto refused = bench.Wait(one, "b");
  REQUIRE(refused->outcome);
  CHECK(refused->outcome->error().why == LimitHeld::Why::kQueueFull);
  CHECK_FALSE(bench.Wait(two, "a")->outcome);
  const auto refused_too = bench.Wait(two, "a");
  REQUIRE(refused_too->outcome);
  CHECK(refused_too->outcome->error().why == LimitHeld::Why::kQueueFull);
  CHECK(bench.waiting() == 4);
}

TEST_CASE("a request of several limits waits for one after the other") {
  QueueBench bench;
  const auto slow = SpecOf("slow", {.requests = 1, .period_ms = 3'000});
  const auto fast = SpecOf("fast", {.requests = 1});
  std::vector<RateLimitMatch> both = MatchOf(fast);
  both.push_back({.limit = slow, .subject = ""});
  CHECK(bench.Take(both));
  const auto waiting = bench.Wait(both, "a");
  bench.PassMs(1'100);
  CHECK_FALSE(waiting->outcome);
  bench.PassMs(2'000);
  REQUIRE(waiting->outcome);
  CHECK(waiting->outcome->has_value());
}

TEST_CASE("frames that are destroyed while they wait leave nothing behind") {
  QueueBench bench;
  const auto matches = MatchOf(SpecOf("limit", {.concurrent = 1}));
  LimitOutcome running = bench.limits.Admit(matches, {}, bench.clock.MonotonicNs());
  const auto first = bench.Wait(matches, "a");
  const auto second = bench.Wait(matches, "b");
  running->Drop();  // the first is admitted, and not resumed yet
  bench.loop->io.DropPending();
  CHECK(bench.waiting() == 0);
  CHECK(bench.limits.Admit(matches, {}, bench.clock.MonotonicNs()));
}

TEST_CASE("waiting on several loops with real threads") {
  RateLimits limits({.waiting_per_limit_max = 5'000}, SystemClock());
  const auto matches = MatchOf(SpecOf("limit", {.concurrent = 4}));
  constexpr int kLoops = 3;
  constexpr int kEach = 400;
  std::vector<std::unique_ptr<Loop>> loops;
  loops.reserve(kLoops);
  for (int i = 0; i < kLoops; ++i) loops.push_back(std::make_unique<Loop>(SystemClock()));
  std::atomic<int> running = 0;
  std::atomic<int> most = 0;
  std::atomic<int> served = 0;
  for (const auto& loop : loops) {
    for (int n = 0; n < kEach; ++n) {
      boost::asio::co_spawn(
          loop->io.get_executor(),
          limits.AdmitOrWait(*loop, matches, {}, {.deadline_ms = 60'000, .tenant = "t"}),
          [&](const std::exception_ptr&, LimitOutcome outcome) {
            if (!outcome) return;
            const int now = ++running;
            int seen = most.load();
            while (seen < now && !most.compare_exchange_weak(seen, now)) {
            }
            ++served;
            --running;
          });
    }
  }
  std::vector<std::thread> threads;
  threads.reserve(loops.size());
  for (const auto& loop : loops) threads.emplace_back([&loop] { loop->io.run(); });
  for (std::thread& thread : threads) thread.join();
  CHECK(served == kLoops * kEach);
  CHECK(most <= 4);
  CHECK(limits.rep().queue.waiting() == 0);
}

}  // namespace
}  // namespace spillway
