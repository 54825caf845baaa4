#include "dataplane/budgets/budgets.h"

#include <limits>

#include "dataplane/budgets/refusal.h"
#include "tests/unit/dataplane/budgets/fixture.h"

namespace spillway {
namespace {

TEST_CASE("twenty calls on a budget that fits twenty are all admitted, the next one is refused") {
  Process process(true);
  const auto matches = One(Spec("small", 2'000));
  std::vector<Reservation> held;
  held.reserve(20);
  for (int i = 0; i < 20; ++i)
    held.push_back(Take(process.budgets, Asking(process.budgets, matches, 100)));
  const auto refused = process.budgets.TryAdmit(Asking(process.budgets, matches, 100));
  REQUIRE(refused.has_value());
  REQUIRE_FALSE(refused->has_value());
  const Error& error = refused->error();
  CHECK(error.code == ErrorCode::kBudgetExceeded);
  CHECK(error.HttpStatus() == 429);
  CHECK(error.message ==
        "the budget 'small' is used up; it starts anew at 2026-01-02T00:00:00.000Z");
  CHECK(error.retry_after_ms == 12 * 3'600'000);

  // One that ends for less leaves room; the window's end makes it all anew.
  std::move(held.back()).Settle(40, 40);
  held.pop_back();
  CHECK_FALSE(process.budgets.TryAdmit(Asking(process.budgets, matches, 100))->has_value());
  held.push_back(Take(process.budgets, Asking(process.budgets, matches, 60)));
  process.clock.AdvanceMs(13 * 3'600'000);
  Take(process.budgets, Asking(process.budgets, matches, 2'000));
}

TEST_CASE("what becomes of a reservation") {
  struct Case {
    const char* name;
    void (*end)(Reservation& reservation);
    Nanos charged;
  };
  const Case kCases[] = {
      {"dropped before anything went upstream", [](Reservation&) {}, 0},
      {"dropped after it", [](Reservation& held) { held.WentUpstream(); }, 100},
      {"extended, then dropped",
       [](Reservation& held) {
         held.WentUpstream();
         CHECK(held.Extend(50));
         CHECK(held.amount() == 150);
       },
       150},
      {"settled for less", [](Reservation& held) { std::move(held).Settle(7, 7); }, 7},
      {"an overrun", [](Reservation& held) { std::move(held).Settle(700, 700); }, 700},
      {"held for more than reports say", [](Reservation& held) { std::move(held).Settle(7, 100); },
       100},
      {"moved", [](Reservation& held) { Reservation other = std::move(held); }, 0},
      {"no further than there is",
       [](Reservation& held) {
         CHECK_FALSE(held.Extend(901));
         CHECK(held.Extend(900));
         std::move(held).Settle(1, 1);
       },
       1},
  };
  for (const Case& test : kCases) {
    DYNAMIC_SECTION(test.name) {
      Process process(true);
      const std::vector<BudgetMatch> matches = {Match(Spec("a", 1'000)), Match(Spec("b", 5'000))};
      {
        Reservation held = Take(process.budgets, Asking(process.budgets, matches, 100));
        CHECK(held.amount() == 100);
        CHECK(held.accounts().size() == 2);
        CHECK(held.holder().empty());
        v1::Account account;
        REQUIRE(account.ParseFromString(*held.accounts()[0]));
        CHECK(account.budget_id() == "id-a");
        CHECK(account.window_start_s() == 1'767'225'600);
        test.end(held);
      }
      CHECK(process.Figures(matches[0]).charged == test.charged);
      CHECK(process.Figures(matches[0]).reserved == 0);
      CHECK(process.Figures(matches[1]).charged == test.charged);
    }
  }
}

TEST_CASE("all budgets or none") {
  Process process(true);
  const std::vector<BudgetMatch> matches = {Match(Spec("large", 1'000)), Match(Spec("tiny", 50))};
  const auto refused = process.budgets.TryAdmit(Asking(process.budgets, matches, 60));
  REQUIRE_FALSE(refused->has_value());
  CHECK(refused->error().message.find("'tiny'") != std::string::npos);
  CHECK(process.Figures(matches[0]).reserved == 0);
}

TEST_CASE("an account for each subject, kept apart") {
  Process process(true);
  BudgetSpec spec = Spec("per-user", 100);
  spec.scope.each = ScopeSpec::Dimension::kUser;
  const auto shared = std::make_shared<const BudgetSpec>(spec);
  const std::vector<BudgetMatch> alice = {{.budget = shared, .subject = "alice"}};
  const std::vector<BudgetMatch> bob = {{.budget = shared, .subject = "bob"}};
  Take(process.budgets, Asking(process.budgets, alice, 100)).WentUpstream();
  const auto refused = process.budgets.TryAdmit(Asking(process.budgets, alice, 1));
  REQUIRE_FALSE(refused->has_value());
  CHECK(refused->error().message.find("'per-user' of 'alice'") != std::string::npos);
  Take(process.budgets, Asking(process.budgets, bob, 100));
}

TEST_CASE("what a budget at its end says") {
  struct Case {
    const char* name;
    v1::OnExhausted on_exhausted;
    bool frozen;
    bool last;
    const char* want;  // refused, downgrade, warn
  };
  const Case kCases[] = {
      {"reject", v1::ON_EXHAUSTED_REJECT, false, false, "refused"},
      {"downgrade", v1::ON_EXHAUSTED_DOWNGRADE, false, false, "downgrade"},
      {"downgrade twice", v1::ON_EXHAUSTED_DOWNGRADE, false, true, "refused"},
      {"warn", v1::ON_EXHAUSTED_WARN, false, false, "warn"},
      {"frozen outweighs warn", v1::ON_EXHAUSTED_WARN, true, false, "refused"},
      {"frozen outweighs downgrade", v1::ON_EXHAUSTED_DOWNGRADE, true, false, "refused"},
  };
  for (const Case& test : kCases) {
    DYNAMIC_SECTION(test.name) {
      Process process(true);
      BudgetSpec spec = Spec("b", 100);
      spec.on_exhausted = test.on_exhausted;
      spec.downgrade_to = "cheap";
      spec.frozen = test.frozen;
      const auto matches = One(spec);
      Budgets::Attempt attempt = Asking(process.budgets, matches, 150);
      attempt.last = test.last;
      auto answer = process.budgets.TryAdmit(attempt);
      REQUIRE(answer.has_value());
      const std::string want = test.want;
      CHECK(answer->has_value() == (want != "refused"));
      if (want == "downgrade") {
        CHECK((*answer)->downgrade_to == "cheap");
        CHECK((*answer)->budget == "b");
        CHECK_FALSE(static_cast<bool>((*answer)->reservation));
      }
      if (want == "warn") {
        CHECK((*answer)->downgrade_to.empty());
        CHECK((*answer)->budget == "b");
        std::move((*answer)->reservation).Settle(150, 150);
        CHECK(process.Figures(matches[0]).charged == 150);
      }
    }
  }
}

TEST_CASE("cap takes what there is when that is worth a call") {
  Process process(true);
  BudgetSpec spec = Spec("capped", 1'000);
  spec.on_overrun = v1::ON_OVERRUN_CAP;
  const auto matches = One(spec);
  Budgets::Attempt attempt = Asking(process.budgets, matches, 400);
  attempt.ask = {.quantile = 50, .upper_bound = 400, .least = 100};
  std::vector<Reservation> held;
  for (const Nanos want : {400, 400, 200}) {
    held.push_back(Take(process.budgets, attempt));
    CHECK(held.back().amount() == want);
    CHECK(held.back().capped());
  }
  CHECK_FALSE(process.budgets.TryAdmit(attempt)->has_value());
  std::move(held[0]).Settle(301, 301);
  // 99 are free: less than the least.
  CHECK_FALSE(process.budgets.TryAdmit(attempt)->has_value());
  std::move(held[1]).Settle(399, 399);
  CHECK(Take(process.budgets, attempt).amount() == 100);
  // A call above the whole limit is cut to it.
  Process fresh(true);
  attempt.ask.upper_bound = 5'000;
  CHECK(Take(fresh.budgets, attempt).amount() == 1'000);
}

TEST_CASE("alone, a running call is topped up from all that is left") {
  Process process(true);
  const auto matches = One(Spec("b", 1'000'000));
  const auto other = One(Spec("other", 1'000));
  Reservation held = Take(process.budgets, Asking(process.budgets, matches, 100));
  for (int second = 0; second < 5; ++second) {
    process.clock.AdvanceMs(1'100);
    std::move(Take(process.budgets, Asking(process.budgets, other, 1))).Settle(1, 1);
  }
  CHECK(held.Extend(999'900));
}

TEST_CASE("a bound beyond all reason does not overflow what is at risk") {
  Process process(true);
  const auto matches = One(Spec("b", 1'000));
  Budgets::Attempt attempt = Asking(process.budgets, matches, 10);
  attempt.ask.upper_bound = std::numeric_limits<Nanos>::max();
  std::vector<Reservation> held;
  held.reserve(100);
  for (int i = 0; i < 100; ++i) {
    held.push_back(Take(process.budgets, attempt));
    CHECK(process.Figures(matches[0]).overshoot_bound > 0);
  }
  held.clear();
  CHECK(process.Figures(matches[0]).overshoot_bound == 0);
}

TEST_CASE("a limit that is edited counts what was spent") {
  Process process(true);
  BudgetSpec spec = Spec("b", 1'000);
  auto matches = One(spec);
  std::move(Take(process.budgets, Asking(process.budgets, matches, 600))).Settle(600, 600);
  spec.limit = 700;
  matches = One(spec);
  CHECK_FALSE(process.budgets.TryAdmit(Asking(process.budgets, matches, 101))->has_value());
  {
    const Reservation held = Take(process.budgets, Asking(process.budgets, matches, 100));
  }
  spec.limit = 500;
  matches = One(spec);
  CHECK_FALSE(process.budgets.TryAdmit(Asking(process.budgets, matches, 1))->has_value());
  spec.raise = 200;
  spec.raise_until_ms = kNoonMs + 60'000;
  matches = One(spec);
  {
    const Reservation held = Take(process.budgets, Asking(process.budgets, matches, 100));
  }
  process.clock.AdvanceMs(60'001);
  CHECK_FALSE(process.budgets.TryAdmit(Asking(process.budgets, matches, 1))->has_value());
}

TEST_CASE("alone, a rolling window counts its hours and what earlier processes spent") {
  BudgetSpec spec = Spec("rolling", 1'000);
  spec.window = v1::WINDOW_ROLLING;
  spec.rolling_hours = 3;
  v1::AccountCharge spent;
  spent.mutable_account()->set_budget_id(spec.id);
  spent.mutable_account()->set_window_start_s(kNoonMs / 1000 - 7'200);
  spent.set_charged(300);
  Process process(true, {spent});
  const auto matches = One(spec);
  std::move(Take(process.budgets, Asking(process.budgets, matches, 200))).Settle(200, 200);
  CHECK_FALSE(process.budgets.TryAdmit(Asking(process.budgets, matches, 501))->has_value());
  // The earlier hour leaves the window; the present one stays in it.
  process.clock.AdvanceMs(3'600'000);
  std::move(Take(process.budgets, Asking(process.budgets, matches, 700))).Settle(700, 700);
  CHECK_FALSE(process.budgets.TryAdmit(Asking(process.budgets, matches, 101))->has_value());
  process.clock.AdvanceMs(2 * 3'600'000);
  {
    const Reservation held = Take(process.budgets, Asking(process.budgets, matches, 300));
  }
  CHECK_FALSE(process.budgets.TryAdmit(Asking(process.budgets, matches, 301))->has_value());
}

TEST_CASE("alone, a window goes on where an earlier process left it") {
  const BudgetSpec spec = Spec("day", 1'000);
  v1::AccountCharge spent;
  spent.mutable_account()->set_budget_id(spec.id);
  spent.mutable_account()->set_window_start_s(1'767'225'600);
  spent.set_charged(900);
  Process process(true, {spent});
  const auto matches = One(spec);
  CHECK_FALSE(process.budgets.TryAdmit(Asking(process.budgets, matches, 101))->has_value());
  {
    const Reservation held = Take(process.budgets, Asking(process.budgets, matches, 100));
  }
  process.clock.AdvanceMs(12 * 3'600'000);
  Take(process.budgets, Asking(process.budgets, matches, 1'000));
}

TEST_CASE("an attempt belongs to the window in which its request was admitted") {
  Process process(true);
  const auto matches = One(Spec("day", 1'000));
  const Budgets::Attempt yesterday = Asking(process.budgets, matches, 400);
  std::move(Take(process.budgets, yesterday)).Settle(400, 400);
  process.clock.AdvanceMs(12 * 3'600'000);
  std::move(Take(process.budgets, Asking(process.budgets, matches, 900))).Settle(900, 900);
  // Its second attempt, after midnight.
  Reservation late = Take(process.budgets, yesterday);
  v1::Account account;
  REQUIRE(account.ParseFromString(*late.accounts()[0]));
  CHECK(account.window_start_s() == 1'767'225'600);
  std::move(late).Settle(400, 400);
  CHECK_FALSE(process.budgets.TryAdmit(yesterday)->has_value());
  Take(process.budgets, Asking(process.budgets, matches, 100));
}

TEST_CASE("a full journal stops only budgets that must be provable") {
  ManualClock clock(kNoonMs);
  bool full = true;
  Budgets budgets({.instance = "dp-1",
                   .holder = kHolder,
                   .standalone = true,
                   .journal_full = [&full] { return full; }},
                  clock);
  BudgetSpec open = Spec("open", 1'000);
  open.on_partition = v1::ON_PARTITION_OPEN;
  Take(budgets, Asking(budgets, One(open), 10));
  const auto leased = One(Spec("leased", 1'000));
  const auto refused = budgets.TryAdmit(Asking(budgets, leased, 10));
  REQUIRE_FALSE(refused->has_value());
  CHECK(refused->error().code == ErrorCode::kBudgetExceeded);
  full = false;
  Take(budgets, Asking(budgets, leased, 10));
}

TEST_CASE("only what nobody could confirm is worth the client's next try") {
  BudgetSpec spec = Spec("b", 1'000);
  const WindowSpan day{.start_s = 0, .end_s = 86'400};
  struct Case {
    const char* name;
    Error error;
    bool transient;
    int64_t retry_after_ms;
  };
  const Case kCases[] = {
      {"used up", BudgetExhausted(spec, {}, day, 86'400'000 - 700, false), false, 700},
      {"too small for the call", BudgetExhausted(spec, {}, day, 0, true), false, 0},
      {"frozen", BudgetFrozen(spec), false, 0},
      {"too many", TooManyBudgets(99), false, 0},
      {"no answer in time", BudgetUnconfirmed(spec, {}, false), true, 1'000},
      {"cut off", BudgetUnconfirmed(spec, {}, true), true, 1'000},
      {"the journal is full", BudgetUnprovable(spec), true, 1'000},
  };
  for (const Case& test : kCases) {
    CAPTURE(test.name);
    CHECK(test.error.code == ErrorCode::kBudgetExceeded);
    CHECK(test.error.transient == test.transient);
    CHECK(test.error.retry_after_ms == test.retry_after_ms);
  }
}

TEST_CASE("more budgets than a record can name are refused, not forgotten") {
  Process process(true);
  std::vector<BudgetMatch> matches;
  for (size_t i = 0; i <= kBudgetsPerAttemptMax; ++i)
    matches.push_back(Match(Spec("b" + std::to_string(i), 1'000)));
  CHECK_FALSE(process.budgets.TryAdmit(Asking(process.budgets, matches, 1))->has_value());
  matches.pop_back();
  Take(process.budgets, Asking(process.budgets, matches, 1));
}

TEST_CASE("no budget: nothing is held and nothing happens") {
  Process process(true);
  auto admitted = process.budgets.TryAdmit(Asking(process.budgets, {}, 100));
  REQUIRE(admitted.has_value());
  REQUIRE(admitted->has_value());
  Reservation none = std::move((*admitted)->reservation);
  CHECK_FALSE(static_cast<bool>(none));
  CHECK(none.Extend(5));
  CHECK(none.amount() == 0);
  std::move(none).Settle(1, 1);
}

TEST_CASE("what a process closes with, and what it counts") {
  Process process(true);
  const std::vector<BudgetMatch> matches = {Match(Spec("a", 1'000))};
  Reservation held = Take(process.budgets, Asking(process.budgets, matches, 100));
  CHECK(process.budgets.Closing().empty());
  MetricsText running;
  process.budgets.Collect(running);
  const std::string metrics = std::move(running).Take();
  CHECK(metrics.contains("spillway_budget_reserved_nanos 100\n"));
  std::move(held).Settle(30, 40);
  const auto closed = process.budgets.Closing();
  REQUIRE(closed.size() == 1);
  CHECK(closed[0].holder().empty());
  REQUIRE(closed[0].accounts_size() == 1);
  CHECK(closed[0].accounts(0).charged() == 40);
  CHECK_FALSE(process.budgets.TryAdmit(Asking(process.budgets, matches, 5'000))->has_value());
  MetricsText text;
  process.budgets.Collect(text);
  const std::string shown = std::move(text).Take();
  CHECK(shown.find("spillway_budget_reserved_nanos 0\n") != std::string::npos);
  CHECK(shown.find("spillway_budget_charged_nanos_total 40\n") != std::string::npos);
  CHECK(shown.find("spillway_budget_cost_nanos_total 30\n") != std::string::npos);
  CHECK(shown.find("spillway_budget_refused_total{reason=\"exhausted\"} 1\n") != std::string::npos);
  CHECK(shown.contains("spillway_budget_wait_seconds_bucket{le=\"0.005\"}"));
  CHECK(shown.contains("spillway_budget_wait_seconds_bucket{le=\"1.000\"}"));
}

}  // namespace
}  // namespace spillway
