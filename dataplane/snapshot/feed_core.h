#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "common/crypto/state_digest.h"
#include "dataplane/snapshot/disk_writer.h"
#include "dataplane/snapshot/feed.h"
#include "dataplane/snapshot/fetch.h"
#include "dataplane/snapshot/lineage.h"
#include "dataplane/snapshot/proof.h"
#include "dataplane/snapshot/quarantine.h"

namespace spillway {

// What the feed does, without its thread: one thread calls everything but status(). Time comes from
// the clock only, so tests drive it step by step.
//
// `current_` is the newest good snapshot: a candidate from disk while booting, then the active one.
class FeedCore {
 public:
  // Reads what is on disk; `bus` and `marker` may be nullptr.
  static Result<std::unique_ptr<FeedCore>> Create(FeedOptions options, FeedHooks hooks, Bus* bus,
                                                  const Clock& clock, CrashMarker* marker);

  // Once, after the subscription to deltas stands.
  void Boot();
  void OnPush(std::string signed_bytes);
  void OnConnected();
  // Does what is due: polls, heartbeats, ends of trials and of the wait at boot.
  void Tick();
  int64_t NextDueNs() const;  // monotonic
  void SetDraining();
  void Goodbye();
  void Stop() { writer_->Stop(); }

  FeedStatus status() const;
  DiskWriter& writer() { return *writer_; }

 private:
  FeedCore(FeedOptions options, FeedHooks hooks, Bus* bus, const Clock& clock, CrashMarker* marker);

  // Boot: feed_boot.cc
  void CountCrash();
  void ReadGenerations(Generations& generations);
  bool TryGeneration(Generations& generations, int64_t number, std::vector<KeyRestrictions>& newer);
  void TakeCandidate(Generations& generations, const LoadedGeneration& loaded, Materialized built,
                     const std::vector<KeyRestrictions>& newer);
  void FinishBoot();
  Result<void> TrySeed();

  // Pull and push: feed_pull.cc
  void Pull();
  Result<void> TryPull();
  Result<void> Follow(Fetcher& fetch, const ProvenLatest& latest);
  Result<void> FollowPush(ProvenDelta pushed);
  std::optional<Lineage> Bridge(Fetcher& fetch, int64_t to);
  Result<void> CheckFence(const v1::Position& position) const;
  bool IsOld(const v1::Position& position) const;
  bool IsOtherHistory(const v1::Position& position) const;
  void Confirm(const ProvenLatest& latest);
  void SchedulePoll();
  void WantAgain();

  // Acceptance: feed_accept.cc
  Result<void> Adopt(const Lineage& lineage, std::string_view source);
  Result<void> CheckSense(const Snapshot& next) const;
  void Hold(const Lineage& lineage, const Materialized& built);
  void KeepOnDisk(const Lineage& lineage, const Materialized& built);
  void Activate(SnapshotPtr snapshot, std::string_view source);
  void StartTrial(int64_t revision);
  void EndTrial();
  void Rearm();
  void RaiseFence(const v1::Position& position);
  void RememberFleet(int64_t size);
  LineageRules Rules();

  // Reports: feed_report.cc
  void Note(const Error& error, std::string_view source);
  void Refused(const Error& error, int64_t revision, std::string_view source);
  void Beat(bool goodbye = false);
  void Publish();
  void Audit();

  int64_t NowNs() const { return clock_.MonotonicNs(); }

  const FeedOptions options_;
  const FeedHooks hooks_;
  Bus* const bus_;
  const Clock& clock_;
  CrashMarker* const marker_;
  const ProofReader reader_;
  BuildOptions build_;
  Quarantine quarantine_;
  std::unique_ptr<DiskWriter> writer_;
  Fence fence_;
  std::minstd_rand random_;
  const int64_t created_ns_;

  SnapshotPtr current_;
  bool active_ = false;      // current_ is in force
  bool restricted_ = false;  // current_ carries revocations of quarantined revisions
  v1::Position held_;        // up to which those are known; revision 0: none
  bool booting_ = false;
  int64_t boot_deadline_ns_ = 0;
  int64_t next_poll_ns_ = 0;
  int64_t next_beat_ns_ = 0;
  int pull_failures_ = 0;
  int64_t wanted_revision_ = 0;  // pushed, but not to be had yet
  int wanted_tries_ = 0;
  int64_t trial_revision_ = 0;  // on trial; 0: none
  int64_t trial_start_ns_ = 0;
  bool draining_ = false;
  v1::Nack nack_;
  std::set<std::string> logged_refusals_;  // since the last activation
  std::string pull_reason_ = "NATS was not asked yet";
  std::string disk_reason_ = "no snapshot on disk";
  std::string seed_reason_ = "no seed snapshot given";

  // The audit of the active state's digest, a few shards at a time.
  SnapshotPtr audited_;
  size_t audit_shard_ = 0;
  StateDigest audit_digest_;
  bool diverged_ = false;

  mutable std::mutex status_mutex_;
  FeedStatus status_;  // as of the last Publish; ages are computed when asked
  int64_t activated_ns_ = 0;
  std::atomic<int64_t> confirmed_ns_ = -1;
};

}  // namespace spillway
