#include "dataplane/budgets/lease_holder.h"

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <chrono>
#include <set>
#include <string>
#include <vector>

#include "dataplane/budgets/lease_holders.h"

namespace spillway {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr WindowSpan kDay{.start_s = 86'400, .end_s = 172'800};

// A holder with a control plane of one line: what it grants is said by the test.
struct Bench {
  LeaseHolder holder{"h1", "dp1", LeaseOptions{}, 0};
  int64_t now = 0;
  int64_t epoch = 1;
  int64_t time_ms = 86'400'000;

  AccountHandle Open(const std::string& budget, AccountPolicy policy = {.limit = 1'000},
                     WindowSpan window = kDay) {
    return holder.Open(budget, "", window, policy);
  }
  v1::LeaseGrant Grant(const std::string& budget, Nanos level, Nanos remainder = 0,
                       int64_t answers = 0) {
    v1::LeaseGrant grant;
    grant.set_holder("h1");
    grant.set_epoch(epoch);
    grant.set_control_plane_time_ms(time_ms);
    grant.set_answers(answers);
    v1::GrantedAccount& account = *grant.add_accounts();
    account.mutable_account()->set_budget_id(budget);
    account.mutable_account()->set_window_start_s(kDay.start_s);
    account.set_granted(level);
    account.set_remainder(remainder);
    return grant;
  }
  void Record() { holder.Recorded(holder.TakeLevels().ticket, now); }
  void Give(const std::string& budget, Nanos level, Nanos remainder = 0) {
    holder.OnGrant(Grant(budget, level, remainder), now);
    Record();
  }
  ReserveResult Reserve(AccountHandle account, Nanos nanos) {
    return holder.Reserve(std::vector<Need>{{.account = account, .nanos = nanos}}, now);
  }
  AccountFigures Figures(AccountHandle account) { return holder.FigureOf(account, now); }
};

v1::Recall RecallOf(const std::string& budget, const std::string& holder, int64_t epoch = 1) {
  v1::Recall recall;
  recall.set_epoch(epoch);
  recall.set_holder(holder);
  v1::Account& account = *recall.add_accounts();
  account.set_budget_id(budget);
  account.set_window_start_s(kDay.start_s);
  return recall;
}

}  // namespace

TEST_CASE("a grant counts only once its level is on disk") {
  Bench bench;
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
  Bench bench;
  const AccountHandle account = bench.Open("b");
  for (const Nanos level : {100, 40, 100, 250, 100}) bench.Give("b", level);
  CHECK(bench.Figures(account).granted == 250);
}

TEST_CASE("grants of a lower epoch, of another holder or of no epoch are refused") {
  Bench bench;
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
  Bench bench;
  const AccountHandle rich = bench.Open("rich");
  const AccountHandle poor = bench.Open("poor");
  bench.Give("rich", 100);
  bench.Give("poor", 5);
  const std::vector<Need> needs{{.account = rich, .nanos = 20}, {.account = poor, .nanos = 20}};
  const ReserveResult result = bench.holder.Reserve(needs, 0);
  CHECK(result.outcome == ReserveOutcome::kShort);
  CHECK(result.need == 1);
  CHECK(bench.Figures(rich).reserved == 0);
  bench.holder.Wait(1, needs, 0);
  CHECK(bench.Figures(rich).reserved == 0);
  bench.Give("poor", 20);
  CHECK(bench.holder.TakeServed() == std::vector<uint64_t>{1});
  CHECK(bench.Figures(rich).reserved == 20);
  CHECK(bench.Figures(poor).reserved == 20);
}

TEST_CASE("one account named twice must hold the sum") {
  Bench bench;
  const AccountHandle account = bench.Open("b");
  bench.Give("b", 30);
  const std::vector<Need> needs{{.account = account, .nanos = 20},
                                {.account = account, .nanos = 20}};
  CHECK_FALSE(bench.holder.Reserve(needs, 0).admitted());
}

TEST_CASE("settling more than was reserved stays as a debt; less comes back") {
  Bench bench;
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
  Bench bench;
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

TEST_CASE("newcomers do not overtake those that wait, and small ones do not starve") {
  Bench bench;
  const AccountHandle account = bench.Open("b");
  bench.Give("b", 50);
  const std::vector<Need> large{{.account = account, .nanos = 80}};
  const std::vector<Need> small{{.account = account, .nanos = 10}};
  REQUIRE(bench.holder.Reserve(large, 0).outcome == ReserveOutcome::kShort);
  bench.holder.Wait(1, large, 0);
  CHECK(bench.holder.Reserve(small, 0).outcome == ReserveOutcome::kShort);
  bench.holder.Wait(2, small, 0);
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

TEST_CASE("a request says what calls in flight may cost above what they reserved") {
  struct Case {
    const char* name;
    v1::OnOverrun policy;
    Nanos want;
  };
  const Case kCases[] = {{"finish", v1::ON_OVERRUN_FINISH, 70}, {"cap", v1::ON_OVERRUN_CAP, 0}};
  for (const Case& test : kCases) {
    DYNAMIC_SECTION(test.name) {
      Bench bench;
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

TEST_CASE("an answer counts for a waiter when what it granted is on disk") {
  Bench bench;
  const AccountHandle account = bench.Open("b");
  const std::vector<Need> needs{{.account = account, .nanos = 100}};
  bench.holder.Wait(1, needs, 0);
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
      Bench bench;
      const AccountHandle account = bench.Open("b");
      const std::vector<Need> needs{{.account = account, .nanos = 100}};
      bench.holder.Wait(1, needs, 0);
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
  Bench bench;
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
  bench.holder.Wait(1, needs, 0);
  CHECK_FALSE(in_vain());  // the running call may cost nothing
  // Another holder asked for the idle rest. Until the control plane has heard that it is back, what
  // it says of the remainder is too little.
  bench.holder.OnRecall(RecallOf("b", "h2"), 0);
  CHECK(bench.Figures(account).returning == 30);
  CHECK_FALSE(bench.holder.AnsweredWaiters()[0].out_of_reach);
  bench.Record();
  CHECK(in_vain());
  CHECK(bench.Figures(account).returning == 0);
}

TEST_CASE("what a request says of an account") {
  Bench bench;
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

TEST_CASE("a recall takes what is idle, and tells it once it is on disk") {
  Bench bench;
  const AccountHandle account = bench.Open("b");
  bench.Give("b", 100);
  const std::vector<Need> needs{{.account = account, .nanos = 30}};
  REQUIRE(bench.holder.Reserve(needs, 0).admitted());
  bench.holder.OnRecall(RecallOf("b", "h1"), 0);
  CHECK(bench.Figures(account).free() == 70);  // it lacks the money itself
  bench.holder.OnRecall(RecallOf("b", "h2", 0), 0);
  CHECK(bench.Figures(account).free() == 70);  // of an older epoch
  bench.holder.MakeRequest(0);
  bench.holder.OnRecall(RecallOf("b", "h2"), 0);
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
  Bench bench;
  const AccountHandle account = bench.Open("b");
  bench.Give("b", 100);
  std::vector<Need> needs{{.account = account, .nanos = row.in_flight ? 30 : 40}};
  REQUIRE(bench.holder.Reserve(needs, 0).admitted());
  if (!row.in_flight) bench.holder.Settle(needs, 40, 0);
  bench.holder.Tick(row.after_ns, row.window_time_s * 1000);
  CHECK(bench.Figures(account).free() == row.free);
}

TEST_CASE("out of contact, the policy decides") {
  struct Row {
    const char* name;
    v1::OnPartition policy;
    bool heard;
    bool unheard_open;
    Nanos need;
    bool admitted;
    bool open;
  };
  const Row row = GENERATE(values<Row>({
      {"leased: what is held", v1::ON_PARTITION_LEASED, true, false, 50, true, false},
      {"leased: no more", v1::ON_PARTITION_LEASED, true, false, 51, false, false},
      {"closed: nothing", v1::ON_PARTITION_CLOSED, true, false, 1, false, false},
      {"open: what is held", v1::ON_PARTITION_OPEN, true, false, 50, true, false},
      {"open: and the remainder heard", v1::ON_PARTITION_OPEN, true, false, 350, true, true},
      {"open: no more", v1::ON_PARTITION_OPEN, true, false, 351, false, false},
      {"unspecified is open", v1::ON_PARTITION_UNSPECIFIED, true, false, 350, true, true},
      {"never heard", v1::ON_PARTITION_OPEN, false, false, 1, false, false},
      {"never heard, and the budget allows", v1::ON_PARTITION_OPEN, false, true, 1'000, true, true},
      {"never heard, more than the limit", v1::ON_PARTITION_OPEN, false, true, 1'001, false, false},
  }));
  CAPTURE(row.name);
  Bench bench;
  const AccountHandle account = bench.Open(
      "b", {.limit = 1'000, .on_partition = row.policy, .open_unheard = row.unheard_open});
  if (row.heard) bench.Give("b", 50, 300);
  bench.now = 10 * kSecond;
  CHECK_FALSE(bench.holder.InContact(bench.now));
  const ReserveResult result = bench.Reserve(account, row.need);
  CHECK(result.admitted() == row.admitted);
  CHECK(result.open == row.open);
  if (!row.admitted) {
    CHECK(result.outcome == ReserveOutcome::kRefused);
    CHECK(result.reason == ReserveReason::kCutOff);
  }
}

TEST_CASE("open mode counts what it spends against the remainder it heard") {
  Bench bench;
  const AccountHandle account = bench.Open("b");
  bench.Give("b", 50, 300);
  bench.now = 10 * kSecond;
  for (int i = 0; i < 7; ++i) CHECK(bench.Reserve(account, 50).admitted());
  CHECK_FALSE(bench.Reserve(account, 1).admitted());
  CHECK(bench.Figures(account).overshoot_bound == 300);
}

TEST_CASE("a rolling budget carries the remainder heard into its next bucket") {
  Bench bench;
  const AccountPolicy policy{.limit = 1'000, .window = WindowKind::kRolling};
  const AccountHandle first = bench.Open("b", policy, {.start_s = 86'400, .end_s = 90'000});
  bench.Give("b", 50, 300);
  bench.now = 10 * kSecond;
  REQUIRE(bench.Reserve(first, 150).admitted());  // 100 beyond the lease
  const AccountHandle next = bench.Open("b", policy, {.start_s = 90'000, .end_s = 93'600});
  CHECK(bench.Reserve(next, 200).admitted());
  CHECK_FALSE(bench.Reserve(next, 1).admitted());
}

TEST_CASE("frozen, too large, not enforced") {
  Bench bench;
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

TEST_CASE("a higher epoch is told everything") {
  Bench bench;
  LeaseOptions options;
  options.accounts_per_request_max = 10;
  LeaseHolder holder("h1", "dp1", options, 0);
  for (int i = 0; i < 25; ++i) {
    v1::LeaseGrant grant = bench.Grant("b" + std::to_string(i), 100);
    holder.Open("b" + std::to_string(i), "", kDay, {.limit = 1'000});
    holder.OnGrant(grant, 0);
  }
  holder.Recorded(holder.TakeLevels().ticket, 0);
  bench.epoch = 2;
  v1::LeaseGrant hello = bench.Grant("none", 0);
  CHECK(holder.OnGrant(hello, 0).new_epoch);
  CHECK(holder.WantsRequest());
  int requests = 0;
  std::set<std::string> told;
  while (true) {
    const v1::LeaseRequest request = holder.MakeRequest(0);
    REQUIRE(++requests <= 3);
    v1::LeaseGrant answer;
    answer.set_holder("h1");
    answer.set_epoch(2);
    answer.set_answers(request.number());
    for (const v1::HolderAccount& account : request.accounts()) {
      told.insert(account.account().budget_id());
      CHECK(account.granted_seen() == 100);
      *answer.add_accounts()->mutable_account() = account.account();
    }
    CHECK(request.whole() == (told.size() == 25));
    if (request.whole()) break;
    holder.OnGrant(answer, 0);
    CHECK(holder.WantsRequest());
  }
  CHECK(told.size() == 25);
  CHECK(requests == 3);
}

TEST_CASE("an account is forgotten only when everything about it is known elsewhere") {
  Bench bench;
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

TEST_CASE("a tombstoned holder is left behind and ends after its last call") {
  Bench bench;
  LeaseHolders holders("dp1", "h1", LeaseOptions{}, 0);
  LeaseHolder& old = holders.current();
  const AccountHandle account = old.Open("b", "", kDay, {.limit = 1'000});
  holders.OnGrant(bench.Grant("b", 100), 0);
  old.Recorded(old.TakeLevels().ticket, 0);
  const std::vector<Need> needs{{.account = account, .nanos = 30}};
  REQUIRE(old.Reserve(needs, 0).admitted());
  old.Wait(9, std::vector<Need>{{.account = account, .nanos = 500}}, 0);
  v1::LeaseGrant word = bench.Grant("b", 100);
  word.set_tombstoned(true);
  CHECK(holders.OnGrant(word, 0).tombstoned);
  CHECK(holders.Replace("h2", 0) == std::vector<uint64_t>{9});
  CHECK(holders.current().id() == "h2");
  CHECK(old.FigureOf(account, 0).free() == 0);
  CHECK_FALSE(holders.OnGrant(word, 0).tombstoned);  // known
  CHECK(holders.Ended().empty());
  holders.Find("h1")->Settle(needs, 25, 0);
  REQUIRE(holders.Ended().size() == 1);
  CHECK(holders.Ended()[0]->Closing()[0].charged() == 25);
  holders.Drop("h2");  // never the current one
  holders.Drop("h1");
  CHECK(holders.Find("h1") == nullptr);
  CHECK(holders.All().size() == 1);
}

TEST_CASE("window time is the last heard plus a slightly slow clock, never backwards") {
  LeaseClock clock(500);
  CHECK(clock.TimeMs(kSecond, 777) == 777);
  clock.Heard(1'000'000, 0);
  CHECK(clock.TimeMs(0, 777) == 1'000'000);
  CHECK(clock.TimeMs(1000 * kSecond, 0) == 1'000'000 + 1'000'000 - 500);
  clock.Heard(1'000'500, 100 * kSecond);  // long under way
  CHECK(clock.TimeMs(100 * kSecond, 0) > 1'099'000);
  clock.Heard(3'000'000, 100 * kSecond);
  CHECK(clock.TimeMs(100 * kSecond, 0) == 3'000'000);
}

TEST_CASE("reserving and settling are fast", "[.bench]") {
  Bench bench;
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

}  // namespace spillway
