// One account that every data plane charges at once, while leases of it are asked for.
#include <atomic>
#include <catch2/catch_all.hpp>
#include <thread>

#include "tests/unit/controlplane/budgets/desk_world.h"

namespace spillway {
namespace {

std::vector<v1::UsageRun> RunsOf(ChargingSource& source, int attempts) {
  const std::vector<v1::Account> accounts = {MakeAccount("team")};
  for (int i = 0; i < attempts; ++i) source.FinishOn(accounts, source.StartOn(accounts, 10), 7, 7);
  std::vector<v1::UsageRun> runs;
  for (int64_t from = 1; from <= source.last_seq(); from += 100)
    runs.push_back(source.Records(from, std::min(from + 99, source.last_seq())));
  return runs;
}

TEST_CASE(
    "thousands of charges on one account and requests for its leases never block each other") {
  DeskWorld world;
  world.Put(MakeBudget("team", 1'000'000'000));
  constexpr int kAttempts = 2'000;
  ChargingSource first(kDp1, kHolder1);
  ChargingSource second("dp-2", kHolder2);
  std::vector<v1::UsageRun> runs = RunsOf(first, kAttempts);
  const std::vector<v1::UsageRun> others = RunsOf(second, kAttempts);
  // Interleaved, and every run a second time, as after a lost acknowledgement.
  for (size_t i = 0; i < others.size(); ++i)
    runs.insert(runs.begin() + static_cast<std::ptrdiff_t>(2 * i + 1), others[i]);

  std::atomic<int> failed{0};
  std::jthread applying([&] {
    for (int pass = 0; pass < 2; ++pass) {
      for (const v1::UsageRun& run : runs) {
        Ledger::Position position = world.ledger->position();
        ++position.seq;
        if (!world.ledger->Apply(std::span(&run, 1), position)) ++failed;
      }
    }
  });
  // Everything it has is reserved, so that it always needs more.
  const std::string holder(32, 'c');
  for (Nanos level = 0; level < 20'000; level += 100) {
    REQUIRE(world.Ask("dp-3", holder, MakeAccount("team"), {.granted = level, .reserved = level},
                      100) == level + 100);
  }
  applying.join();
  CHECK(failed == 0);
  CHECK(world.Figures("team").settled == Nanos{2} * kAttempts * 7);
}

}  // namespace
}  // namespace spillway
