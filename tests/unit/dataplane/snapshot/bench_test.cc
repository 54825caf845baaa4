// Figures, printed, never judged: `snapshot_test "[.benchmark]"`.
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <chrono>
#include <fstream>
#include <print>

#include "common/clock.h"
#include "dataplane/snapshot/compression.h"
#include "dataplane/snapshot/feed_core.h"
#include "tests/unit/dataplane/snapshot/control_plane.h"

namespace spillway {
namespace {

constexpr int kKeys = 100'000;

double ResidentMb() {
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0;
  int64_t resident = 0;
  statm >> total >> resident;
  return static_cast<double>(resident * ::sysconf(_SC_PAGESIZE)) / 1e6;
}

double Ms(int64_t from_ns) {
  return static_cast<double>(SystemClock().MonotonicNs() - from_ns) / 1e6;
}

TEST_CASE("100,000 keys: build, memory, deltas", "[.benchmark]") {
  std::string list;
  v1::Position position;
  auto cp = std::make_unique<FakeControlPlane>();
  for (int i = 0; i < kKeys; ++i) {
    v1::Resource key = KeyResource("application-" + std::to_string(i), "sk-" + std::to_string(i));
    key.mutable_key()->add_routes("chat");
    cp->Put(key);
  }
  cp->Commit();
  list = cp->EntryList();
  position = cp->position;
  std::vector<v1::Delta> deltas;
  for (int i = 0; i < 1'000; ++i) {
    cp->PutKey("application-" + std::to_string(i * 97 % kKeys),
               "sk-" + std::to_string(i * 97 % kKeys), true);
    deltas.push_back(cp->Commit());
  }
  std::println("one-key delta on the wire: {} bytes", cp->SignedDelta(deltas[0]).size());
  const BuildOptions options{.secrets = {.seal_key = &cp->seal_key()}};
  const std::string frame = Deflate(list);
  std::println("state: {:.1f} MB, compressed {:.1f} MB", static_cast<double>(list.size()) / 1e6,
               static_cast<double>(frame.size()) / 1e6);
  list = std::string();

  ::malloc_trim(0);
  const double before = ResidentMb();
  SnapshotPtr snapshot;
  {
    const int64_t start = SystemClock().MonotonicNs();
    const std::string inflated = Inflate(frame, int64_t{1} << 30).value();
    const auto entries = ParseEntryList(inflated, {}).value();
    snapshot = Build(entries, position, options).value();
    std::println("inflate, parse and build: {:.0f} ms", Ms(start));
  }
  const double untrimmed = ResidentMb();
  ::malloc_trim(0);
  std::println("resident: {:.1f} MB ({:.1f} MB after malloc_trim)", untrimmed - before,
               ResidentMb() - before);

  std::vector<double> times;
  for (const v1::Delta& delta : deltas) {
    const int64_t start = SystemClock().MonotonicNs();
    snapshot = Apply(*snapshot, delta, options).value();
    times.push_back(Ms(start));
  }
  std::ranges::sort(times);
  std::println("one-key delta: p50 {:.3f} ms, p99 {:.3f} ms, max {:.3f} ms", times[500], times[990],
               times[999]);

  const Sha256Digest digest = Sha256("sk-777");
  const int64_t start = SystemClock().MonotonicNs();
  size_t found = 0;
  for (int i = 0; i < 1'000'000; ++i) found += snapshot->FindKey(digest) != nullptr ? 1 : 0;
  std::println("FindKey (one hot key): {:.0f} ns", Ms(start));
  CHECK(found == 1'000'000);
}

TEST_CASE("100,000 keys, 1,000 budgets: a freeze", "[.benchmark]") {
  FakeControlPlane cp;
  for (int i = 0; i < kKeys; ++i)
    cp.PutKey("application-" + std::to_string(i), "sk-" + std::to_string(i));
  v1::Resource budget;
  budget.mutable_budget()->set_limit_nanos(5'000'000'000);
  budget.mutable_budget()->set_window(v1::WINDOW_MONTH);
  budget.mutable_budget()->set_time_zone("Europe/Berlin");
  for (int i = 0; i < 1'000; ++i) {
    budget.mutable_budget()->set_name("budget-" + std::to_string(i));
    budget.mutable_budget()->mutable_scope()->set_user("user-" + std::to_string(i));
    cp.Put(budget);
  }
  cp.Commit();
  const std::vector<v1::Entry> entries = cp.Entries();
  SnapshotPtr snapshot = Build(ViewsOf(entries), cp.position, OptionsOf(cp)).value();
  budget.mutable_budget()->set_frozen(true);
  std::vector<double> times;
  for (int i = 0; i < 200; ++i) {
    budget.mutable_budget()->set_name("budget-" + std::to_string(i));
    budget.mutable_budget()->mutable_scope()->set_user("user-" + std::to_string(i));
    cp.Put(budget);
    const v1::Delta delta = cp.Commit();
    const int64_t start = SystemClock().MonotonicNs();
    snapshot = Apply(*snapshot, delta, OptionsOf(cp)).value();
    times.push_back(Ms(start));
  }
  std::ranges::sort(times);
  std::println("freeze of one of 1,000 budgets: p50 {:.3f} ms, p99 {:.3f} ms", times[100],
               times[198]);
  CHECK(snapshot->budget_count() == 1'000);
}

TEST_CASE("100,000 keys: push to active, with a disk", "[.benchmark]") {
  const TempFolder folder;
  MemoryBus server;
  FakeControlPlane cp(&server);
  for (int i = 0; i < kKeys; ++i)
    cp.PutKey("application-" + std::to_string(i), "sk-" + std::to_string(i));
  cp.Commit();
  const std::string seed = folder.path() + "/seed";
  std::ofstream(seed, std::ios::binary) << cp.File();
  FeedOptions options;
  options.instance = "dp";
  options.data_dir = folder.path();
  options.seed_path = seed;
  options.nats_wait_ms = 0;
  options.verifier = cp.verifier();
  options.seal_key = cp.seal_key();
  FeedHooks hooks;
  hooks.on_snapshot = [](const SnapshotPtr&) {};
  {
    auto core = FeedCore::Create(options, hooks, &server, SystemClock(), nullptr).value();
    core->Boot();
    REQUIRE(core->status().ready);
    std::vector<double> times;
    for (int i = 0; i < 1'000; ++i) {
      cp.PutKey("application-" + std::to_string(i * 97), "sk-" + std::to_string(i * 97), true);
      const std::string push = cp.SignedDelta(cp.Commit());
      const int64_t start = SystemClock().MonotonicNs();
      core->OnPush(push);
      times.push_back(Ms(start));
    }
    std::ranges::sort(times);
    std::println("push received -> active: p50 {:.3f} ms, p99 {:.3f} ms, max {:.3f} ms", times[500],
                 times[990], times[999]);
    CHECK(core->status().position.revision() == cp.position.revision());
    core->Stop();
  }
  options.seed_path.clear();
  const int64_t start = SystemClock().MonotonicNs();
  auto core = FeedCore::Create(options, hooks, nullptr, SystemClock(), nullptr).value();
  core->Boot();
  std::println("ready from disk: {:.0f} ms", Ms(start));
  CHECK(core->status().position.revision() == cp.position.revision());
}

}  // namespace
}  // namespace spillway
