#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/error.h"
#include "dataplane/snapshot/build.h"
#include "dataplane/snapshot/proof.h"

namespace spillway {

// States one after the other, as they were fetched or read: a full one, or none (then the deltas
// follow a snapshot that is there already), and deltas without a hole.
struct Lineage {
  std::optional<FullState> full;
  std::vector<ProvenDelta> deltas;
};

// kMissing when a delta does not follow what stands before it (`base`, without a full state).
Result<void> CheckChain(const Lineage& lineage, const Snapshot* base);

// What a lineage came to.
struct Materialized {
  SnapshotPtr snapshot;    // nullptr: no revision of it may run
  std::string proof;       // Signed, of the snapshot's position
  size_t deltas_used = 0;  // the first so many are in the snapshot
  v1::Position held;       // the newest quarantined revision behind it; revision 0: none
  std::vector<KeyRestrictions>
      restrictions;  // what the quarantined ones know of keys, oldest first
};

struct LineageRules {
  // Revisions that must not run.
  std::function<bool(int64_t revision)> quarantined = [](int64_t) { return false; };
  // Called before a snapshot is compiled: from here on a crash is this revision's.
  std::function<void(int64_t revision)> before_build = [](int64_t) {};
};

// Builds the newest revision of the lineage that may run, once, however many deltas lead to it; the
// digest of the result proves them all. `base` is what the deltas follow when there is no full
// state. Refusals: as Build and Apply; kMissing when the deltas do not follow one another.
Result<Materialized> Materialize(const Lineage& lineage, const Snapshot* base,
                                 const BuildOptions& options, const LineageRules& rules);

// Applies restrictions one after the other; the snapshot itself when there are none.
SnapshotPtr RestrictAll(SnapshotPtr snapshot, const std::vector<KeyRestrictions>& restrictions);

}  // namespace spillway
