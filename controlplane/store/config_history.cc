#include <algorithm>
#include <ranges>
#include <utility>

#include "controlplane/store/config_store.h"
#include "controlplane/store/config_store_rep.h"

namespace spillway {
namespace {

constexpr int kRevisionsListedDefault = 50;
constexpr int kRevisionsListedMax = 10'000;

struct RevisionRow {
  std::string digest;
  v1::Revision record;
};

Result<RevisionRow> ReadRevision(const Store& store, int64_t revision) {
  SW_TRY(const auto row, store.Get(Table::kRevisions, BigEndian(revision)));
  RevisionRow read;
  if (!row || row->size() < kDigestBytes ||
      !read.record.ParseFromArray(row->data() + kDigestBytes,
                                  static_cast<int>(row->size() - kDigestBytes))) {
    return Fail(ErrorCode::kCorrupt,
                "store: revision " + std::to_string(revision) + " cannot be read");
  }
  read.digest = row->substr(0, kDigestBytes);
  return read;
}

// What a revision replaced: nullopt where there was nothing.
using Replaced = std::map<EntryKey, std::optional<std::string>>;

Result<Replaced> ReadReplaced(const Store& store, int64_t revision) {
  Replaced replaced;
  const std::string prefix = BigEndian(revision);
  bool readable = true;
  SW_CHECK(store.Scan(Table::kHistory, prefix, "", [&](std::string_view key, std::string_view row) {
    readable = key.size() >= prefix.size() + 2 && (row.empty() || row.size() >= 8);
    if (!readable) return false;
    std::optional<std::string> bytes;
    if (!row.empty()) bytes = std::string(row.substr(8));
    replaced[EntryKeyOf(key.substr(prefix.size()))] = std::move(bytes);
    return true;
  }));
  if (!readable) return Fail(ErrorCode::kCorrupt, "store: a row of the history cannot be read");
  return replaced;
}

Result<v1::Position> PositionAt(const Store& store, const std::string& cluster_id,
                                int64_t revision) {
  v1::Position position;
  position.set_cluster_id(cluster_id);
  position.set_digest(StateDigest().Bytes());
  if (revision == 0) return position;
  SW_TRY(const RevisionRow row, ReadRevision(store, revision));
  position.set_epoch(row.record.epoch());
  position.set_revision(revision);
  position.set_digest(row.digest);
  return position;
}

}  // namespace

Result<std::vector<v1::Revision>> ConfigStore::ListRevisions(int limit) const {
  if (limit <= 0) limit = kRevisionsListedDefault;
  limit = std::min(limit, kRevisionsListedMax);
  std::vector<int64_t> numbers;
  {
    const std::shared_lock lock(rep_->mutex);
    const auto wanted = std::min<size_t>(rep_->revisions.size(), static_cast<size_t>(limit));
    numbers.assign(rep_->revisions.rbegin(),
                   rep_->revisions.rbegin() + static_cast<ptrdiff_t>(wanted));
  }
  std::vector<v1::Revision> list;
  for (const int64_t number : numbers) {
    SW_TRY(RevisionRow row, ReadRevision(store_, number));
    list.push_back(std::move(row.record));
  }
  return list;
}

Result<std::map<EntryKey, std::string>> ConfigStore::StateAt(int64_t revision) const {
  std::map<EntryKey, std::string> state;
  std::vector<int64_t> later;
  {
    const std::shared_lock lock(rep_->mutex);
    const auto& all = rep_->revisions;
    if (revision != 0 && !std::ranges::binary_search(all, revision)) {
      return Fail(ErrorCode::kNotFound, "there is no revision " + std::to_string(revision) +
                                            ": the newest is " +
                                            std::to_string(rep_->position.revision()));
    }
    for (const auto& [key, stored] : rep_->state)
      state.emplace_hint(state.end(), key, stored.bytes);
    later.assign(std::ranges::upper_bound(all, revision), all.end());
  }
  // Undone newest first; rows of committed revisions never change, so no lock is needed.
  for (const int64_t number : later | std::views::reverse) {
    SW_TRY(Replaced replaced, ReadReplaced(store_, number));
    for (auto& [key, bytes] : replaced) {
      if (bytes) {
        state[key] = *std::move(bytes);
      } else {
        state.erase(key);
      }
    }
  }
  return state;
}

Result<std::vector<CommittedRevision>> ConfigStore::RevisionsAfter(int64_t revision) const {
  // No commit meanwhile: what is current is read row by row.
  const std::lock_guard writer(rep_->writer);
  std::vector<int64_t> numbers;  // ascending, the one before the first wanted in front
  Replaced after;                // what each resource touched later looked like then
  {
    const std::shared_lock lock(rep_->mutex);
    const auto& all = rep_->revisions;
    const auto first = std::ranges::upper_bound(all, revision);
    numbers.push_back(first == all.begin() ? 0 : *(first - 1));
    numbers.insert(numbers.end(), first, all.end());
  }
  std::vector<CommittedRevision> revisions;
  SW_TRY(v1::Position position, PositionAt(store_, cluster_id_, numbers.back()));
  for (size_t i = numbers.size() - 1; i > 0; --i) {
    SW_TRY(Replaced replaced, ReadReplaced(store_, numbers[i]));
    SW_TRY(v1::Position base, PositionAt(store_, cluster_id_, numbers[i - 1]));
    SW_TRY(const RevisionRow row, ReadRevision(store_, numbers[i]));
    CommittedRevision committed;
    committed.position = position;
    committed.base = base;
    committed.committed_at_ms = row.record.committed_at_ms();
    for (auto& [key, before] : replaced) {
      auto at = after.find(key);
      if (at == after.end()) {
        SW_TRY(auto current, store_.Get(Table::kResources, RowKey(key)));
        at = after.emplace(key, current ? std::optional(current->substr(8)) : std::nullopt).first;
      }
      if (at->second) {
        v1::Entry& entry = committed.upserts.emplace_back();
        entry.set_kind(key.first);
        entry.set_name(key.second);
        entry.set_bytes(*at->second);
      } else {
        v1::EntryName& name = committed.removals.emplace_back();
        name.set_kind(key.first);
        name.set_name(key.second);
      }
      at->second = std::move(before);
    }
    revisions.push_back(std::move(committed));
    position = std::move(base);
  }
  std::ranges::reverse(revisions);
  return revisions;
}

}  // namespace spillway
