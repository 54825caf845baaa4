// Many threads at one account: it is never spent twice, and never locked up.
#include <atomic>
#include <ctime>
#include <print>
#include <thread>

#include "tests/unit/dataplane/budgets/fixture.h"

namespace spillway {
namespace {

TEST_CASE("threads that hammer accounts never reserve more than there is") {
  constexpr int kThreads = 4;
  constexpr int kRounds = 4'000;
  constexpr Nanos kLimit = 1'000;
  Process process(true);
  const std::vector<BudgetMatch> shared = {Match(Spec("tight", kLimit)),
                                           Match(Spec("wide", kLimit * 100))};
  std::atomic<Nanos> running = 0;
  std::atomic<Nanos> highest = 0;
  std::atomic<int64_t> admitted = 0;
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRounds; ++i) {
        const Nanos nanos = 100 + (i * 7 + t * 13) % 300;
        auto answer = process.budgets.TryAdmit(Asking(process.budgets, shared, nanos));
        if (!answer->has_value()) continue;
        Reservation held = std::move((**answer).reservation);
        ++admitted;
        const Nanos now = running.fetch_add(nanos) + nanos;
        Nanos seen = highest.load();
        while (now > seen && !highest.compare_exchange_weak(seen, now)) {
        }
        if (i % 3 == 0) (void)held.Extend(10);
        running.fetch_sub(nanos);
        // Nothing is charged, so that the account stays usable; every way of ending is taken.
        if (i % 2 == 0) std::move(held).Settle(0, 0);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(admitted > kRounds);
  CHECK(highest <= kLimit);
  CHECK(process.Figures(shared[0]).reserved == 0);
  CHECK(process.Figures(shared[0]).charged == 0);
  Take(process.budgets, Asking(process.budgets, shared, kLimit));
}

TEST_CASE("what threads charge together is the limit, to the nano-dollar") {
  constexpr Nanos kLimit = 10'000;
  Process process(true);
  const auto matches = One(Spec("spent", kLimit));
  std::atomic<Nanos> charged = 0;
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5'000; ++i) {
        auto answer = process.budgets.TryAdmit(Asking(process.budgets, matches, 7));
        if (!answer->has_value()) continue;
        std::move((**answer).reservation).Settle(5, 5);
        charged += 5;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(charged == process.Figures(matches[0]).charged);
  CHECK(charged <= kLimit);
  CHECK(charged > kLimit - 7 - 5);
}

TEST_CASE("reserve and settle cost", "[.benchmark]") {
  constexpr int kRounds = 1'000'000;
  for (const int threads : {1, 2}) {
    for (const size_t budgets : {1, 2, 5}) {
      Budgets measured({.instance = "dp-1", .holder = kHolder, .standalone = true}, SystemClock());
      std::vector<BudgetMatch> matches;
      matches.reserve(budgets);
      for (size_t i = 0; i < budgets; ++i)
        matches.push_back(Match(Spec("budget-" + std::to_string(i), INT64_MAX / 4), "someone"));
      const auto run = [&] {
        const int64_t admitted_ms = measured.NowMs();
        for (int i = 0; i < kRounds; ++i) {
          auto answer = measured.TryAdmit({.matches = matches,
                                           .ask = {.quantile = 100, .upper_bound = 200},
                                           .admitted_ms = admitted_ms});
          std::move((**answer).reservation).Settle(90, 90);
        }
      };
      const int64_t begun_ns = SystemClock().MonotonicNs();
      std::vector<std::thread> all;
      all.reserve(threads);
      for (int t = 0; t < threads; ++t) all.emplace_back(run);
      for (std::thread& thread : all) thread.join();
      const auto elapsed = static_cast<double>(SystemClock().MonotonicNs() - begun_ns);
      std::println("{} thread(s), {} budget(s): {:.0f} ns per reserve and settle of each thread",
                   threads, budgets, elapsed / kRounds);
    }
  }
}

}  // namespace
}  // namespace spillway
