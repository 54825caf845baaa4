// Figures of windows that are over, and lists that go on where they stopped.
#include <string>
#include <vector>

#include "controlplane/budgets/lease_keeper.h"
#include "tests/unit/controlplane/budgets/keeper_bench.h"

namespace spillway {
namespace {

constexpr int64_t kDayMs = int64_t{86'400} * 1000;
constexpr int64_t kTomorrowS = kDayS + 86'400;

TEST_CASE("figures of a window that is over are its own") {
  KeeperBench bench;
  bench.keeper.OnCharge("h1", AccountOf("b"), 1'300);
  bench.At(kNowMs + kDayMs);
  bench.keeper.OnCharge("h1", AccountOf("b", kTomorrowS), 70);
  const LeaseAccountFigures over = bench.keeper.Figures("b", "", kDayS);
  CHECK(over.window == WindowSpan{.start_s = kDayS, .end_s = kTomorrowS});
  CHECK(over.resets_at_s == kTomorrowS);
  CHECK(over.settled == 1'300);
  CHECK(over.exposure == 1'300);
  CHECK(over.remainder == -300);
  CHECK(bench.keeper.Figures("b", "", kTomorrowS).settled == 70);
  CHECK(bench.keeper.Figures("b", "").settled == 70);
  // Of none that it knows: of the running one.
  CHECK(bench.keeper.Figures("b", "", kDayS - 86'400).settled == 70);
}

TEST_CASE("a raise that lasted to a window's end still counts there when it has run out") {
  BudgetTerms terms = Terms("b", 1'000);
  terms.raise = 500;
  SECTION("to its end") {
    terms.raise_until_ms = kTomorrowS * 1000;
    KeeperBench bench({terms});
    bench.keeper.OnCharge("h1", AccountOf("b"), 1'200);
    bench.At(kNowMs + kDayMs);
    CHECK(bench.keeper.Figures("b", "", kDayS).limit == 1'500);
    CHECK(bench.keeper.Figures("b", "").limit == 1'000);
  }
  SECTION("not so long") {
    terms.raise_until_ms = kTomorrowS * 1000 - 1;
    KeeperBench bench({terms});
    bench.keeper.OnCharge("h1", AccountOf("b"), 1'200);
    CHECK(bench.keeper.Figures("b", "", kDayS).limit == 1'500);
    bench.At(kNowMs + kDayMs);
    CHECK(bench.keeper.Figures("b", "", kDayS).limit == 1'000);
  }
}

TEST_CASE("rolling: figures are of the last window in which the hour counts") {
  BudgetTerms terms = Terms("b", 1'000, WindowKind::kRolling);
  terms.rolling_hours = 3;
  KeeperBench bench({terms});
  const auto bucket = [](int hour) { return kDayS + int64_t{hour} * 3600; };
  bench.keeper.OnCharge("h1", AccountOf("b", bucket(1)), 400);  // T is at 01:00
  bench.At(kNowMs + int64_t{2} * 3'600'000);
  bench.keeper.OnCharge("h1", AccountOf("b", bucket(3)), 70);
  CHECK(bench.keeper.Figures("b", "", bucket(1)).settled == 470);
  CHECK(bench.keeper.Figures("b", "", bucket(1)).window.start_s == bucket(3));
  bench.At(kNowMs + int64_t{4} * 3'600'000);  // 05:00: the window is 03:00 to 06:00
  const LeaseAccountFigures over = bench.keeper.Figures("b", "", bucket(1));
  CHECK(over.window == WindowSpan{.start_s = bucket(3), .end_s = bucket(4)});
  CHECK(over.settled == 470);
  CHECK(over.exposure == 470);
  CHECK(bench.keeper.Figures("b", "").settled == 70);
  CHECK(bench.keeper.Figures("b", "", bucket(3)).window.start_s == bucket(5));
}

TEST_CASE("a list goes on where it stopped, and stops among accounts that have nothing in it") {
  KeeperBench bench;
  const auto subject = [](int number) { return "u" + std::to_string(100'000 + number); };
  constexpr int kIdle = 2'500;
  for (int i = 0; i < kIdle; ++i) bench.keeper.OnCharge("h1", AccountOf("b", kDayS, subject(i)), 1);
  bench.At(kNowMs + kDayMs);
  for (const std::string& one : {std::string("a"), std::string("z1"), std::string("z2")})
    bench.keeper.OnCharge("h1", AccountOf("b", kTomorrowS, one), 1);
  std::vector<std::string> found;
  int pages = 0;
  std::string from;
  do {
    const LeaseAccountPage page = bench.keeper.List("b", from, 2);
    for (const LeaseAccountFigures& figures : page.accounts) found.push_back(figures.subject);
    CHECK(page.accounts.size() <= 2);
    from = page.next;
    ++pages;
  } while (!from.empty());
  CHECK(found == std::vector<std::string>{"a", "z1", "z2"});
  CHECK(pages == 3);  // of a thousand accounts each
  // With the day before: at most so many subjects, each with what it has.
  const LeaseAccountPage both = bench.keeper.List("b", "", 3, kDayMs);
  REQUIRE(both.accounts.size() == 3);
  CHECK(both.accounts[0].window.start_s == kTomorrowS);
  CHECK(both.accounts[1].subject == subject(0));
  CHECK(both.accounts[1].window.start_s == kDayS);
  CHECK(both.next == subject(2));
}

}  // namespace
}  // namespace spillway
