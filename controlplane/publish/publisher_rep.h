#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <future>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "controlplane/publish/encode.h"
#include "controlplane/publish/publisher.h"

namespace spillway {

// The insides of Publisher, for publisher*.cc. What stands below "publisher's thread" belongs to it
// alone; the rest is guarded by `mutex`.
struct Publisher::Rep {
  Rep(Parts p, const Options& o) : parts(std::move(p)), options(o) {}

  Parts parts;
  Options options;
  std::thread thread;

  mutable std::mutex mutex;
  std::condition_variable wake;
  std::condition_variable progress;
  bool stopping = false;
  bool stirred = false;  // a reconnect, or a full snapshot is ready
  bool overflow = true;  // the queue has a hole: take revisions from the store
  std::deque<CommittedRevision> queue;
  Status status;

  // ---- publisher's thread ----
  bool ensured = false;  // the streams' limits were brought up to date
  bool synced = false;   // what is below agrees with NATS
  bool broken = false;   // the next revision cannot follow `tail` by a delta: a full must
  bool want_full = false;
  v1::Position tail;        // the newest revision published
  uint64_t latest_seq = 0;  // of the Latest on NATS, for compare-and-set
  int64_t latest_epoch = 0;
  int64_t latest_fleet = 0;
  int64_t full_revision = 0;
  int64_t full_epoch = 0;  // under which this process published the full; 0: it did not
  int64_t full_bytes = 0;
  uint64_t full_from_seq = 0;  // what the full and the deltas behind it need begins here
  int64_t deltas_since_full = 0;
  int64_t delta_bytes_since_full = 0;
  int64_t config_created_ns = 0;
  uint64_t config_last_seq = 0;
  int64_t next_check_ns = 0;
  std::future<FullSnapshot> building;
  std::optional<FullSnapshot> sending;
  size_t chunks_sent = 0;
  uint64_t sending_from_seq = 0;  // full_from_seq of the one being built or sent
  std::string last_error;

  // publisher.cc
  void Run();
  Result<void> Round(bool check);
  void Report(const Result<void>& outcome);
  Result<void> PublishRevisions();
  Result<std::vector<CommittedRevision>> TakeRevisions(int64_t current);
  Result<void> PublishOne(const CommittedRevision& revision);
  Result<void> PublishLatest();
  Result<uint64_t> Put(const std::string& subject, const std::string& bytes,
                       std::optional<uint64_t> expect = {});
  bool HasWork() const;

  // publisher_full.cc
  Result<void> AdvanceFull();
  void StartBuilding();
  Result<void> SendChunk();
  Result<void> FinishFull();
  void PurgeBefore(uint64_t below_seq);
  void DropFull();

  // publisher_resync.cc
  Result<void> Keep();
  Result<void> KeepStreams();
  Result<void> KeepEpoch();
  Result<void> Resync();
  Result<void> Choose(const v1::Latest& latest);
  Result<void> Adopt(const v1::Latest& latest);
  Result<void> Discard(const v1::Latest& latest);
};

}  // namespace spillway
