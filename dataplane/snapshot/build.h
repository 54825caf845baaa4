#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "common/error.h"
#include "dataplane/snapshot/entry_list.h"
#include "dataplane/snapshot/limits.h"
#include "dataplane/snapshot/snapshot.h"
#include "dataplane/snapshot/tables.h"
#include "spillway/v1/snapshot.pb.h"

namespace spillway {

struct BuildOptions {
  SecretRules secrets = {};
  SnapshotLimits limits = {};
  // Standalone: nobody signed a digest; it is computed instead of compared.
  bool compute_digest = false;
};

using SnapshotPtr = std::shared_ptr<const Snapshot>;

// A snapshot out of a whole state. The digest of the entries must equal the position's. About 2 µs
// a key. Refusals (refusal.h): kOversized, kCorrupt, kInvalid; never a half-built snapshot. Any
// thread.
Result<SnapshotPtr> Build(std::span<const EntryView> entries, const v1::Position& position,
                          const BuildOptions& options);

// The next snapshot after a delta whose base is this one: copies only the shards of the keys named;
// other resources rebuild the small tables, and keys only where they refer to what changed.
// Removing what is not there is no error by itself: the digest decides. Refusals as above, and
// kMissing when the delta has another base.
Result<SnapshotPtr> Apply(const Snapshot& base, const v1::Delta& delta,
                          const BuildOptions& options);

// The same state at a position that differs in its epoch only.
SnapshotPtr WithPosition(const Snapshot& snapshot, const v1::Position& position);

// What a revision that must not run knows of keys: name to serialised Key; empty bytes: removed.
struct KeyRestrictions {
  std::map<std::string, std::string> keys;
  bool whole = false;  // it names every key there is: those it does not name are removed
};
// The same state, but every key named is at most as good as there: revoked, expired and lost
// secrets stay so. The position and the entries stay the snapshot's own.
SnapshotPtr Restrict(const Snapshot& snapshot, const KeyRestrictions& restrictions);

// Every entry of the snapshot, as it was published; in no order.
void ForEachEntry(const Snapshot& snapshot, const std::function<void(const EntryView&)>& visit);
// The state as a serialised EntryList.
std::string SerializeEntries(const Snapshot& snapshot);

}  // namespace spillway
