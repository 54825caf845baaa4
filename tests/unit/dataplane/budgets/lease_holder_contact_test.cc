// A holder out of contact, under a new epoch, and left behind.
#include <catch2/catch_all.hpp>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "dataplane/budgets/lease_holders.h"
#include "tests/unit/dataplane/budgets/holder_bench.h"

namespace spillway {
namespace {

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
  HolderBench bench;
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
  HolderBench bench;
  const AccountHandle account = bench.Open("b");
  bench.Give("b", 50, 300);
  bench.now = 10 * kSecond;
  for (int i = 0; i < 7; ++i) CHECK(bench.Reserve(account, 50).admitted());
  CHECK_FALSE(bench.Reserve(account, 1).admitted());
  CHECK(bench.Figures(account).overshoot_bound == 300);
}

TEST_CASE("a rolling budget carries the remainder heard into its next bucket") {
  HolderBench bench;
  const AccountPolicy policy{.limit = 1'000, .window = WindowKind::kRolling};
  const AccountHandle first = bench.Open("b", policy, {.start_s = 86'400, .end_s = 90'000});
  bench.Give("b", 50, 300);
  bench.now = 10 * kSecond;
  REQUIRE(bench.Reserve(first, 150).admitted());  // 100 beyond the lease
  const AccountHandle next = bench.Open("b", policy, {.start_s = 90'000, .end_s = 93'600});
  CHECK(bench.Reserve(next, 200).admitted());
  CHECK_FALSE(bench.Reserve(next, 1).admitted());
}

TEST_CASE(
    "out of contact, a rolling budget goes by the remainder it heard before hours without use") {
  struct Row {
    const char* name;
    int rolling_hours;
    bool spent;  // beyond the lease, in the hour that was heard of
    Nanos most;
  };
  const Row row = GENERATE(values<Row>({
      {"the same window goes on", 24, false, 300},
      {"less what was spent beyond the lease", 24, true, 200},
      {"another window, of which nothing was heard", 5, false, 0},
  }));
  CAPTURE(row.name);
  HolderBench bench;
  const AccountPolicy policy{
      .limit = 1'000, .window = WindowKind::kRolling, .rolling_hours = row.rolling_hours};
  const WindowSpan hour{.start_s = 86'400, .end_s = 90'000};
  const AccountHandle first = bench.Open("b", policy, hour);
  const int64_t asked = bench.holder.MakeRequest(0).number();
  bench.holder.OnGrant(bench.Grant("b", 0, 300, asked), 0);
  bench.holder.MakeRequest(0);
  bench.now = 10 * kSecond;
  if (row.spent) {
    const std::vector<Need> needs{{.account = first, .nanos = 100}};
    REQUIRE(bench.holder.Reserve(needs, bench.now).admitted());
    bench.holder.Settle(needs, 100, bench.now);
  }
  for (int64_t hours = 1; hours <= 5; ++hours)
    bench.holder.Tick(bench.now, (hour.start_s + hours * 3'600) * 1'000);
  const WindowSpan later{.start_s = hour.start_s + 5 * 3'600, .end_s = hour.end_s + 5 * 3'600};
  const AccountHandle next = bench.Open("b", policy, later);
  CHECK_FALSE(bench.Reserve(next, row.most + 1).admitted());
  CHECK((row.most == 0 || bench.Reserve(next, row.most).admitted()));
}

TEST_CASE("a higher epoch is told everything") {
  HolderBench bench;
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

TEST_CASE("a tombstoned holder is left behind and ends after its last call") {
  HolderBench bench;
  LeaseHolders holders("dp1", "h1", LeaseOptions{}, 0);
  LeaseHolder& old = holders.current();
  const AccountHandle account = old.Open("b", "", kDay, {.limit = 1'000});
  holders.OnGrant(bench.Grant("b", 100), 0);
  old.Recorded(old.TakeLevels().ticket, 0);
  const std::vector<Need> needs{{.account = account, .nanos = 30}};
  REQUIRE(old.Reserve(needs, 0).admitted());
  old.Wait(9, std::vector<Need>{{.account = account, .nanos = 500}});
  v1::LeaseGrant word = bench.Grant("b", 100);
  word.set_tombstoned(true);
  CHECK(holders.OnGrant(word, 0).tombstoned);
  CHECK(holders.Replace("h2", 0) == std::vector<uint64_t>{9});
  CHECK(holders.current().id() == "h2");
  CHECK(holders.number() == 1);
  CHECK(old.FigureOf(account).free() == 0);
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

}  // namespace
}  // namespace spillway
