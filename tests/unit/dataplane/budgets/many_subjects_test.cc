// Accounts by the thousand, and many that ask for one at its first moment.
#include <atomic>
#include <thread>

#include "dataplane/budgets/budgets.h"
#include "tests/unit/dataplane/budgets/fixture.h"

namespace spillway {
namespace {

BudgetSpec EachUser(Nanos limit) {
  BudgetSpec spec = Spec("per-user", limit);
  spec.scope.each = ScopeSpec::Dimension::kUser;
  return spec;
}

TEST_CASE("five thousand users each keep what they spent") {
  Process process(true);
  const auto shared = std::make_shared<const BudgetSpec>(EachUser(100));
  constexpr int kUsers = 5'000;
  const auto of = [&](int user) {
    return std::vector<BudgetMatch>{{.budget = shared, .subject = "user-" + std::to_string(user)}};
  };
  for (int user = 0; user < kUsers; ++user) {
    const auto matches = of(user);
    std::move(Take(process.budgets, Asking(process.budgets, matches, 60))).Settle(60, 60);
  }
  int wrong = 0;
  for (int user = 0; user < kUsers; ++user) {
    const auto matches = of(user);
    wrong += process.budgets.TryAdmit(Asking(process.budgets, matches, 41))->has_value() ? 1 : 0;
    wrong += process.budgets.TryAdmit(Asking(process.budgets, matches, 40))->has_value() ? 0 : 1;
  }
  CHECK(wrong == 0);
}

TEST_CASE("alone, accounts of windows that count no more are forgotten") {
  Process process(true);
  BudgetSpec spec = EachUser(1'000);
  spec.window = v1::WINDOW_ROLLING;
  spec.rolling_hours = 3;
  const auto shared = std::make_shared<const BudgetSpec>(spec);
  constexpr int kUsers = 50;
  const auto spend = [&](int user) {
    const std::vector<BudgetMatch> matches = {
        {.budget = shared, .subject = "user-" + std::to_string(user)}};
    std::move(Take(process.budgets, Asking(process.budgets, matches, 10))).Settle(10, 10);
  };
  for (int hour = 0; hour < 20; ++hour) {
    for (int user = 0; user < kUsers; ++user) spend(user);
    process.clock.AdvanceMs(3'600'000);
  }
  spend(0);
  for (int second = 0; second < 5; ++second) {  // the same account again and again
    process.clock.AdvanceMs(1'000);
    spend(0);
  }
  // The buckets that count, and for an hour those that did until then.
  CHECK(process.budgets.rep().holders.current().account_count() <= 3 * kUsers + 1);
  const std::vector<BudgetMatch> matches = {{.budget = shared, .subject = "user-1"}};
  CHECK_FALSE(process.budgets.TryAdmit(Asking(process.budgets, matches, 981))->has_value());
  Take(process.budgets, Asking(process.budgets, matches, 980));
}

TEST_CASE("a user nobody has seen is held from the first of many calls at once") {
  constexpr int kThreads = 8;
  constexpr Nanos kFits = 10;
  for (int round = 0; round < 50; ++round) {
    Process process(true);
    const std::vector<BudgetMatch> matches = {Match(EachUser(kFits * 100), "new-user")};
    std::atomic<int> admitted{0};
    std::vector<std::vector<Reservation>> held(kThreads);
    {
      std::vector<std::jthread> threads;
      threads.reserve(kThreads);
      for (int thread = 0; thread < kThreads; ++thread) {
        threads.emplace_back([&, thread] {
          for (int i = 0; i < 5; ++i) {
            auto answer = process.budgets.TryAdmit(Asking(process.budgets, matches, 100));
            if (!answer || !*answer) continue;
            admitted.fetch_add(1);
            held[static_cast<size_t>(thread)].push_back(std::move((*answer)->reservation));
          }
        });
      }
    }
    CHECK(admitted.load() == kFits);
  }
}

}  // namespace
}  // namespace spillway
