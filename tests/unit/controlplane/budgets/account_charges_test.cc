// What the ledger's events do to accounts, in the ledger's own batch.
#include "controlplane/budgets/account_charges.h"

#include <ctime>
#include <print>

#include "tests/unit/controlplane/budgets/desk_world.h"

namespace spillway {
namespace {

Nanos StoredCharge(const DeskWorld& world, const v1::Account& account, const std::string& holder) {
  return ReadCharge(*world.store, LeaseKey(account, holder)).value();
}

TEST_CASE("an attempt charges its hold to every account it names, and its cost where it has none") {
  struct Row {
    const char* name;
    Nanos cost, hold, want;
  };
  const Row rows[] = {{"hold as cost", 70, 70, 70},
                      {"hold above an estimate", 70, 90, 90},
                      {"no hold: an older data plane", 70, 0, 70},
                      {"nothing consumed", 0, 0, 0},
                      {"nonsense", -5, -7, 0}};
  for (const Row& row : rows) {
    INFO(row.name);
    DeskWorld world;
    world.Put(MakeBudget("team", 1000));
    world.Put(MakeBudget("day", 1000, v1::WINDOW_DAY));
    ChargingSource source(kDp1, 'a');
    const std::vector<v1::Account> accounts = {MakeAccount("team"), MakeAccount("day")};
    source.FinishOn(accounts, source.StartOn(accounts, 100), row.cost, row.hold);
    world.Apply({source.All()});
    CHECK(world.Figures("team").settled == row.want);
    CHECK(world.Figures("day").settled == row.want);
    world.Restart();
    CHECK(world.Figures("team").settled == row.want);
    CHECK(world.Figures("day").settled == row.want);
    CHECK(world.Figures("team").remainder == 1000 - row.want);
  }
}

TEST_CASE("a run that comes twice, or in pieces out of order, charges once") {
  DeskWorld world;
  world.Put(MakeBudget("team", 1'000'000));
  ChargingSource source(kDp1, 'a');
  for (int i = 0; i < 40; ++i) {
    const std::vector<v1::Account> accounts = {MakeAccount("team")};
    source.FinishOn(accounts, source.StartOn(accounts, 20), 10, 10);
  }
  std::minstd_rand random(7);
  std::vector<v1::UsageRun> runs = source.Runs(random, 5);
  std::ranges::shuffle(runs, random);
  for (const v1::UsageRun& run : runs) {
    world.Apply({run});
    world.Apply({run, run});
    if (random() % 4 == 0) world.Restart();
  }
  CHECK(world.Figures("team").settled == 400);
  CHECK(StoredCharge(world, MakeAccount("team"), kHolder1) == 400);
}

TEST_CASE("a late end replaces an estimate by its difference") {
  for (const bool one_batch : {true, false}) {
    for (const bool restart : {false, true}) {
      if (one_batch && restart) continue;
      INFO("one batch " << one_batch << ", restart " << restart);
      DeskWorld world;
      world.Put(MakeBudget("team", 1000));
      const std::vector<v1::Account> accounts = {MakeAccount("team")};
      ChargingSource source(kDp1, 'a');
      const int64_t started = source.StartOn(accounts, 100);
      const int64_t abandoned = source.AbandonOn(accounts, started, 60, 100);
      const int64_t finished = source.FinishOn(accounts, started, 35, 35);
      if (one_batch) {
        world.Apply({source.All()});
      } else {
        world.Apply({source.Records(1, abandoned)});
        CHECK(world.Figures("team").settled == 100);
        if (restart) world.Restart();
        world.Apply({source.Records(finished, finished)});
      }
      CHECK(world.Figures("team").settled == 35);
      CHECK(StoredCharge(world, MakeAccount("team"), kHolder1) == 35);
      CHECK(TotalOf(*world.ledger).cost_nanos() == 35);
    }
  }
}

TEST_CASE("a batch that is dropped has charged nothing") {
  DeskWorld world;
  world.Put(MakeBudget("team", 1000));
  const std::vector<v1::Account> accounts = {MakeAccount("team")};
  const v1::Attribution who;
  const ChargeSink::Charge charge{.account = accounts.data(), .nanos = 50};
  const ChargeSink::Settlement settlement{
      .holder = {.packed = "0123456789abcdef"}, .who = who, .charges = {&charge, 1}, .cost = 50};
  v1::Closed closed;
  REQUIRE(world.charges->Add(settlement));
  world.charges->Close({.packed = "0123456789abcdef"}, 1, closed);
  world.charges->Reached("0123456789abcdef", 1);
  WriteBatch never_written;
  world.charges->Write(never_written);
  world.charges->Discarded();
  CHECK(world.Figures("team").settled == 0);
  REQUIRE(world.charges->Add(settlement));
  WriteBatch batch;
  world.charges->Write(batch);
  const auto written = world.store->Write(std::move(batch));
  REQUIRE(written);
  world.charges->Committed();
  CHECK(world.Figures("team").settled == 50);
  world.book->Read([](const LeaseKeeper& keeper) {
    for (const LeaseHolderRow& holder : keeper.Holders()) CHECK_FALSE(holder.closed);
  });
}

TEST_CASE("names that cannot be an account's are left out and counted") {
  DeskWorld world;
  world.Put(MakeBudget("team", 1000));
  v1::Account nameless;
  v1::Account huge = MakeAccount("team");
  huge.set_subject(std::string(1000, 'x'));
  ChargingSource source(kDp1, 'a');
  const std::vector<v1::Account> accounts = {nameless, huge, MakeAccount("team")};
  source.FinishOn(accounts, source.StartOn(accounts, 10), 10, 10);
  world.Apply({source.All()});
  CHECK(world.Figures("team").settled == 10);
  CHECK(world.charges->refused() == 2);
}

TEST_CASE("a holder closes when the records before its last part are all there") {
  DeskWorld world;
  world.Put(MakeBudget("team", 1000));
  v1::Budget other = MakeBudget("other", 1000);
  other.mutable_scope()->set_team("elsewhere");
  world.Put(other);
  REQUIRE(world.Ask(kDp1, kHolder1, MakeAccount("team"), {}, 400) == 400);
  REQUIRE(world.Ask(kDp1, kHolder1, MakeAccount("other"), {}, 300) == 300);
  ChargingSource source(kDp1, kHolder1);
  const std::vector<v1::Account> accounts = {MakeAccount("team")};
  source.FinishOn(accounts, source.StartOn(accounts, 100), 70, 70);
  source.CloseWith({{MakeAccount("team"), 70}}, 5);
  source.CloseWith({{MakeAccount("other"), 20}}, 5);
  world.Apply({source.Records(4, 5)});
  CHECK(world.Figures("team").exposure == 400);
  CHECK(world.Figures("other").exposure == 300);
  const bool restart = GENERATE(false, true);
  if (restart) world.Restart();
  world.Apply({source.Records(1, 3)});
  CHECK(world.Figures("team").exposure == 70);
  CHECK(world.Figures("other").exposure == 20);
  world.Restart();
  CHECK(world.Figures("team").exposure == 70);
  CHECK(world.Figures("other").exposure == 20);
  // Never granted to again.
  CHECK(world.Ask(kDp1, kHolder1, MakeAccount("team"), {.granted = 400}, 500) == 400);
  CHECK(world.grants.back().tombstoned());
}

TEST_CASE(
    "a retired instance's attempts settle at what they reserved; its leases stay or are freed") {
  DeskWorld world;
  world.Put(MakeBudget("team", 1000));
  REQUIRE(world.Ask(kDp1, kHolder1, MakeAccount("team"), {}, 600) == 600);
  // It says of itself that it spent 150; events show 70 of it, and an attempt runs.
  REQUIRE(world.Ask(kDp1, kHolder1, MakeAccount("team"),
                    {.granted = 600, .charged = 150, .reserved = 100}) == 600);
  ChargingSource source(kDp1, kHolder1);
  const std::vector<v1::Account> accounts = {MakeAccount("team")};
  source.FinishOn(accounts, source.StartOn(accounts, 100), 70, 70);
  source.StartOn(accounts, 100);
  world.Apply({source.All()});
  CHECK(world.Figures("team").exposure == 600);
  const auto retired = world.ledger->Retire(kDp1);
  REQUIRE(retired.has_value());
  CHECK(retired->orphans_settled() == 1);
  world.desk->RunOnce();
  CHECK(world.Figures("team").settled == 170);
  // Nobody knows what it spent unseen.
  CHECK(world.Figures("team").exposure == 600);
  world.Restart();
  CHECK(world.Figures("team").exposure == 600);
  CHECK(world.Ask(kDp1, kHolder1, MakeAccount("team"), {.granted = 600}, 700) == 600);
  // An operator takes it upon himself.
  const auto freed = world.ledger->Retire(kDp1, {}, /*free_leases=*/true);
  REQUIRE(freed.has_value());
  CHECK(freed->orphans_settled() == 0);
  world.desk->RunOnce();
  CHECK(world.Figures("team").settled == 170);
  CHECK(world.Figures("team").exposure == 170);
  world.Restart();
  CHECK(world.Figures("team").settled == 170);
  CHECK(world.Figures("team").exposure == 170);
  CHECK(world.Ask(kDp1, kHolder1, MakeAccount("team"), {.granted = 600}, 700) == 600);
  // The truth comes after all.
  source.FinishOn(accounts, 4, 30, 30);
  world.Apply({source.Records(5, 5)});
  CHECK(world.Figures("team").settled == 100);
  CHECK(world.Figures("team").exposure == 150);
}

TEST_CASE("another holder of the same process is charged in its own name") {
  DeskWorld world;
  world.Put(MakeBudget("team", 1000));
  ChargingSource source(kDp1, kHolder1);
  source.Add([](v1::UsageRecord& record) {
    v1::Finished& finished = *record.mutable_finished();
    finished.set_cost_nanos(40);
    finished.set_hold_nanos(40);
    *finished.add_accounts() = MakeAccount("team");
    finished.set_holder(kHolder2);
  });
  world.Apply({source.All()});
  CHECK(StoredCharge(world, MakeAccount("team"), kHolder2) == 40);
  CHECK(StoredCharge(world, MakeAccount("team"), kHolder1) == 0);
  CHECK(world.Figures("team").settled == 40);
}

TEST_CASE("accounts that batches changed are told with what they are at") {
  DeskWorld world;
  world.Put(MakeBudget("team", 1000));
  ChargingSource source(kDp1, kHolder1);
  const std::vector<v1::Account> accounts = {MakeAccount("team")};
  source.FinishOn(accounts, source.StartOn(accounts, 100), 70, 70);
  REQUIRE(world.Ask(kDp1, kHolder1, MakeAccount("team"), {}, 300) == 300);
  REQUIRE(world.Ask(kDp1, kHolder1, MakeAccount("team"),
                    {.granted = 300, .charged = 70, .reserved = 50}));
  world.Apply({source.All()});
  world.desk->RunOnce();
  REQUIRE(world.uses.size() == 1);
  CHECK(world.uses[0].budget_id == "id-team");
  CHECK(world.uses[0].settled == 70);
  CHECK(world.uses[0].limit == 1000);
  CHECK(world.uses[0].window_start_s == kJanuaryS);
  CHECK(world.uses[0].window_end_s == kJanuaryS + int64_t{31} * 86'400);
}

// As in ledger_query_test.cc, with three accounts on every attempt.
TEST_CASE("ledger throughput with budgets", "[.benchmark]") {
  DeskWorld world;
  v1::Budget each = MakeBudget("each", Nanos{1} << 50, v1::WINDOW_DAY);
  each.mutable_scope()->set_each("user");
  world.Put(MakeBudget("team", Nanos{1} << 50));
  world.Put(each);
  world.Put(MakeBudget("feature", Nanos{1} << 50));
  ChargingSource source(kDp1, 'a');
  constexpr int kAttempts = 100'000;
  for (int i = 0; i < kAttempts; ++i) {
    const std::vector<v1::Account> accounts = {
        MakeAccount("team"), MakeAccount("each", kJanuaryS, "user-" + std::to_string(i % 5000)),
        MakeAccount("feature")};
    source.FinishOn(accounts, source.StartOn(accounts, 3), 1, 1);
  }
  std::vector<v1::UsageRun> runs;
  for (int64_t from = 1; from <= source.last_seq(); from += 200)
    runs.push_back(source.Records(from, std::min(from + 199, source.last_seq())));
  const std::clock_t cpu = std::clock();
  const int64_t begin = SystemClock().MonotonicNs();
  for (size_t at = 0; at < runs.size(); at += 64) {
    const size_t size = std::min<size_t>(64, runs.size() - at);
    Ledger::Position position = world.ledger->position();
    position.seq += size;
    REQUIRE(world.ledger->Apply(std::span(runs).subspan(at, size), position));
    world.desk->RunOnce();
  }
  const double seconds = static_cast<double>(SystemClock().MonotonicNs() - begin) / 1e9;
  const double cpu_seconds = static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC;
  std::println("ledger with budgets: {:.0f} records/s, {:.0f} per CPU second",
               static_cast<double>(source.last_seq()) / seconds,
               static_cast<double>(source.last_seq()) / cpu_seconds);
  CHECK(world.Figures("team").settled == kAttempts);
}

}  // namespace
}  // namespace spillway
