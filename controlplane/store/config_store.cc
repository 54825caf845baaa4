#include "controlplane/store/config_store.h"

#include <algorithm>
#include <utility>

#include "common/ids.h"
#include "controlplane/store/config_store_rep.h"

namespace spillway {
namespace {

constexpr size_t kNameBytesMax = 512;
constexpr int kKindMax = 255;

v1::Entry MakeEntry(const EntryKey& key, const std::string& bytes) {
  v1::Entry entry;
  entry.set_kind(key.first);
  entry.set_name(key.second);
  entry.set_bytes(bytes);
  return entry;
}

// The last word on each resource: bytes, or nullopt for a removal.
using Wanted = std::map<EntryKey, std::optional<std::string>>;

Result<Wanted> WantedBy(const ConfigChange& change) {
  Wanted wanted;
  for (const v1::Entry& entry : change.upserts) {
    const bool usable = entry.kind() > 0 && entry.kind() <= kKindMax && !entry.name().empty() &&
                        entry.name().size() <= kNameBytesMax;
    if (!usable) return Fail(ErrorCode::kInvalidRequest, "a resource without kind or usable name");
    wanted[{entry.kind(), entry.name()}] = entry.bytes();
  }
  for (const v1::EntryName& name : change.removals) {
    wanted[{name.kind(), name.name()}] = std::nullopt;
  }
  return wanted;
}

}  // namespace

// What one transaction does, made before anything is touched.
struct ConfigStore::Plan {
  struct Row {
    EntryKey key;
    std::optional<std::string> bytes;  // nullopt: removed
  };
  int64_t revision = 0;
  std::vector<Row> rows;
  StateDigest digest;
  WriteBatch batch;
  CommittedRevision committed;
};

ConfigStore::ConfigStore(Store& store) : store_(store), rep_(std::make_shared<Rep>()) {}

Result<std::unique_ptr<ConfigStore>> ConfigStore::Open(Store& store) {
  std::unique_ptr<ConfigStore> config(new ConfigStore(store));
  SW_CHECK(config->LoadIdentity());
  SW_CHECK(config->Load());
  return config;
}

Result<void> ConfigStore::LoadIdentity() {
  SW_TRY(auto id, store_.Get(Table::kMeta, "cluster_id"));
  if (!id) {
    id = FreshId();
    WriteBatch batch;
    batch.Put(Table::kMeta, "cluster_id", *id);
    SW_CHECK(store_.Write(std::move(batch)));
  }
  cluster_id_ = *id;
  SW_TRY(const auto position, store_.Get(Table::kMeta, "config.position"));
  if (position && !rep_->position.ParseFromString(*position)) {
    return Fail(ErrorCode::kCorrupt, "store: the configuration's position cannot be read");
  }
  rep_->position.set_cluster_id(cluster_id_);
  if (!position) rep_->position.set_digest(rep_->digest.Bytes());
  return {};
}

Result<void> ConfigStore::Load() {
  bool readable = true;
  SW_CHECK(store_.Scan(Table::kResources, "", "", [&](std::string_view key, std::string_view row) {
    readable = key.size() >= 2 && row.size() >= 8;
    if (!readable) return false;
    EntryKey entry = EntryKeyOf(key);
    StoredEntry stored{.bytes = std::string(row.substr(8)), .revision = FromBigEndian(row)};
    rep_->digest.Add(entry.first, entry.second, stored.bytes);
    rep_->state.emplace_hint(rep_->state.end(), std::move(entry), std::move(stored));
    return true;
  }));
  SW_CHECK(store_.Scan(Table::kRevisions, "", "", [&](std::string_view key, std::string_view row) {
    readable = readable && key.size() == 8 && row.size() >= kDigestBytes;
    if (readable) rep_->revisions.push_back(FromBigEndian(key));
    return readable;
  }));
  if (!readable) return Fail(ErrorCode::kCorrupt, "store: a configuration row cannot be read");
  if (rep_->digest.Bytes() != rep_->position.digest()) {
    return Fail(ErrorCode::kCorrupt,
                "store: the configuration does not match its digest at revision " +
                    std::to_string(rep_->position.revision()) + ": restore a backup");
  }
  return {};
}

Result<int64_t> ConfigStore::Transact(int64_t epoch, int64_t now_ms, const Decide& decide) {
  return Commit(std::nullopt, epoch, now_ms, decide);
}

Result<int64_t> ConfigStore::TransactAbove(int64_t above, int64_t epoch, int64_t now_ms,
                                           const Decide& decide) {
  return Commit(above, epoch, now_ms, decide);
}

Result<int64_t> ConfigStore::Commit(std::optional<int64_t> above, int64_t epoch, int64_t now_ms,
                                    const Decide& decide) {
  std::unique_lock writer(rep_->writer);
  // Only this thread may change the state now: `decide` reads it without the readers' lock.
  const v1::Position& base = rep_->position;
  if (epoch <= 0) return Fail(ErrorCode::kUnavailable, "no epoch is claimed");
  if (epoch < base.epoch()) {
    return Fail(ErrorCode::kStale, "epoch " + std::to_string(epoch) + " is over: revision " +
                                       std::to_string(base.revision()) + " was committed under " +
                                       std::to_string(base.epoch()));
  }
  SW_TRY(const std::optional<ConfigChange> change, decide(rep_->state));
  if (!change && !above) return base.revision();
  Plan plan;
  plan.revision = std::max(base.revision(), above.value_or(0)) + 1;
  plan.committed.base = base;
  plan.committed.committed_at_ms = now_ms;
  v1::Position& next = plan.committed.position;
  next.set_cluster_id(cluster_id_);
  next.set_epoch(epoch);
  next.set_revision(plan.revision);
  SW_CHECK(Prepare(change.value_or(ConfigChange{}), plan));
  if (plan.rows.empty() && !above) return base.revision();
  SW_CHECK(store_.Write(std::move(plan.batch)));
  Adopt(plan);
  std::unique_lock notify(rep_->notify);
  writer.unlock();
  if (rep_->listener) rep_->listener(plan.committed);
  return plan.revision;
}

Result<void> ConfigStore::Prepare(const ConfigChange& change, Plan& plan) const {
  SW_TRY(Wanted wanted, WantedBy(change));
  plan.digest = rep_->digest;
  const std::string revision_key = BigEndian(plan.revision);
  for (auto& [key, bytes] : wanted) {
    const auto before = rep_->state.find(key);
    const bool present = before != rep_->state.end();
    const bool same = present ? bytes == before->second.bytes : !bytes;
    if (same) continue;
    const std::string row_key = RowKey(key);
    std::string previous;
    if (present) {
      previous = BigEndian(before->second.revision) + before->second.bytes;
      plan.digest.Subtract(key.first, key.second, before->second.bytes);
    }
    plan.batch.Put(Table::kHistory, revision_key + row_key, previous);
    if (bytes) {
      plan.digest.Add(key.first, key.second, *bytes);
      plan.batch.Put(Table::kResources, row_key, revision_key + *bytes);
      plan.committed.upserts.push_back(MakeEntry(key, *bytes));
    } else {
      plan.batch.Delete(Table::kResources, row_key);
      v1::EntryName& name = plan.committed.removals.emplace_back();
      name.set_kind(key.first);
      name.set_name(key.second);
    }
    plan.rows.push_back({key, std::move(bytes)});
  }
  v1::Position& position = plan.committed.position;
  position.set_digest(plan.digest.Bytes());
  v1::Revision record;
  record.set_revision(plan.revision);
  record.set_epoch(position.epoch());
  record.set_committed_at_ms(plan.committed.committed_at_ms);
  record.set_author(change.author);
  record.set_summary(change.summary);
  for (const v1::Change& one : change.changes) *record.add_changes() = one;
  plan.batch.Put(Table::kRevisions, revision_key, position.digest() + record.SerializeAsString());
  plan.batch.Put(Table::kMeta, "config.position", position.SerializeAsString());
  return {};
}

void ConfigStore::Adopt(Plan& plan) {
  const std::unique_lock lock(rep_->mutex);
  for (Plan::Row& row : plan.rows) {
    if (row.bytes) {
      rep_->state[std::move(row.key)] = {.bytes = *std::move(row.bytes), .revision = plan.revision};
    } else {
      rep_->state.erase(row.key);
    }
  }
  rep_->digest = plan.digest;
  rep_->position = plan.committed.position;
  rep_->revisions.push_back(plan.revision);
}

v1::Position ConfigStore::position() const {
  const std::shared_lock lock(rep_->mutex);
  return rep_->position;
}

void ConfigStore::Read(const std::function<void(const State&)>& read) const {
  const std::shared_lock lock(rep_->mutex);
  read(rep_->state);
}

void ConfigStore::ReadAt(const std::function<void(const State&, const v1::Position&)>& read) const {
  const std::shared_lock lock(rep_->mutex);
  read(rep_->state, rep_->position);
}

std::optional<StoredEntry> ConfigStore::Find(v1::Kind kind, const std::string& name) const {
  const std::shared_lock lock(rep_->mutex);
  const auto found = rep_->state.find({kind, name});
  if (found == rep_->state.end()) return std::nullopt;
  return found->second;
}

void ConfigStore::OnCommit(std::function<void(const CommittedRevision&)> listener) {
  const std::lock_guard lock(rep_->notify);
  rep_->listener = std::move(listener);
}

}  // namespace spillway
