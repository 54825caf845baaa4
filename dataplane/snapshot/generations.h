#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/durable_file.h"
#include "common/error.h"
#include "dataplane/snapshot/build.h"
#include "dataplane/snapshot/lineage.h"
#include "dataplane/snapshot/proof.h"

namespace spillway {

// What a data-dir remembers beside the snapshots: against going back, and the size of the fleet,
// which without NATS is what shares of rate limits are made of.
struct Fence {
  std::string cluster_id;  // empty: none yet
  int64_t epoch = 0;       // the highest ever accepted
  int64_t fleet_size = 0;  // as the control plane last said; 0: never
};

// One generation as read from disk: verified signatures, the digests still to be compared (Build).
struct LoadedGeneration {
  int64_t number = 0;
  bool held = false;  // written for its revocations only; must not run
  Lineage lineage;
  std::vector<ProvenLatest> confirmed;  // later words on the same revisions, with a higher epoch
  int64_t log_bytes = 0;                // of the log, as far as it is whole
};

// The generations of a data-dir, in DIR:
//   NNNNNNNNNN.base  a full state, as SnapshotFile (snapshot.proto)
//   NNNNNNNNNN.log   what followed it: u32 length, u32 CRC-32C (both little-endian), Signed; ...
//   NNNNNNNNNN.held  a SnapshotFile whose revision is quarantined: read for its revocations only
//   fence            cluster, highest epoch, fleet size, and where each generation begins
// A base appears by rename, whole or not at all; a log is only appended to, and a torn end is cut
// off before the next append. Kept: three bases and one held. So a kill at any byte loses at most
// the record being written. Reading: any thread before the first write; writing: one thread.
class Generations {
 public:
  static constexpr size_t kKept = 3;

  // Makes the folder. A damaged fence is like none.
  static Result<Generations> Open(std::string folder);

  // Newest first.
  std::vector<int64_t> List() const;
  // Refusals as ProofReader's, kEpoch for an older one that is not the one this data-dir remembers,
  // kCluster. A log that stops making sense is cut there.
  Result<LoadedGeneration> Load(int64_t number, const ProofReader& reader) const;
  const Fence& fence() const { return fence_; }

  // A new generation; later appends go to its log. Older ones beyond the three go.
  Result<void> Start(const v1::Position& position, const std::string& file);
  Result<void> Hold(const v1::Position& position, const std::string& file);
  // Goes on with a generation found at boot, which begins at `begin`: cuts its log behind the whole
  // records.
  Result<void> Continue(int64_t number, const v1::Position& begin, int64_t log_bytes);
  // Records behind the current generation, synced. Without a current one: kNotFound. After a
  // failure the log ends where it did before, or is given up: never behind a torn record.
  Result<void> Append(const std::vector<std::string>& signed_records);
  Result<void> SaveFence(const Fence& fence);

  int64_t base_bytes() const { return base_bytes_; }
  int64_t log_bytes() const { return log_bytes_; }
  bool has_current() const { return log_.is_open(); }

 private:
  explicit Generations(std::string folder) : folder_(std::move(folder)) {}
  std::string PathOf(int64_t number, std::string_view suffix) const;
  std::vector<int64_t> Numbers(std::string_view suffix) const;
  Result<void> CheckFence(int64_t number, const v1::Position& position) const;
  void LoadFence();
  void Prune();
  Result<int64_t> WriteBase(const v1::Position& position, const std::string& file,
                            std::string_view suffix);

  struct Begin {
    int64_t epoch = 0;
    int64_t revision = 0;
    std::string digest_hex;
    friend bool operator==(const Begin&, const Begin&) = default;
  };
  std::string folder_;
  Fence fence_;
  std::map<int64_t, Begin> begins_;
  durable::FileHandle log_;
  std::string log_path_;
  int64_t base_bytes_ = 0;
  int64_t log_bytes_ = 0;
};

}  // namespace spillway
