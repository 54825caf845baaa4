#include "controlplane/budgets/lease_keeper.h"

#include <catch2/catch_all.hpp>
#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace spillway {
namespace {

constexpr int64_t kDayS = int64_t{20'000} * int64_t{86'400};  // a midnight of UTC
constexpr int64_t kNowMs = (kDayS + 3600) * 1000;

BudgetTerms Terms(const std::string& id, Nanos limit, WindowKind window = WindowKind::kDay) {
  return {.id = id, .limit = limit, .window = window};
}

v1::Account AccountOf(const std::string& budget, int64_t start_s = kDayS,
                      const std::string& subject = "") {
  v1::Account account;
  account.set_budget_id(budget);
  account.set_subject(subject);
  account.set_window_start_s(start_s);
  return account;
}

struct Told {
  Nanos g = 0, r = 0, c = 0, v = 0, target = 0;
};

// A request by parts.
struct Ask {
  v1::LeaseRequest request;
  explicit Ask(const std::string& holder, int64_t epoch = 1) {
    static int64_t number = 0;
    request.set_instance("dp-" + holder);
    request.set_holder(holder);
    request.set_epoch(epoch);
    request.set_number(++number);
  }
  Ask& With(const std::string& budget, Told told, int64_t start_s = kDayS) {
    v1::HolderAccount& account = *request.add_accounts();
    *account.mutable_account() = AccountOf(budget, start_s);
    account.set_granted_seen(told.g);
    account.set_returned(told.r);
    account.set_charged(told.c);
    account.set_reserved(told.v);
    account.set_target(told.target);
    return *this;
  }
  Ask& Waits(const std::vector<std::pair<std::string, Nanos>>& needs, int64_t start_s = kDayS) {
    v1::Waiting& waiting = *request.add_waiting();
    for (const auto& [budget, nanos] : needs) {
      v1::Need& need = *waiting.add_needs();
      *need.mutable_account() = AccountOf(budget, start_s);
      need.set_nanos(nanos);
    }
    return *this;
  }
  Ask& Whole() {
    request.set_whole(true);
    return *this;
  }
};

struct Bench {
  LeaseKeeper keeper;
  std::map<std::string, LeaseAccountRow> rows;  // by budget@start/holder
  std::map<std::string, LeaseHolderRow> holders;
  LeaseKeeperRow row;
  std::vector<v1::Recall> recalls;
  std::vector<LeaseEffects::Outgoing> grants;

