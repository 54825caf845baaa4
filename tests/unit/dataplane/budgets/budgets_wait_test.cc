// Requests that wait for the control plane, on a real loop.
#include <boost/asio/co_spawn.hpp>
#include <chrono>
#include <optional>
#include <thread>

#include "tests/unit/dataplane/budgets/fixture.h"

namespace spillway {
namespace {

using std::chrono::milliseconds;

// One request that asks and, when it has to, waits.
struct Asker {
  // `admitted_ms` 0: now.
  Asker(Process& process, Loop& loop, const std::vector<BudgetMatch>& matches, Ask ask,
        int64_t admitted_ms = 0)
      : attempt{.matches = matches,
                .ask = ask,
                .admitted_ms = admitted_ms != 0 ? admitted_ms : process.budgets.NowMs()} {
    REQUIRE_FALSE(process.budgets.TryAdmit(attempt).has_value());
    boost::asio::co_spawn(loop.io, process.budgets.Admit(loop, attempt),
                          [this](const std::exception_ptr&, Result<Admitted> result) {
                            answer.emplace(std::move(result));
                          });
  }
  Budgets::Attempt attempt;
  std::optional<Result<Admitted>> answer;
};

Ask Exactly(Nanos nanos) { return {.quantile = nanos, .upper_bound = nanos, .least = nanos}; }

// Runs the loop until everybody has an answer.
void Finish(Loop& loop) {
  loop.io.restart();
  loop.io.run_for(std::chrono::seconds(10));
}

TEST_CASE("a request that waits goes ahead as soon as the money is there") {
  Process process(false);
  Loop loop(SystemClock());
  const auto matches = One(Spec("b", 1'000));
  bool asked = false;
  process.budgets.rep().wants_request = [&asked] { asked = true; };
  Asker asker(process, loop, matches, Exactly(100));
  loop.io.poll();
  CHECK(process.budgets.waiting() == 1);
  CHECK(asked);
  const v1::LeaseRequest request = process.budgets.rep().WithHolders(
      [&](LeaseHolders& holders) { return holders.current().MakeRequest(0); });
  REQUIRE(request.waiting_size() == 1);
  CHECK(request.waiting(0).needs(0).nanos() == 100);
  CHECK_FALSE(asker.answer.has_value());
  process.Grant(matches[0], 150, 850);
  Finish(loop);
  REQUIRE(asker.answer.has_value());
  REQUIRE(asker.answer->has_value());
  CHECK((*asker.answer)->reservation.amount() == 100);
  CHECK(process.budgets.waiting() == 0);
  CHECK(process.Figures(matches[0]).reserved == 100);
  // The rest is there at once.
  const Reservation second = Take(process.budgets, Asking(process.budgets, matches, 50));
}

// Runs the loop for a while of real time, in which timers look again.
void Run(Loop& loop, int64_t ms) {
  loop.io.restart();
  loop.io.run_for(milliseconds(ms));
}

TEST_CASE("for the answer itself a request waits as long as there is contact") {
  Process process(false);
  Loop loop(SystemClock());
  const auto matches = One(Spec("b", 1'000));
  std::optional<Asker> asker(std::in_place, process, loop, matches, Exactly(100));
  loop.io.poll();
  process.clock.AdvanceMs(2'000);
  Run(loop, 300);
  CHECK_FALSE(asker->answer.has_value());  // eight times lease_wait
  SECTION("it comes late, and serves") {
    process.Grant(matches[0], 100, 900);
    Finish(loop);
    REQUIRE(asker->answer.has_value());
    CHECK(asker->answer->has_value());
  }
  SECTION("contact is lost: the policy decides") {
    process.clock.AdvanceMs(501);
    Finish(loop);
    REQUIRE(asker->answer.has_value());
    REQUIRE_FALSE(asker->answer->has_value());
    CHECK(asker->answer->error().message.find("cannot reach its control plane") !=
          std::string::npos);
  }
  SECTION("the control plane says other things, but no answer") {
    process.Grant(Match(Spec("other", 1)), 0, 0);
    process.clock.AdvanceMs(501);
    Finish(loop);
    REQUIRE(asker->answer.has_value());
    REQUIRE_FALSE(asker->answer->has_value());
    const Error& error = asker->answer->error();
    CHECK(error.code == ErrorCode::kBudgetExceeded);
    CHECK(error.message == "the budget 'b' could not be confirmed in time");
    CHECK(error.retry_after_ms == 1000);
  }
  asker.reset();
  CHECK(process.Figures(matches[0]).charged == 0);
}

TEST_CASE("a request that has a deadline does not wait beyond it") {
  Process process(false);
  Loop loop(SystemClock());
  const auto matches = One(Spec("b", 1'000));
  Budgets::Attempt attempt = Asking(process.budgets, matches, 100);
  attempt.deadline_ns = process.clock.MonotonicNs() + 400'000'000;
  std::optional<Result<Admitted>> answer;
  boost::asio::co_spawn(loop.io, process.budgets.Admit(loop, attempt),
                        [&](const std::exception_ptr&, Result<Admitted> result) {
                          answer.emplace(std::move(result));
                        });
  loop.io.poll();
  CHECK_FALSE(answer.has_value());
  process.clock.AdvanceMs(401);
  Finish(loop);
  REQUIRE(answer.has_value());
  CHECK_FALSE(answer->has_value());
}

TEST_CASE("out of contact while it waits, an open budget admits") {
  Process process(false);
  Loop loop(SystemClock());
  BudgetSpec spec = Spec("b", 1'000);
  spec.on_partition = v1::ON_PARTITION_OPEN;
  const auto matches = One(spec);
  (void)process.budgets.TryAdmit(Asking(process.budgets, matches, 1));  // opens the account
  process.Grant(matches[0], 20, 500);
  process.clock.AdvanceMs(1'000);
  Asker asker(process, loop, matches, Exactly(100));
  loop.io.poll();
  CHECK_FALSE(asker.answer.has_value());
  process.clock.AdvanceMs(1'600);
  Finish(loop);
  REQUIRE(asker.answer.has_value());
  CHECK(asker.answer->has_value());
}

TEST_CASE("out of contact a capped call makes do with what the policy allows") {
  struct Case {
    const char* name;
    v1::OnPartition policy;
    Nanos amount;
  };
  const Case kCases[] = {{"leased: what is held", v1::ON_PARTITION_LEASED, 150},
                         {"open: and what remained", v1::ON_PARTITION_OPEN, 250}};
  for (const Case& test : kCases) {
    DYNAMIC_SECTION(test.name) {
      Process process(false);
      BudgetSpec spec = Spec("b", 1'000);
      spec.on_overrun = v1::ON_OVERRUN_CAP;
      spec.on_partition = test.policy;
      const auto matches = One(spec);
      const Budgets::Attempt attempt{.matches = matches,
                                     .ask = {.quantile = 50, .upper_bound = 400, .least = 100},
                                     .admitted_ms = process.budgets.NowMs()};
      (void)process.budgets.TryAdmit(attempt);  // opens the account
      process.Grant(matches[0], 150, 100);
      CHECK_FALSE(process.budgets.TryAdmit(attempt).has_value());
      process.clock.AdvanceMs(2'600);
      CHECK(Take(process.budgets, attempt).amount() == test.amount);
    }
  }
}

TEST_CASE("a budget that grants nothing for the moment is not used up") {
  Process process(false);
  Loop loop(SystemClock());
  BudgetSpec spec = Spec("b", 1'000);
  spec.on_overrun = v1::ON_OVERRUN_CAP;
  const auto matches = One(spec);
  Asker asker(process, loop, matches, {.quantile = 50, .upper_bound = 400, .least = 100});
  loop.io.poll();
  process.Answer(matches[0], 0, 0, {.closed = true});
  process.clock.AdvanceMs(200);
  process.Answer(matches[0], 0, 0, {.closed = true});
  CHECK(process.budgets.waiting() == 1);
  process.clock.AdvanceMs(51);
  Finish(loop);
  REQUIRE(asker.answer.has_value());
  REQUIRE_FALSE(asker.answer->has_value());
  CHECK(asker.answer->error().message == "the budget 'b' could not be confirmed in time");
}

TEST_CASE("while others have enough, a request waits lease_wait for it, and no longer") {
  Process process(false);
  Loop loop(SystemClock());
  const auto matches = One(Spec("b", 1'000));
  Asker asker(process, loop, matches, Exactly(100));
  loop.io.poll();
  process.clock.AdvanceMs(900);  // the answer took that long
  process.Answer(matches[0], 20, 30, {.elsewhere = 50});
  process.clock.AdvanceMs(249);
  Run(loop, 300);
  CHECK_FALSE(asker.answer.has_value());
  SECTION("it comes") {
    process.Grant(matches[0], 100, 0);
    Finish(loop);
    REQUIRE(asker.answer.has_value());
    CHECK(asker.answer->has_value());
  }
  SECTION("it does not") {
    process.clock.AdvanceMs(1);
    Finish(loop);
    REQUIRE(asker.answer.has_value());
    REQUIRE_FALSE(asker.answer->has_value());
    CHECK(asker.answer->error().message.find("is used up") != std::string::npos);
  }
}

TEST_CASE("more waiters than are kept are refused at once") {
  Process process(false);
  Loop loop(SystemClock());
  const auto matches = One(Spec("b", 1'000));
  int refused = 0;
  for (size_t i = 0; i < Budgets::Rep::kWaitersMax + 3; ++i)
    boost::asio::co_spawn(
        loop.io, process.budgets.Admit(loop, Asking(process.budgets, matches, 100)),
        [&](const std::exception_ptr&, const Result<Admitted>& result) { refused += !result; });
  loop.io.poll();
  CHECK(process.budgets.waiting() == Budgets::Rep::kWaitersMax);
  CHECK(refused == 3);
}

TEST_CASE("nothing left: refused with the answer, and those who follow at once") {
  Process process(false);
  Loop loop(SystemClock());
  const auto matches = One(Spec("b", 1'000));
  Asker asker(process, loop, matches, Exactly(100));
  loop.io.poll();
  process.Answer(matches[0], 20, 30);
  loop.io.restart();
  loop.io.poll();  // no timer had to end
  REQUIRE(asker.answer.has_value());
  REQUIRE_FALSE(asker.answer->has_value());
  CHECK(asker.answer->error().message.find("is used up") != std::string::npos);
  const auto next = process.budgets.TryAdmit(Asking(process.budgets, matches, 100));
  REQUIRE(next.has_value());
  CHECK_FALSE(next->has_value());
  // What is here is still spent, and a moment later it is worth asking again.
  {
    const Reservation held = Take(process.budgets, Asking(process.budgets, matches, 20));
  }
  process.clock.AdvanceMs(101);
  CHECK_FALSE(process.budgets.TryAdmit(Asking(process.budgets, matches, 100)).has_value());
}

TEST_CASE("what a late attempt finds used up is not believed of the new window") {
  Process process(false);
  Loop loop(SystemClock());
  const auto matches = One(Spec("b", 1'000));
  const Budgets::Attempt yesterday = Asking(process.budgets, matches, 100);
  CHECK_FALSE(process.budgets.TryAdmit(yesterday).has_value());
  process.Answer(matches[0], 20, 0);
  process.clock.AdvanceMs(13 * 3'600'000);
  (void)process.budgets.TryAdmit(Asking(process.budgets, matches, 100));
  process.Answer(matches[0], 10, 500);
  Asker late(process, loop, matches, Exactly(100), yesterday.admitted_ms);
  loop.io.poll();
  process.Answer(matches[0], 10, 500);
  loop.io.restart();
  loop.io.poll();
  REQUIRE(late.answer.has_value());
  REQUIRE_FALSE(late.answer->has_value());
  CHECK(late.answer->error().message.find("is used up") != std::string::npos);
  CHECK_FALSE(process.budgets.TryAdmit(Asking(process.budgets, matches, 100)).has_value());
}

TEST_CASE("of several budgets the one that is used up is named, or sends to the cheaper course") {
  for (const bool downgrade : {false, true}) {
    DYNAMIC_SECTION((downgrade ? "downgrade" : "reject")) {
      Process process(false);
      Loop loop(SystemClock());
      BudgetSpec spent = Spec("spent", 1'000);
      if (downgrade) {
        spent.on_exhausted = v1::ON_EXHAUSTED_DOWNGRADE;
        spent.downgrade_to = "cheap";
      }
      // The first has money that nobody lent here yet: as it is with a new user.
      const std::vector<BudgetMatch> matches = {Match(Spec("fresh", 1'000)), Match(spent)};
      Asker asker(process, loop, matches, Exactly(100));
      loop.io.poll();
      process.Answer(matches[0], 0, 1'000);
      process.Answer(matches[1], 0, 0);
      Finish(loop);
      REQUIRE(asker.answer.has_value());
      REQUIRE(asker.answer->has_value() == downgrade);
      if (downgrade) {
        CHECK((*asker.answer)->downgrade_to == "cheap");
        CHECK((*asker.answer)->budget == "spent");
      } else {
        CHECK(asker.answer->error().message.find("'spent' is used up") != std::string::npos);
      }
    }
  }
}

TEST_CASE("those who wait are served in order, all budgets or none") {
  Process process(false);
  Loop loop(SystemClock());
  const std::vector<BudgetMatch> both = {Match(Spec("a", 1'000)), Match(Spec("b", 1'000))};
  Asker first(process, loop, both, Exactly(100));
  Asker second(process, loop, both, Exactly(100));
  loop.io.poll();
  process.Grant(both[0], 200, 800);
  CHECK(process.Figures(both[0]).reserved == 0);  // holding nothing
  process.Answer(both[1], 100, 0);
  Run(loop, 20);
  REQUIRE(first.answer.has_value());
  CHECK(first.answer->has_value());
  process.clock.AdvanceMs(251);
  Finish(loop);
  REQUIRE(second.answer.has_value());
  CHECK_FALSE(second.answer->has_value());
}

TEST_CASE("money that comes free here serves those who wait") {
  Process process(false);
  Loop loop(SystemClock());
  const auto matches = One(Spec("b", 1'000));
  Asker asker(process, loop, matches, Exactly(100));
  loop.io.poll();
  process.Grant(matches[0], 100, 0);
  Finish(loop);
  Asker waits(process, loop, matches, Exactly(60));
  loop.io.restart();
  loop.io.poll();
  REQUIRE(process.budgets.waiting() == 1);
  std::thread other([&] { std::move((*asker.answer)->reservation).Settle(40, 40); });
  Finish(loop);
  other.join();
  REQUIRE(waits.answer.has_value());
  CHECK(waits.answer->has_value());
}

TEST_CASE("cap: a waiting request takes what the control plane says is left") {
  Process process(false);
  Loop loop(SystemClock());
  BudgetSpec spec = Spec("b", 1'000);
  spec.on_overrun = v1::ON_OVERRUN_CAP;
  const auto matches = One(spec);
  Asker asker(process, loop, matches, {.quantile = 50, .upper_bound = 400, .least = 100});
  loop.io.poll();
  process.Grant(matches[0], 20, 120);  // no answer: more may be there
  process.clock.AdvanceMs(1'000);
  process.Grant(matches[0], 20, 120);
  const auto asks_for = [&] {
    return process.budgets.rep().WithHolders([&](LeaseHolders& holders) {
      return holders.current().MakeRequest(0).waiting(0).needs(0).nanos();
    });
  };
  CHECK(asks_for() == 400);
  SECTION("at once when others have nothing") { process.Answer(matches[0], 30, 120); }
  SECTION("after half its time when they may give it back") {
    process.Answer(matches[0], 30, 120, {.elsewhere = 300});
    process.clock.AdvanceMs(124);
    process.Answer(matches[0], 30, 120, {.elsewhere = 300});
    CHECK(asks_for() == 400);
    process.clock.AdvanceMs(1);
    process.Answer(matches[0], 30, 120, {.elsewhere = 300});
  }
  const v1::LeaseRequest request = process.budgets.rep().WithHolders(
      [&](LeaseHolders& holders) { return holders.current().MakeRequest(0); });
  REQUIRE(request.waiting_size() == 1);
  CHECK(request.waiting(0).needs(0).nanos() == 150);
  process.Grant(matches[0], 150, 0);
  Finish(loop);
  REQUIRE(asker.answer->has_value());
  CHECK((*asker.answer)->reservation.amount() == 150);
  CHECK((*asker.answer)->reservation.capped());
}

TEST_CASE("a loop that ends takes its waiting requests with it") {
  Process process(false);
  const auto matches = One(Spec("b", 1'000));
  {
    Loop loop(SystemClock());
    Asker waits(process, loop, matches, Exactly(100));
    Asker served(process, loop, matches, Exactly(50));
    loop.io.poll();
    CHECK(process.budgets.waiting() == 2);
    SECTION("not served") {}
    SECTION("served, but never resumed") { process.Grant(matches[0], 150, 0); }
  }
  CHECK(process.budgets.waiting() == 0);
  CHECK(process.Figures(matches[0]).reserved == 0);
  CHECK(process.Figures(matches[0]).charged == 0);
}

TEST_CASE("out of contact the policy decides, without a wait") {
  struct Case {
    const char* name;
    v1::OnPartition policy;
    bool heard;
    bool unheard_open;
    Nanos nanos;
    bool admitted;
  };
  const Case kCases[] = {
      {"leased, held", v1::ON_PARTITION_LEASED, true, false, 100, true},
      {"leased, beyond", v1::ON_PARTITION_LEASED, true, false, 101, false},
      {"closed", v1::ON_PARTITION_CLOSED, true, false, 1, false},
      {"open, up to the remainder", v1::ON_PARTITION_OPEN, true, false, 400, true},
      {"open, beyond it", v1::ON_PARTITION_OPEN, true, false, 401, false},
      {"open, never heard", v1::ON_PARTITION_OPEN, false, false, 1, false},
      {"open, never heard but allowed", v1::ON_PARTITION_OPEN, false, true, 1'000, true},
  };
  for (const Case& test : kCases) {
    DYNAMIC_SECTION(test.name) {
      Process process(false);
      BudgetSpec spec = Spec("b", 1'000);
      spec.on_partition = test.policy;
      spec.open_unheard = test.unheard_open;
      const auto matches = One(spec);
      // Opens the account.
      (void)process.budgets.TryAdmit(Asking(process.budgets, matches, 1));
      if (test.heard) process.Grant(matches[0], 100, 300);
      process.clock.AdvanceMs(3'000);
      const auto answer = process.budgets.TryAdmit(Asking(process.budgets, matches, test.nanos));
      REQUIRE(answer.has_value());
      CHECK(answer->has_value() == test.admitted);
      if (!test.admitted)
        CHECK(answer->error().message.find("cannot reach its control plane") != std::string::npos);
    }
  }
}

}  // namespace
}  // namespace spillway
