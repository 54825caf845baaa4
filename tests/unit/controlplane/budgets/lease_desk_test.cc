// The lease desk on a bus in memory, over a real store.
#include "controlplane/budgets/lease_desk.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <ctime>
#include <mutex>
#include <print>

#include "tests/unit/controlplane/budgets/desk_world.h"

namespace spillway {
namespace {

Nanos StoredLevel(const Store& store, const std::string& holder) {
  const auto stored = LoadLeases(store);
  REQUIRE(stored.has_value());
  Nanos level = 0;
  for (const LeaseAccountRow& row : stored->accounts)
    if (row.holder == holder) level = std::max(level, row.granted);
  return level;
}

TEST_CASE("a grant is on disk before it is sent") {
  DeskWorld world;
  world.Put(MakeBudget("team", 1000));
  // At the moment of sending, a copy of the disk is what a kill would leave.
  int copies = 0;
  world.on_grant = [&](const v1::LeaseGrant& grant) {
    const std::string copy = world.folder.path() + "/copy" + std::to_string(++copies);
    const auto backup = world.store->CreateBackup(world.folder.path() + "/backups", copies);
    REQUIRE(backup.has_value());
    REQUIRE(Store::Restore(backup->path, copy));
    const auto left = Store::Open({.path = copy});
    REQUIRE(left.has_value());
    CHECK(StoredLevel(**left, grant.holder()) >= grant.accounts(0).granted());
  };
  CHECK(world.Ask(kDp1, kHolder1, MakeAccount("team"), {}, 200) == 200);
  CHECK(world.Ask(kDp1, kHolder1, MakeAccount("team"), {.granted = 200, .reserved = 200}, 300) ==
        500);
  CHECK(copies == 2);
}

TEST_CASE("a restart keeps every account, and what was granted stays exposed") {
  DeskWorld world;
  world.Put(MakeBudget("team", 1000));
  CHECK(world.Ask(kDp1, kHolder1, MakeAccount("team"), {}, 700) == 700);
  CHECK(world.Ask("dp-2", kHolder2, MakeAccount("team"), {}, 400) == 0);
  CHECK(world.recalls.size() == 1);
  world.Restart();
  CHECK(world.Figures("team").exposure == 700);
  CHECK(world.Ask("dp-2", kHolder2, MakeAccount("team"), {}, 400) == 0);
  // What comes back goes to who waits for it, and stays where it is over another restart.
  CHECK(world.Ask(kDp1, kHolder1, MakeAccount("team"),
                  {.granted = 700, .returned = 500, .charged = 100, .reserved = 100}) == 700);
  CHECK(world.LevelOf(kHolder2, MakeAccount("team")) == 400);
  CHECK(StoredLevel(*world.store, kHolder2) == 400);
  world.Restart();
  CHECK(world.Figures("team").exposure == 600);
}

TEST_CASE("twenty holders that fit are all granted, the twenty-first is not") {
  DeskWorld world;
  world.Put(MakeBudget("team", 2000));
  for (int i = 0; i < 20; ++i) {
    std::string holder = kHolder1;
    holder[0] = "0123456789abcdef"[i % 16];
    holder[1] = "0123456789abcdef"[i / 16];
    INFO(i);
    CHECK(world.Ask("dp-" + std::to_string(i % 3 + 1), holder, MakeAccount("team"), {}, 100) ==
          100);
  }
  CHECK(world.Ask("dp-1", kHolder2, MakeAccount("team"), {}, 100) == 0);
  CHECK(world.Figures("team").exposure == 2000);
}

TEST_CASE("requests that cannot be, or are of nobody known, are refused") {
  DeskWorld world;
  world.Put(MakeBudget("team", 1000));
  const v1::LeaseRequest good = world.Request(kDp1, kHolder1, MakeAccount("team"), {}, 10);
  struct Row {
    const char* name;
    std::function<void(v1::LeaseRequest&)> spoil;
    std::string subject;
  };
  const Row rows[] = {
      {"another's name", [](auto&) {}, subjects::Lease("dp-2")},
      {"unknown instance", [](auto& request) { request.set_instance("dp-9"); },
       subjects::Lease("dp-9")},
      {"no token", [](auto& request) { request.set_instance("a.b"); }, "spillway.lease.x"},
      {"no holder id", [](auto& request) { request.set_holder("seed"); }, subjects::Lease(kDp1)},
      {"upper-case hex", [](auto& request) { request.set_holder(std::string(32, 'A')); },
       subjects::Lease(kDp1)},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    v1::LeaseRequest request = good;
    row.spoil(request);
    const int64_t refused = world.desk->stats().refused;
    REQUIRE(world.client->Publish(row.subject, request.SerializeAsString()));
    world.desk->RunOnce();
    CHECK(world.desk->stats().refused == refused + 1);
  }
  const int64_t refused = world.desk->stats().refused;
  REQUIRE(world.client->Publish(subjects::Lease(kDp1), "\xff\xff"));
  REQUIRE(world.client->Publish(subjects::Lease(kDp1), std::string((1 << 20) + 1, 'x')));
  world.desk->RunOnce();
  CHECK(world.desk->stats().refused == refused + 2);
  CHECK(world.grants.empty());
  CHECK(world.Figures("team").exposure == 0);
}

TEST_CASE("without an epoch nothing is granted, and a higher one is passed on") {
  DeskWorld world;
  world.Put(MakeBudget("team", 1000));
  v1::LeaseRequest request = world.Request(kDp1, kHolder1, MakeAccount("team"), {}, 10);
  request.set_epoch(world.epoch + 5);
  world.Send(request);
  world.desk->RunOnce();
  CHECK(world.higher == world.epoch + 5);
  CHECK(world.grants.empty());
  world.epoch = 0;  // fenced
  CHECK(world.Ask(kDp1, kHolder1, MakeAccount("team"), {}, 10) == std::nullopt);
}

TEST_CASE("a lowered limit, a freeze and a raise count at once") {
  DeskWorld world;
  v1::Budget budget = MakeBudget("team", 1000);
  world.Put(budget);
  const v1::Account account = MakeAccount("team");
  CHECK(world.Ask(kDp1, kHolder1, account, {}, 600) == 600);
  SECTION("lowered below what is out: nothing more, nothing taken back") {
    budget.set_limit_nanos(300);
    world.Put(budget);
    world.desk->RunOnce();
    CHECK(world.recalls.size() == 1);
    CHECK(world.Figures("team").remainder == -300);
    CHECK(world.Ask(kDp1, kHolder1, account, {.granted = 600, .reserved = 600}, 10) == 600);
    CHECK(world.Ask("dp-2", kHolder2, account, {}, 10) == 0);
    world.Restart();
    CHECK(world.Figures("team").remainder == -300);
  }
  SECTION("frozen, and thawed") {
    budget.set_frozen(true);
    world.Put(budget);
    CHECK(world.Ask("dp-2", kHolder2, account, {}, 10) == 0);
    CHECK(world.grants.back().accounts(0).closed());
    world.Restart();
    CHECK(world.Ask("dp-2", kHolder2, account, {}, 10) == 0);
    budget.set_frozen(false);
    world.Put(budget);
    CHECK(world.Ask("dp-2", kHolder2, account, {}, 10) == 10);
  }
  SECTION("raised until a moment") {
    budget.set_raise_nanos(500);
    budget.set_raise_until_ms(world.clock.WallMs() + 60'000);
    world.Put(budget);
    CHECK(world.Figures("team").limit == 1500);
    CHECK(world.Ask("dp-2", kHolder2, account, {}, 500) == 500);
    world.clock.AdvanceMs(61'000);
    world.desk->RunOnce();
    CHECK(world.Figures("team").limit == 1000);
    CHECK(world.Ask(kDp1, kHolder1, account, {.granted = 600, .reserved = 600}, 10) == 600);
  }
  SECTION("removed: nothing more from it") {
    world.Remove("team");
    CHECK(world.Ask("dp-2", kHolder2, account, {}, 10) == 0);
    CHECK(world.grants.back().accounts(0).closed());
  }
}

TEST_CASE("after a restore nothing is granted from a running window before all have reported") {
  DeskWorld world;
  world.Put(MakeBudget("team", 1000));
  const v1::Account account = MakeAccount("team");
  CHECK(world.Ask(kDp1, kHolder1, account, {}, 300) == 300);
  CHECK(world.Ask("dp-2", kHolder2, account, {}, 100) == 100);
  const auto backup = world.ledger->BackUp(world.folder.path() + "/backups", 1);
  REQUIRE(backup.has_value());
  // What the backup does not know.
  CHECK(world.Ask(kDp1, kHolder1, account, {.granted = 300, .reserved = 300}, 400) == 700);
  world.Close();
  REQUIRE(Store::Restore(backup->path, world.folder.path() + "/db"));
  ++world.epoch;
  world.Open(/*restored=*/true);
  world.Begin();
  CHECK(world.book->written_epoch() == world.epoch);
  const auto ask2 = [&](Nanos need) {
    world.clock.AdvanceMs(1000);
    return world.Ask("dp-2", kHolder2, account, {.granted = 100, .reserved = 100}, need);
  };
  CHECK(ask2(50) == 100);
  const bool restart = GENERATE(false, true);
  if (restart) world.Restart();
  CHECK(ask2(50) == 100);
  world.replay.done = true;
  CHECK(ask2(50) == 100);
  CHECK(world.Figures("team").gated);
  // The last one reports, and what it holds is known again.
  CHECK(world.Ask(kDp1, kHolder1, account, {.granted = 700, .reserved = 700}) == 700);
  CHECK_FALSE(world.Figures("team").gated);
  CHECK(world.Figures("team").exposure == 800);
  CHECK(ask2(150) == 250);
  CHECK(ask2(400) == 250);
}

TEST_CASE("after a restore a stream with holes keeps the gate shut until an operator opens it") {
  DeskWorld world;
  world.Put(MakeBudget("team", 1000));
  world.Put(MakeBudget("day", 1000, v1::WINDOW_DAY));
  world.Restart(/*restored=*/true);
  world.replay = {.done = true, .damaged = true};
  world.clock.AdvanceMs(1000);
  CHECK(world.Ask(kDp1, kHolder1, MakeAccount("team"), {}, 10) == 0);
  world.clock.AdvanceMs(1000);
  CHECK(world.Ask(kDp1, kHolder1, MakeAccount("team"), {}, 10) == 0);
  // A window that begins later is free at once.
  world.clock.AdvanceMs(int64_t{86'400'000});
  world.desk->RunOnce();
  CHECK(world.Ask("dp-2", kHolder2, MakeAccount("day", kJanuaryS + 86'400), {}, 10) == 10);
  CHECK(world.Ask("dp-2", kHolder2, MakeAccount("team"), {}, 10) == 0);
  world.book->Change([](LeaseKeeper& keeper) { keeper.OpenGate(); });
  CHECK(world.Ask("dp-2", kHolder2, MakeAccount("team"), {}, 10) == 10);
}

TEST_CASE("the window clock does not go back over a restart") {
  DeskWorld world;
  world.Put(MakeBudget("day", 1000, v1::WINDOW_DAY));
  CHECK(world.Ask(kDp1, kHolder1, MakeAccount("day"), {}, 10) == 10);
  const int64_t told_ms = world.grants.back().control_plane_time_ms();
  world.clock.SetWallMs(world.clock.WallMs() - 7'200'000);
  world.Restart();
  CHECK(world.Ask(kDp1, kHolder1, MakeAccount("day"), {}, 10).has_value());
  CHECK(world.grants.back().control_plane_time_ms() >= told_ms);
}

TEST_CASE("a window clock that is ahead of the wall clock is shown") {
  DeskWorld world;
  const int64_t right_ms = world.clock.WallMs();
  world.clock.SetWallMs(right_ms + int64_t{365} * 86'400'000);
  world.Restart();
  world.clock.SetWallMs(right_ms);
  world.Restart();
  MetricsText text;
  world.desk->Collect(text);
  const std::string shown = std::move(text).Take();
  CHECK(shown.contains("spillway_lease_clock_ahead_seconds 31536000\n"));
}

TEST_CASE("a holder that is silent for an hour is given up, and keeps what it holds") {
  DeskWorld world;
  world.Put(MakeBudget("team", 1000));
  CHECK(world.Ask(kDp1, kHolder1, MakeAccount("team"), {}, 300) == 300);
  for (int i = 0; i < 70; ++i) {
    world.clock.AdvanceMs(60'000);
    CHECK(world.Ask("dp-2", kHolder2, MakeAccount("team"), {}).has_value());
  }
  CHECK(world.desk->stats().tombstoned == 1);
  CHECK(world.Figures("team").exposure == 300);
  const auto show = BudgetReport(*world.book).Show(MakeBudget("team", 1000), {});
  REQUIRE(show.has_value());
  REQUIRE(show->accounts_size() == 1);
  CHECK(show->accounts(0).stranded_nanos() == 300);
  REQUIRE(show->accounts(0).holders_size() >= 1);
  CHECK(show->accounts(0).holders(0).instance() == "dp-1");
  CHECK(show->accounts(0).holders(0).state() == "tombstoned");
}

TEST_CASE("10,000 lease requests per second", "[.benchmark]") {
  DeskWorld world(/*threaded=*/true);
  world.Put(MakeBudget("team", Nanos{1} << 50));
  world.verify = false;  // the data planes' own affair
  constexpr int kRequests = 20'000;
  std::mutex mutex;
  std::condition_variable all;
  int answered = 0;
  world.on_grant = [&](const v1::LeaseGrant&) {
    const std::lock_guard lock(mutex);
    if (++answered == kRequests) all.notify_one();
  };
  std::vector<v1::LeaseRequest> requests;
  for (int i = 0; i < kRequests; ++i) {
    std::string holder = kHolder1;
    for (int digit = 0, rest = i % 300; digit < 3; ++digit, rest /= 16)
      holder[static_cast<size_t>(digit)] = "0123456789abcdef"[rest % 16];
    requests.push_back(world.Request("dp-1", holder, MakeAccount("team"), {}, 100));
  }
  const std::clock_t cpu = std::clock();
  const int64_t begin = SystemClock().MonotonicNs();
  for (const v1::LeaseRequest& request : requests) {
    while (world.desk->stats().queued > 4'000) std::this_thread::yield();
    world.Send(request);
  }
  std::unique_lock lock(mutex);
  REQUIRE(all.wait_for(lock, std::chrono::seconds(60), [&] { return answered == kRequests; }));
  const double seconds = static_cast<double>(SystemClock().MonotonicNs() - begin) / 1e9;
  const double cpu_seconds = static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC;
  std::println("lease desk: {:.0f} requests/s, {:.0f} per CPU second, in {} synced batches",
               kRequests / seconds, kRequests / cpu_seconds, world.desk->stats().batches);
}

}  // namespace
}  // namespace spillway
