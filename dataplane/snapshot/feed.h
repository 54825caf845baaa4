#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/bus.h"
#include "common/clock.h"
#include "common/crypto/sealing.h"
#include "common/crypto/signing.h"
#include "common/error.h"
#include "common/metrics.h"
#include "dataplane/snapshot/crash_marker.h"
#include "dataplane/snapshot/limits.h"
#include "dataplane/snapshot/snapshot.h"
#include "dataplane/snapshot/status.h"
#include "spillway/v1/usage.pb.h"

namespace spillway {

struct FeedOptions {
  std::string instance;
  std::string incarnation;
  std::string version;
  std::string data_dir;   // the three generations live in data_dir/snapshots
  std::string seed_path;  // --seed-snapshot, a SnapshotFile; empty: none
  Verifier verifier;
  std::optional<SealKey> seal_key = {};  // absent: a sealed credential refuses the snapshot
  SnapshotLimits limits = {};
  int64_t nats_wait_ms = 500;  // at boot, before the disk and the seed are used
  int64_t poll_min_ms = 15'000;
  int64_t poll_max_ms = 30'000;
  int64_t heartbeat_ms = 2'000;
  int64_t trial_ms = CrashMarker::kWindowMs;
  int64_t disk_interval_ms = 1'000;  // at most one write to disk in this time, behind the first
  uint64_t jitter_seed = 0;          // 0: from the instance's name and the time
};

struct FeedHooks {
  // A new snapshot is in force: post it to every loop. Runs on the feed's thread; return quickly.
  std::function<void(std::shared_ptr<const Snapshot>)> on_snapshot;
  // Incarnations whose records the control plane may not have, for the heartbeat; may be empty.
  std::function<std::vector<v1::JournalState>()> journals = {};
};

// Brings configuration to a data plane: NATS (push for speed, a jittered poll for truth), else the
// generations on disk, else the mounted seed. What cannot be proven is refused and reported (NACK
// in the heartbeat, metric, one log line); the last good snapshot stays, for ever if need be. Runs
// on a thread of its own and writes to disk on another; request threads never wait for either.
// Owned by main. Public methods: any thread.
class SnapshotFeed {
 public:
  // `bus` may be nullptr (no NATS: disk and seed only); `bus`, `clock` and `marker` outlive the
  // feed. Reads what is on disk, then returns; booting goes on behind it. Fails only when the
  // data-dir cannot be used.
  static Result<std::unique_ptr<SnapshotFeed>> Start(FeedOptions options, FeedHooks hooks, Bus* bus,
                                                     const Clock& clock, CrashMarker* marker);
  ~SnapshotFeed();

  FeedStatus status() const;
  void AppendMetrics(MetricsText& out) const;

  // The heartbeat says so, at once and from now on.
  void SetDraining();
  // The last heartbeat, after a drain: sent before this returns, if the bus is there.
  void Goodbye();
  // Ends both threads; what is accepted but not yet on disk is written first. Idempotent.
  void Stop();

 private:
  struct Rep;
  explicit SnapshotFeed(std::unique_ptr<Rep> rep);
  std::unique_ptr<Rep> rep_;
};

}  // namespace spillway
