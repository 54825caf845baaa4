#pragma once

#include <catch2/catch_all.hpp>
#include <deque>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "common/subjects.h"
#include "dataplane/snapshot/feed_core.h"
#include "tests/unit/dataplane/snapshot/control_plane.h"

namespace spillway {

// One data plane's feed, driven step by step, with its control plane and a bus in memory.
class FeedHarness {
 public:
  FeedHarness() : client(server.Client()), cp(&server) {}

  // Starts (or starts again, as a new process would) and boots.
  void Start() {
    Stop();
    FeedOptions options;
    options.instance = "dp-1";
    options.incarnation = "feed";
    options.version = "test";
    options.data_dir = folder.path();
    options.seed_path = seed_path;
    options.verifier = cp.verifier();
    options.seal_key = cp.seal_key();
    options.disk_interval_ms = disk_interval_ms;
    options.jitter_seed = 1;
    options.limits = limits;
    FeedHooks hooks;
    hooks.on_snapshot = [this](SnapshotPtr snapshot) { active = std::move(snapshot); };
    hooks.journals = [] {
      v1::JournalState journal;
      journal.set_incarnation("feed");
      journal.set_last_seq(7);
      return std::vector{journal};
    };
    auto created =
        FeedCore::Create(std::move(options), std::move(hooks), client.get(), clock, marker);
    if (!created) FAIL(created.error().message);
    core = *std::move(created);
    subscription =
        client
            ->Subscribe(subjects::kDeltas,
                        [this](const BusMessage& message) { pushes.push_back(message.payload); })
            .value();
    core->Boot();
  }
  void Stop() {
    subscription.reset();
    pushes.clear();
    if (core != nullptr) core->Stop();
    core.reset();
    active.reset();
  }
  // Hands over what was pushed.
  void Pump() {
    while (!pushes.empty()) {
      const std::string bytes = std::move(pushes.front());
      pushes.pop_front();
      core->OnPush(bytes);
    }
  }
  void Pass(int64_t ms) {
    clock.AdvanceMs(ms);
    core->Tick();
  }
  // The wait for NATS at boot is over.
  void EndWait() { Pass(501); }
  void Publish(const v1::Delta& delta) {
    cp.PublishDelta(delta);
    cp.PublishLatest();
    Pump();
  }
  // Publishes a full state and boots from it, so that it is on disk.
  void StartWithState() {
    cp.PublishFull();
    cp.PublishLatest();
    Start();
    REQUIRE(active != nullptr);
    core->writer().Flush();
  }
  void PutOnStream(const std::string& subject, const std::string& payload) {
    REQUIRE(server.PublishToStream(subject, payload, {}));
  }

  int64_t revision() const { return active == nullptr ? 0 : active->position().revision(); }
  FeedStatus status() const { return core->status(); }
  int64_t refused(RefusalClass refusal) const {
    return status().refused[static_cast<size_t>(refusal)];
  }
  std::vector<v1::Heartbeat> heartbeats() const {
    std::vector<v1::Heartbeat> beats;
    for (const BusMessage& message : server.CorePublished()) {
      if (message.subject != subjects::Fleet("dp-1")) continue;
      REQUIRE(beats.emplace_back().ParseFromString(message.payload));
    }
    return beats;
  }
  std::string SnapshotFolder() const { return folder.path() + "/snapshots"; }
  std::vector<std::string> FilesEndingWith(const std::string& suffix) const {
    std::vector<std::string> files;
    for (const auto& file : std::filesystem::directory_iterator(SnapshotFolder()))
      if (file.path().string().ends_with(suffix)) files.push_back(file.path().string());
    std::ranges::sort(files);
    return files;
  }
  static std::string Read(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static void Write(const std::string& path, const std::string& content) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
  }
  // Says that this process crashed while `revision` was on trial, as the signal handler would have.
  void LeaveCrash(int64_t revision, uint64_t id) {
    std::filesystem::create_directories(SnapshotFolder());
    Quarantine quarantine = Quarantine::Load(SnapshotFolder() + "/quarantine");
    quarantine.Count({.id = id, .revision = revision, .after_ms = 5, .signal = 11}, 60'000);
    REQUIRE(durable::WriteFile(SnapshotFolder() + "/quarantine", quarantine.Render()));
  }

  TempFolder folder;
  MemoryBus server;
  std::unique_ptr<MemoryBus> client;
  FakeControlPlane cp;
  ManualClock clock;
  SnapshotLimits limits;
  int64_t disk_interval_ms = 0;
  std::string seed_path;
  CrashMarker* marker = nullptr;
  SnapshotPtr active;
  std::deque<std::string> pushes;
  std::unique_ptr<Bus::Subscription> subscription;
  std::unique_ptr<FeedCore> core;
};

}  // namespace spillway