  explicit Bench(const std::vector<BudgetTerms>& budgets = {Terms("b", 1'000)}) {
    keeper.SetBudgets(budgets);
    keeper.Begin(1, kNowMs, 0);
    Take();
  }
  void Take() {
    LeaseEffects effects = keeper.TakeEffects();
    for (const LeaseAccountRow& one : effects.dropped_accounts) rows.erase(NameOf(one));
    for (const LeaseAccountRow& one : effects.accounts) rows[NameOf(one)] = one;
    for (const std::string& one : effects.dropped_holders) holders.erase(one);
    for (const LeaseHolderRow& one : effects.holders) holders[one.holder] = one;
    if (effects.keeper) row = *effects.keeper;
    grants = std::move(effects.grants);
    recalls = std::move(effects.recalls);
  }
  static std::string NameOf(const LeaseAccountRow& row) {
    return row.budget_id + "@" + std::to_string(row.window_start_s) + "/" + row.holder;
  }
  // The answer to it.
  v1::LeaseGrant Send(const Ask& ask) {
    REQUIRE(keeper.OnRequest(ask.request) == LeaseKeeper::RequestOutcome::kAnswered);
    Take();
    for (const LeaseEffects::Outgoing& out : grants) {
      if (out.grant.holder() == ask.request.holder() &&
          out.grant.answers() == ask.request.number()) {
        return out.grant;
      }
    }
    FAIL("no answer");
    return {};
  }
  Nanos Exposure(const std::string& budget, int64_t start_s = kDayS) {
    return keeper.Exposure(AccountOf(budget, start_s));
  }
  void At(int64_t wall_ms) { keeper.Advance(wall_ms, (wall_ms - kNowMs) * 1'000'000); }
};

Nanos LevelOf(const v1::LeaseGrant& grant, const std::string& budget) {
  for (const v1::GrantedAccount& account : grant.accounts()) {
    if (account.account().budget_id() == budget) return account.granted();
  }
  return -1;
}

v1::Closed ClosedWith(const std::vector<std::pair<v1::Account, Nanos>>& charges) {
  v1::Closed closed;
  for (const auto& [account, nanos] : charges) {
    v1::AccountCharge& charge = *closed.add_accounts();
    *charge.mutable_account() = account;
    charge.set_charged(nanos);
  }
  return closed;
}

}  // namespace

TEST_CASE("exposure of an account") {
  struct Row {
    const char* name;
    LeaseAccountRow row;
    Nanos exposure;
  };
  const Row row = GENERATE(values<Row>({
      {"nothing", {}, 0},
      {"what may still be spent", {.granted = 100, .returned = 30}, 70},
      {"settled beyond it", {.granted = 100, .returned = 30, .settled = 90}, 90},
      {"reported beyond it", {.granted = 100, .returned = 30, .settled = 90, .reported = 95}, 95},
      {"closed", {.granted = 100, .settled = 20, .reported = 40, .final = 40}, 40},
      {"closed below what was settled", {.granted = 100, .settled = 50, .final = 40}, 50},
      {"closed with nothing", {.granted = 100, .reported = 10, .final = 0}, 0},
  }));
  CAPTURE(row.name);
  CHECK(row.row.Exposure() == row.exposure);
}

TEST_CASE("those that wait are served in order, each wholly or not at all") {
  Bench bench({Terms("b", 100), Terms("c", 50)});
  const v1::LeaseGrant grant = bench.Send(Ask("h1")
                                              .Waits({{"b", 40}, {"c", 40}})
                                              .Waits({{"b", 10}, {"c", 20}})  // c has 10 left
                                              .Waits({{"b", 60}}));
  CHECK(LevelOf(grant, "b") == 100);
  CHECK(LevelOf(grant, "c") == 40);
  CHECK(bench.Exposure("b") == 100);
  CHECK(bench.rows.at("b@" + std::to_string(kDayS) + "/h1").granted == 100);
  CHECK(bench.row.time_ms == kNowMs);
}

TEST_CASE("a doubled or late request is granted nothing again") {
  Bench bench;
  const Ask first = Ask("h1").With("b", {}).Waits({{"b", 40}});
  CHECK(LevelOf(bench.Send(first), "b") == 40);
  CHECK(LevelOf(bench.Send(first), "b") == 40);
  const Ask second = Ask("h1").With("b", {.g = 40, .v = 40}).Waits({{"b", 30}});
  CHECK(LevelOf(bench.Send(second), "b") == 70);
  // Overtaken by the second: figures by maximum, no grant.
  CHECK(LevelOf(bench.Send(first), "b") == 70);
  CHECK(bench.Exposure("b") == 70);
}

TEST_CASE("figures are maxima, and nonsense is refused") {
  Bench bench;
  bench.Send(Ask("h1").With("b", {.g = 100, .r = 20, .c = 50}));
  bench.Send(Ask("h1").With("b", {.g = 80, .r = 10, .c = 40}));
  const LeaseAccountRow& row = bench.rows.at("b@" + std::to_string(kDayS) + "/h1");
  CHECK(row.granted == 100);
  CHECK(row.returned == 20);
  CHECK(row.reported == 50);
  for (const Told& bad : {Told{.g = -1}, Told{.g = 10, .r = 11}, Told{.c = -5}, Told{.v = -1},
                          Told{.g = INT64_MAX}, Told{.c = INT64_MAX}, Told{.target = -1}}) {
    bench.Send(Ask("h1").With("b", bad));
    CHECK(row.granted == 100);
    CHECK(bench.Exposure("b") == 80);
  }
  bench.Send(Ask("h2").Waits({{"b", INT64_MAX}}));
  CHECK(bench.Exposure("b") == 80);
  CHECK(bench.keeper.OnRequest(Ask("").request) == LeaseKeeper::RequestOutcome::kInvalid);
  CHECK(bench.keeper.OnRequest(Ask(std::string(65, 'x')).request) ==
        LeaseKeeper::RequestOutcome::kInvalid);
  CHECK(bench.keeper.OnRequest(Ask("h1", 2).request) == LeaseKeeper::RequestOutcome::kHigherEpoch);
}

TEST_CASE("stock is about the target, never more than a share of what remains") {
  Bench bench;
  CHECK(LevelOf(bench.Send(Ask("h1").With("b", {.target = 100})), "b") == 100);
  bench.Send(Ask("h2").With("b", {}));
  bench.At(kNowMs + 600);  // now two are counted
  // rest 900, two data planes: at most 225
  CHECK(LevelOf(bench.Send(Ask("h2").With("b", {.target = 800})), "b") == 225);
  const v1::LeaseGrant again = bench.Send(Ask("h2").With("b", {.g = 225, .target = 200}));
  CHECK(LevelOf(again, "b") == 225);
  CHECK(again.fleet_size() == 2);
  CHECK(again.accounts(0).remainder() == 1'000 - 100 - 225);
}

TEST_CASE("who lacks gets a recall sent, stock stops, and is served when money comes back") {
  Bench bench;
  bench.Send(Ask("h1").With("b", {}).Waits({{"b", 900}}));
  const v1::LeaseGrant lacking = bench.Send(Ask("h2").With("b", {}).Waits({{"b", 200}}));
  CHECK(LevelOf(lacking, "b") == 0);
  REQUIRE(bench.recalls.size() == 1);
  CHECK(bench.recalls[0].holder() == "h2");
  CHECK(bench.recalls[0].accounts(0).budget_id() == "b");
  // Scarce: no stock, and no second recall at once.
  CHECK(LevelOf(bench.Send(Ask("h3").With("b", {.target = 50})), "b") == 0);
  bench.Send(Ask("h2").With("b", {}).Waits({{"b", 200}}));
  CHECK(bench.recalls.empty());
  bench.Send(Ask("h1").With("b", {.g = 900, .r = 150, .c = 700, .v = 50}));
  REQUIRE(bench.grants.size() == 2);  // the answer, and what h2 waits for
  const auto& served = bench.grants[bench.grants[0].instance == "dp-h2" ? 0 : 1];
  CHECK(served.instance == "dp-h2");
  CHECK(LevelOf(served.grant, "b") == 200);
  CHECK(bench.Exposure("b") == 950);
}

TEST_CASE("who lacks hears what others have: of those who are there, and what they did not spend") {
  Bench bench;
  bench.Send(Ask("h1").With("b", {}).Waits({{"b", 900}}));
  bench.Send(Ask("h1").With("b", {.g = 900, .c = 300, .v = 250}));
  const auto elsewhere = [&] {
    const v1::LeaseGrant grant = bench.Send(Ask("h2").With("b", {}).Waits({{"b", 200}}));
    REQUIRE(grant.accounts_size() == 1);
    return grant.accounts(0).elsewhere();
  };
  CHECK(elsewhere() == 600);  // reserved is not spent: a call may cost less
  CHECK(bench.Send(Ask("h2").With("b", {})).accounts(0).elsewhere() == 0);  // lacks nothing
  SECTION("what was settled is spent, whether it was reported or not") {
    bench.keeper.OnCharge("h1", AccountOf("b"), 450);
    CHECK(elsewhere() == 450);
  }
  SECTION("who was given up gives nothing back") {
    bench.keeper.Tombstone("h1", false);
    CHECK(elsewhere() == 0);
  }
  SECTION("nor who is silent") {
    bench.At(kNowMs + 10'500);
    CHECK(elsewhere() == 0);
  }
}

TEST_CASE("what others have of a rolling budget's earlier buckets may come back, too") {
  BudgetTerms terms = Terms("b", 1'000, WindowKind::kRolling);
  terms.rolling_hours = 3;
  Bench bench({terms});
  bench.Send(Ask("h1").With("b", {}, kDayS + 3600).Waits({{"b", 900}}, kDayS + 3600));
  bench.At(kNowMs + 3'600'000);
  bench.Send(Ask("h1").With("b", {.g = 900, .c = 100, .v = 800}, kDayS + 3600));
  const v1::LeaseGrant lacking =
      bench.Send(Ask("h2").With("b", {}, kDayS + 7200).Waits({{"b", 200}}, kDayS + 7200));
  REQUIRE(lacking.accounts_size() == 1);
  CHECK(lacking.accounts(0).granted() == 0);
  CHECK(lacking.accounts(0).elsewhere() == 800);
}

TEST_CASE("nothing idle elsewhere, no recall") {
  Bench bench;
  bench.Send(Ask("h1").With("b", {}).Waits({{"b", 950}}));
  bench.Send(Ask("h1").With("b", {.g = 950, .c = 950}));
  bench.Send(Ask("h2").With("b", {}).Waits({{"b", 100}}));
  CHECK(bench.recalls.empty());
}

TEST_CASE("what was spent beyond the lease is covered, and counted") {
  Bench bench;
  bench.Send(Ask("h1").With("b", {}).Waits({{"b", 100}}));
  const v1::LeaseGrant covered = bench.Send(Ask("h1").With("b", {.g = 100, .c = 130}));
  CHECK(LevelOf(covered, "b") == 130);
  CHECK(bench.Exposure("b") == 130);
  CHECK(covered.accounts(0).remainder() == 870);
}

TEST_CASE("no grant when there must be none") {
  BudgetTerms frozen = Terms("frozen", 1'000);
  frozen.frozen = true;
  Bench bench({Terms("b", 1'000), frozen});
  struct Row {
    const char* name;
    const char* budget;
    int64_t start_s;
  };
  const Row row = GENERATE(values<Row>({
      {"not begun", "b", kDayS + 86'400},
      {"long over", "b", kDayS - 86'400},
      {"no window of this budget", "b", kDayS + 60},
      {"frozen", "frozen", kDayS},
      {"unknown", "nobody's", kDayS},
  }));
  CAPTURE(row.name);
  const v1::LeaseGrant grant = bench.Send(Ask("h1")
                                              .With(row.budget, {.target = 100}, row.start_s)
                                              .Waits({{row.budget, 10}}, row.start_s));
  REQUIRE(grant.accounts_size() == 1);
  CHECK(grant.accounts(0).granted() == 0);
  CHECK(grant.accounts(0).closed());
  CHECK(bench.recalls.empty());
}

TEST_CASE("a tombstoned or closed holder is told so and granted nothing; its money stays counted") {
  Bench bench;
  bench.Send(Ask("h1").With("b", {}).Waits({{"b", 300}}));
  SECTION("tombstoned") {
    bench.keeper.Tombstone("h1", false);
    CHECK(bench.Exposure("b") == 300);
    const v1::LeaseGrant grant =
        bench.Send(Ask("h1").With("b", {.g = 300, .r = 100, .target = 50}).Waits({{"b", 400}}));
    CHECK(grant.tombstoned());
    CHECK(LevelOf(grant, "b") == 300);
    CHECK(bench.Exposure("b") == 200);  // it may give back
    CHECK(bench.holders.at("h1").tombstoned);
  }
  SECTION("closed") {
    bench.keeper.OnCharge("h1", AccountOf("b"), 40);
    bench.keeper.OnClosed("h1", ClosedWith({{AccountOf("b"), 70}}));
    CHECK(bench.Exposure("b") == 70);
    bench.keeper.OnCharge("h1", AccountOf("b"), 45);  // late
    CHECK(bench.Exposure("b") == 85);
    bench.keeper.OnCharge("h1", AccountOf("b"), -60);
    CHECK(bench.Exposure("b") == 70);
    CHECK(bench.Send(Ask("h1").With("b", {.g = 300, .target = 9})).tombstoned());
    CHECK(bench.Exposure("b") == 70);
    bench.keeper.OnClosed("h1", ClosedWith({}));  // once
    CHECK(bench.Exposure("b") == 70);
  }
}

TEST_CASE("closed without naming an account") {
  Bench bench({Terms("b", 1'000), Terms("c", 1'000)});
  bench.Send(Ask("h1").With("b", {}).With("c", {}).Waits({{"b", 300}}).Waits({{"c", 300}}));
  // b was given back but for what it charged; the grant of c never arrived.
  bench.Send(Ask("h1").With("b", {.g = 300, .r = 250, .c = 50}));
  bench.keeper.OnClosed("h1", ClosedWith({}));
  CHECK(bench.Exposure("b") == 50);
  CHECK(bench.Exposure("c") == 0);
}

TEST_CASE("retiring an instance tombstones its open holders") {
  Bench bench;
  bench.Send(Ask("h1").With("b", {}));
  bench.keeper.OnHolder("h2", "dp-h1");
  bench.keeper.OnHolder("h3", "other");
  bench.keeper.OnClosed("h2", ClosedWith({}));
  CHECK(bench.keeper.TombstoneInstance("dp-h1", true) == std::vector<std::string>{"h1"});
  bench.Take();
  CHECK(bench.holders.at("h1").retired);
  CHECK_FALSE(bench.holders.at("h3").tombstoned);
}

TEST_CASE("a limit is edited without losing what was spent") {
  Bench bench;
  bench.Send(Ask("h1").With("b", {}).Waits({{"b", 600}}));
  bench.keeper.SetBudget(Terms("b", 500));
  const v1::LeaseGrant lowered = bench.Send(Ask("h2").With("b", {.target = 9}).Waits({{"b", 1}}));
  CHECK(LevelOf(lowered, "b") == 0);
  CHECK(lowered.accounts(0).remainder() == -100);
  REQUIRE(bench.recalls.size() == 1);
  BudgetTerms raised = Terms("b", 500);
  raised.raise = 200;
  raised.raise_until_ms = kNowMs + 5'000;
  bench.keeper.SetBudget(raised);  // who waited is served
  bench.Take();
  REQUIRE(bench.grants.size() == 1);
  CHECK(LevelOf(bench.grants[0].grant, "b") == 1);
  CHECK(bench.keeper.Figures("b", "").limit == 700);
  bench.At(kNowMs + 6'000);
  CHECK(bench.keeper.Figures("b", "").limit == 500);
  CHECK(bench.keeper.Figures("b", "").remainder == -101);
  bench.keeper.SetBudgets({});
  CHECK(bench.Send(Ask("h2").With("b", {.target = 9})).accounts(0).closed());
  CHECK(bench.Exposure("b") == 601);
}

TEST_CASE("T follows the wall clock at most five per cent fast or slow, and never goes back") {
  LeaseKeeper keeper;
  keeper.Load(LeaseKeeperRow{.time_ms = kNowMs + 500});
  keeper.Begin(1, kNowMs, 0);
  CHECK(keeper.time_ms() == kNowMs + 500);
  keeper.Advance(kNowMs + 1'000, 1'000'000'000);
  CHECK(keeper.time_ms() == kNowMs + 500 + 950);
  keeper.Advance(kNowMs + 3'600'000, 2'000'000'000);  // stepped ahead
  CHECK(keeper.time_ms() == kNowMs + 1'450 + 1'050);
  keeper.Advance(0, 3'000'000'000);  // stepped back
  CHECK(keeper.time_ms() == kNowMs + 2'500 + 950);
  keeper.Advance(kNowMs + 999'999'999, 3'000'000'000);  // no time went by
  CHECK(keeper.time_ms() == kNowMs + 3'450);
  keeper.Advance(kNowMs, 1'000'000'000);
  CHECK(keeper.time_ms() == kNowMs + 3'450);
}

TEST_CASE("a rolling budget counts its last buckets") {
  BudgetTerms terms = Terms("b", 1'000, WindowKind::kRolling);
  terms.rolling_hours = 3;
  Bench bench({terms});
  const auto bucket = [](int hour) { return kDayS + int64_t{hour} * 3600; };
  // T is at 01:00. 400 are spent in that bucket, 100 stay out with h1.
  bench.Send(Ask("h1").Waits({{"b", 500}}, bucket(1)));
  bench.keeper.OnCharge("h1", AccountOf("b", bucket(1)), 400);
  bench.At(kNowMs + 2 * 3'600'000);  // 03:00: still in the window
  CHECK(LevelOf(bench.Send(Ask("h2").Waits({{"b", 600}}, bucket(3))), "b") == 0);
  CHECK(LevelOf(bench.Send(Ask("h2").Waits({{"b", 500}}, bucket(3))), "b") == 500);
  LeaseAccountFigures figures = bench.keeper.Figures("b", "");
  CHECK(figures.settled == 400);
  CHECK(figures.exposure == 1'000);
  CHECK(figures.resets_at_s == bucket(4));
  bench.At(kNowMs + 3 * 3'600'000);  // 04:00: what was spent at 01:00 counts no more
  figures = bench.keeper.Figures("b", "");
  CHECK(figures.settled == 0);
  CHECK(figures.exposure == 600);  // with what h1 still has out of 01:00
  bench.keeper.OnClosed("h1", ClosedWith({{AccountOf("b", bucket(1)), 500}}));
  CHECK(bench.keeper.Figures("b", "").exposure == 500);
  CHECK(LevelOf(bench.Send(Ask("h3").Waits({{"b", 500}}, bucket(4))), "b") == 500);
}

TEST_CASE("after a restore nothing is granted until the whole roster has told all") {
  Bench before;
  before.Send(Ask("h1").With("b", {}).Waits({{"b", 100}}));
  before.Send(Ask("h2").With("b", {}));
  before.keeper.OnHolder("dead", "dp-dead");
  before.keeper.Tombstone("dead", false);
  before.Take();

  Bench bench;
  bench.keeper.SetBudgets(std::vector{Terms("b", 1'000)});
  for (const auto& [name, row] : before.rows) bench.keeper.Load(row);
  for (const auto& [name, row] : before.holders) bench.keeper.Load(row);
  bench.keeper.Begin(7, kNowMs, 0);
  bench.keeper.BeginRestore(false);
  CHECK(bench.keeper.gated());
  CHECK(bench.keeper.WaitedFor().size() == 2);
  bench.keeper.OnHolder("h3", "dp-h3");  // from the replay
  CHECK(bench.keeper.WaitedFor().size() == 3);
  bench.keeper.ReplayDone();
  // Granted after the backup, and told now.
  v1::LeaseGrant grant = bench.Send(Ask("h1", 7).With("b", {.g = 700, .c = 30}).Whole());
  CHECK(grant.accounts(0).closed());
  CHECK(bench.Exposure("b") == 700);
  bench.Send(Ask("h2", 6).With("b", {.g = 200}).Whole());  // not under the new epoch
  CHECK(bench.keeper.gated());
  bench.Send(Ask("h2", 7).With("b", {.g = 200}));  // not all of it
  CHECK(bench.keeper.gated());
  SECTION("each way out") {
    bench.Send(Ask("h2", 7).With("b", {.g = 200}).Whole());
    CHECK(bench.keeper.gated());
    SECTION("it reports") { bench.Send(Ask("h3", 7).Whole()); }
    SECTION("it is closed") { bench.keeper.OnClosed("h3", ClosedWith({})); }
    SECTION("it is retired") { bench.keeper.Tombstone("h3", true); }
    CHECK_FALSE(bench.keeper.gated());
    CHECK(LevelOf(bench.Send(Ask("h2", 7).With("b", {.g = 200, .v = 200}).Waits({{"b", 100}})),
                  "b") == 300);
    CHECK(LevelOf(bench.Send(Ask("h2", 7).With("b", {.g = 300, .v = 300}).Waits({{"b", 1}})),
                  "b") == 300);
  }
  SECTION("silence is no way out") {
    bench.keeper.Tombstone("h2", false);
    bench.keeper.Tombstone("h3", false);
    CHECK(bench.keeper.gated());
  }
  SECTION("windows that begin later are free at once") {
    bench.At(kNowMs + 86'400'000);
    CHECK(LevelOf(bench.Send(Ask("h9", 7).Waits({{"b", 5}}, kDayS + 86'400)), "b") == 5);
    CHECK(bench.keeper.gated());
  }
  SECTION("it outlives a restart") {
    LeaseKeeper next;
    next.Load(bench.row);
    for (const auto& [name, row] : bench.holders) next.Load(row);
    next.Begin(8, kNowMs, 0);
    CHECK(next.gated());
    next.OpenGate();
    CHECK_FALSE(next.gated());
  }
}

TEST_CASE("with events lost the gate stays shut") {
  Bench bench;
  bench.keeper.BeginRestore(true);
  bench.keeper.ReplayDone();
  bench.Send(Ask("h1").With("b", {}).Whole());
  CHECK(bench.keeper.gated());
  CHECK(bench.keeper.Figures("b", "").gated);
  CHECK(bench.keeper.stream_damaged());
  CHECK(bench.keeper.WaitedFor().empty());
  // Restored once more, from a backup that was made meanwhile.
  bench.keeper.BeginRestore(false);
  bench.keeper.ReplayDone();
  bench.Send(Ask("h1").With("b", {}).Whole());
  CHECK(bench.keeper.gated());
}

TEST_CASE("loading what was written gives the same keeper") {
  Bench bench({Terms("b", 1'000), Terms("c", 1'000, WindowKind::kLifetime)});
  bench.Send(Ask("h1").With("b", {}).Waits({{"b", 300}}).Waits({{"c", 50}}, 0));
  bench.keeper.OnCharge("h1", AccountOf("b"), 120);
  bench.keeper.Seed("c", "", 0, 400);
  bench.Send(Ask("h2").With("b", {.g = 20, .r = 5, .c = 3}));
  bench.keeper.OnClosed("h2", ClosedWith({{AccountOf("b"), 4}}));
  bench.Take();
  LeaseKeeper next;
  for (const auto& [name, row] : bench.rows) next.Load(row);
  for (const auto& [name, row] : bench.holders) next.Load(row);
  next.Load(bench.row);
  next.SetBudgets(std::vector{Terms("b", 1'000), Terms("c", 1'000, WindowKind::kLifetime)});
  next.Begin(2, kNowMs, 0);
  for (const auto& [budget, start] : {std::pair{"b", kDayS}, std::pair{"c", int64_t{0}}}) {
    CHECK(next.Exposure(AccountOf(budget, start)) ==
          bench.keeper.Exposure(AccountOf(budget, start)));
  }
  CHECK(next.Settled("b", "") == 120);
  CHECK(next.Settled("c", "") == 400);
  CHECK(next.Figures("c", "").exposure == 450);
  CHECK_FALSE(next.gated());
}

TEST_CASE("figures by holder, with what is stranded") {
  Bench bench;
  bench.Send(Ask("h1").With("b", {}).Waits({{"b", 300}}));
  bench.Send(Ask("h1").With("b", {.g = 300, .c = 100, .v = 50}));
  bench.At(kNowMs + 20'000);
  bench.Send(Ask("h2").With("b", {}).Waits({{"b", 200}}));
  const LeaseAccountFigures figures = bench.keeper.Figures("b", "");
  CHECK(figures.exposure == 500);
  CHECK(figures.remainder == 500);
  REQUIRE(figures.holders.size() == 2);
  const LeaseHolderFigures& silent = figures.holders[0];
  CHECK(silent.instance == "dp-h1");
  CHECK(silent.state == LeaseHolderFigures::State::kSilent);
  CHECK(silent.leased == 200);
  CHECK(silent.reserved == 50);
  CHECK(silent.spent == 100);
  CHECK(silent.stranded() == 200);
  CHECK(figures.holders[1].stranded() == 0);
  CHECK(bench.keeper.Figures("b", "nobody").remainder == 1'000);
  CHECK(bench.keeper.List("b", "", 10).size() == 1);
  CHECK(bench.keeper.List("b", "z", 10).empty());
}

TEST_CASE("old accounts are dropped, those that are still out later") {
  Bench bench;
  bench.Send(Ask("h1").With("b", {}).Waits({{"b", 300}}));
  bench.Send(Ask("h1").With("b", {.g = 300, .r = 200, .c = 100}));
  bench.keeper.OnCharge("h1", AccountOf("b"), 100);
  bench.Send(Ask("h2").With("b", {}).Waits({{"b", 10}}));
  const int64_t day_ms = 86'400'000;
  bench.At(kNowMs + 12 * day_ms);
  CHECK(bench.keeper.Prune(1'000) == 0);  // h2 still has 10
  bench.keeper.OnClosed("h1", ClosedWith({{AccountOf("b"), 100}}));
  bench.keeper.OnClosed("h2", ClosedWith({}));
  bench.Take();
  CHECK(bench.rows.size() == 2);
  CHECK(bench.keeper.Prune(1'000) == 1);
  bench.Take();
  CHECK(bench.rows.empty());
  bench.At(kNowMs + 20 * day_ms);
  bench.keeper.Prune(1'000);
  bench.Take();
  CHECK(bench.holders.empty());
}

TEST_CASE("requests stay cheap with many budgets and subjects", "[.bench]") {
  std::vector<BudgetTerms> budgets;
  for (int i = 0; i < 1'000; ++i) budgets.push_back(Terms("b" + std::to_string(i), INT64_MAX / 4));
  LeaseKeeper keeper;
  keeper.SetBudgets(budgets);
  keeper.Begin(1, kNowMs, 0);
  for (int i = 0; i < 100'000; ++i) {
    keeper.Load(LeaseAccountRow{.budget_id = "b" + std::to_string(i % 1'000),
                                .subject = "u" + std::to_string(i),
                                .window_start_s = kDayS,
                                .holder = "h1",
                                .granted = 100});
  }
  constexpr int kRounds = 200;
  const auto start = std::chrono::steady_clock::now();
  for (int round = 0; round < kRounds; ++round) {
    Ask ask("h2");
    for (int i = 0; i < 100; ++i) {
      ask.With("b" + std::to_string(i), {.target = 10'000}).Waits({{"b" + std::to_string(i), 100}});
    }
    keeper.OnRequest(ask.request);
    keeper.TakeEffects();
  }
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - start;
  WARN("a request of 100 accounts and 100 waiters: " << took.count() / kRounds << " us");
}

}  // namespace spillway
