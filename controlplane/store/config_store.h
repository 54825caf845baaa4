#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/error.h"
#include "controlplane/store/store.h"
#include "spillway/v1/admin.pb.h"
#include "spillway/v1/resources.pb.h"
#include "spillway/v1/snapshot.pb.h"

namespace spillway {

using EntryKey = std::pair<v1::Kind, std::string>;

// A resource as it is stored and published: the bytes are made once and never re-serialised.
struct StoredEntry {
  std::string bytes;
  int64_t revision = 0;  // that last changed it
};

// What one transaction wants: full new bytes per resource, or a removal.
struct ConfigChange {
  std::vector<v1::Entry> upserts;
  std::vector<v1::EntryName> removals;
  std::string author;
  std::string summary;
  std::vector<v1::Change> changes;  // for the audit: already rendered, without secrets
};

// A committed revision, as the publisher needs it.
struct CommittedRevision {
  v1::Position base;
  v1::Position position;
  std::vector<v1::Entry> upserts;
  std::vector<v1::EntryName> removals;
  int64_t committed_at_ms = 0;
};

// The configuration's current state and history, in memory and in the store. Thread-safe. Writers
// are serialised: Transact runs `decide` on the current state under the writers' lock, commits what
// it returns as one revision (one synced batch: resources, history, audit, revision counter,
// digest), then tells the listener. The digest is kept current step by step and verified in full on
// Open.
class ConfigStore {
 public:
  using State = std::map<EntryKey, StoredEntry>;
  static Result<std::unique_ptr<ConfigStore>> Open(Store& store);

  // `decide` sees the state and returns the change; nullopt: nothing to change (the current
  // revision is returned). `now_ms` stamps the revision.
  using Decide = std::function<Result<std::optional<ConfigChange>>(const State&)>;
  Result<int64_t> Transact(int64_t epoch, int64_t now_ms, const Decide& decide);
  // The same, but the revision's number lies above `above` too, and a revision is made even when
  // nothing changes: how another history's revisions are left behind after a restore.
  Result<int64_t> TransactAbove(int64_t above, int64_t epoch, int64_t now_ms, const Decide& decide);

  v1::Position position() const;
  // Runs `read` under the readers' lock; keep it short.
  void Read(const std::function<void(const State&)>& read) const;
  // The same, with the position that the state has.
  void ReadAt(const std::function<void(const State&, const v1::Position&)>& read) const;
  std::optional<StoredEntry> Find(v1::Kind kind, const std::string& name) const;

  Result<std::vector<v1::Revision>> ListRevisions(int limit) const;  // newest first
  // The state as it was at a revision; kNotFound when it is not known any more.
  Result<std::map<EntryKey, std::string>> StateAt(int64_t revision) const;
  // The revisions after `revision`, oldest first, for the publisher to resume.
  Result<std::vector<CommittedRevision>> RevisionsAfter(int64_t revision) const;

  // Called after every commit, outside the lock, in order; one listener (the publisher). It must
  // not commit anything itself.
  void OnCommit(std::function<void(const CommittedRevision&)> listener);

  // cluster_id is made at the first open and never changes.
  const std::string& cluster_id() const { return cluster_id_; }

 private:
  struct Plan;
  explicit ConfigStore(Store& store);
  Result<void> Load();
  Result<void> LoadIdentity();
  Result<int64_t> Commit(std::optional<int64_t> above, int64_t epoch, int64_t now_ms,
                         const Decide& decide);
  Result<void> Prepare(const ConfigChange& change, Plan& plan) const;
  void Adopt(Plan& plan);
  Store& store_;
  std::string cluster_id_;
  struct Rep;
  std::shared_ptr<Rep> rep_;
};

}  // namespace spillway
