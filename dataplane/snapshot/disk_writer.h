#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "dataplane/snapshot/build.h"
#include "dataplane/snapshot/generations.h"

namespace spillway {

// Writes what was accepted to disk, on a thread of its own, so that activation waits for no disk:
// the newest wins, at most one write in `interval_ms` once a first snapshot is on disk. A delta
// costs its own size; when the log has grown to a quarter of its base a new generation is begun. A
// disk that fails is counted, logged and tried again; serving goes on. Owned by the feed. Any
// thread.
class DiskWriter {
 public:
  // `revision`: the newest on disk already.
  DiskWriter(Generations generations, std::string quarantine_path, int64_t interval_ms,
             int64_t revision);
  ~DiskWriter();

  // In force now. `records`: the signed messages that lead to it from what was kept before; absent:
  // it came whole, a new generation begins.
  void Keep(SnapshotPtr snapshot, std::string proof,
            std::optional<std::vector<std::string>> records);
  // Not in force (quarantined), kept for its revocations: deltas behind what was kept, or a whole
  // SnapshotFile.
  void HoldRecords(std::vector<std::string> records);
  void HoldFile(v1::Position position, std::string file);
  void SaveFence(Fence fence);
  void SaveQuarantine(std::string content);

  // Waits until everything handed over so far has been tried once.
  void Flush();
  // Writes what is left, then ends the thread. Idempotent.
  void Stop();

  int64_t failures() const;
  int64_t revision() const;  // newest known to be on disk

 private:
  struct HeldFile {
    v1::Position position;
    std::string file;
  };
  struct Work {
    SnapshotPtr whole;  // begin a generation with it
    std::string proof;
    int64_t revision = 0;
    std::vector<std::string> records;
    std::vector<std::string> held_records;
    std::optional<HeldFile> held_file;
    std::optional<Fence> fence;
    std::optional<std::string> quarantine;
    int64_t handed = 0;
  };

  void Run();
  bool HasWork() const;
  Work TakeWork();
  bool Perform(const Work& work);
  Result<void> WriteSnapshot(const Work& work);
  bool Noted(Result<void> result);
  void Settle(const Work& work, bool good);

  Generations generations_;  // the thread's
  const std::string quarantine_path_;
  const int64_t interval_ms_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  SnapshotPtr newest_;
  std::string newest_proof_;
  Work pending_;
  std::vector<std::string> held_records_;  // behind what was kept; written again with a new base
  bool held_changed_ = false;
  size_t record_bytes_ = 0;
  bool whole_ = false;       // the next write begins a generation
  bool appendable_ = false;  // there is a generation that records can follow, or soon will be
  int64_t handed_ = 0;       // calls so far, and how many of them have been tried
  int64_t tried_ = 0;
  bool stopping_ = false;
  int64_t failures_ = 0;
  int64_t revision_ = 0;
  std::string last_failure_;  // the thread's: each is logged once
  std::thread thread_;
};

}  // namespace spillway
