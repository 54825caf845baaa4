#include "controlplane/api/history_service.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "common/config/resource.h"
#include "controlplane/api/change_set.h"
#include "controlplane/api/merge.h"

namespace spillway::api {
namespace {

constexpr int kRevisionsDefault = 50;
constexpr int kRevisionsMax = 1'000;

using PastState = std::map<EntryKey, std::string>;
using KeysByName = std::map<std::string, v1::Key>;

Result<void> AddDifference(const EntryKey& key, const std::string* before, const std::string* after,
                           v1::ApplyResponse& response) {
  if (before == nullptr) {
    *response.add_changes() = ChangeOf(v1::Change::ACTION_CREATE, key.first, key.second);
  } else if (after == nullptr) {
    *response.add_changes() = ChangeOf(v1::Change::ACTION_DELETE, key.first, key.second);
  } else if (*before != *after) {
    SW_TRY(const v1::Resource was, ParseStored(key, *before));
    SW_TRY(const v1::Resource is, ParseStored(key, *after));
    *response.add_changes() = UpdateOf(was, is);
  }
  return {};
}

const std::string* Find(const PastState& state, const EntryKey& key) {
  const auto it = state.find(key);
  return it == state.end() ? nullptr : &it->second;
}

// The last state of every key that changed after the target: what a deleted key had at its end. A
// revocation seen on the way stays.
Result<KeysByName> LastStates(const std::vector<CommittedRevision>& revisions) {
  KeysByName last;
  for (const CommittedRevision& revision : revisions) {
    for (const v1::Entry& entry : revision.upserts) {
      if (entry.kind() != v1::KIND_KEY) continue;
      SW_TRY(v1::Resource resource, config::FromEntry(entry));
      v1::Key& known = last[entry.name()];
      const bool revoked = known.revoked();
      known = std::move(*resource.mutable_key());
      known.set_revoked(known.revoked() || revoked);
    }
  }
  return last;
}

void KeepWhatIsForEver(v1::Key& key, const v1::Key& newer) {
  *key.mutable_secrets() = newer.secrets();
  key.set_revoked(key.revoked() || newer.revoked());
}

// A rollback changes no spend: what counts the same keeps its accounts; a freeze and a raise are as
// they are now.
void KeepAccounts(v1::Budget& past, const v1::Budget& stored) {
  if (CountsAlike(past, stored)) past.set_id(stored.id());
  past.set_frozen(stored.frozen());
  past.set_raise_nanos(stored.raise_nanos());
  past.set_raise_until_ms(stored.raise_until_ms());
}

class RollbackPlan {
 public:
  RollbackPlan(const ConfigStore::State& now, const PastState& then, const KeysByName& last)
      : now_(now), then_(then), last_(last), set_(now) {}

  Outcome<ChangeSet> Make() && {
    for (const auto& [key, bytes] : then_) {
      const auto current = now_.find(key);
      if (current != now_.end() && current->second.bytes == bytes) continue;
      SW_TRY(v1::Resource resource, ParseStored(key, bytes));
      if (resource.has_budget() && current != now_.end()) {
        SW_TRY(const v1::Resource stored, ParseStored(key, current->second.bytes));
        KeepAccounts(*resource.mutable_budget(), stored.budget());
      }
      if (!resource.has_key()) {
        SW_CHECK(set_.Put(resource));
      } else {
        SW_CHECK(BringBackKey(std::move(resource)));
      }
    }
    for (const auto& [key, entry] : now_) {
      if (then_.contains(key)) continue;
      SW_TRY(const bool touched, MayTouch(key, entry));
      if (touched) set_.Remove(key.first, key.second);
    }
    return std::move(set_);
  }

 private:
  static Result<bool> MayTouch(const EntryKey& key, const StoredEntry& entry) {
    if (key.first != v1::KIND_KEY) return true;
    SW_TRY(const v1::Resource resource, ParseStored(key, entry.bytes));
    return resource.key().declared();
  }

  Result<void> BringBackKey(v1::Resource past) {
    v1::Key& key = *past.mutable_key();
    const auto current = now_.find({v1::KIND_KEY, key.name()});
    if (current == now_.end()) {
      if (!key.declared()) return {};
      if (const auto last = last_.find(key.name()); last != last_.end()) {
        KeepWhatIsForEver(key, last->second);
      }
      return set_.Put(past);
    }
    SW_TRY(const v1::Resource stored, ParseStored(current->first, current->second.bytes));
    if (!stored.key().declared()) return {};
    // The one of that time may be another key of the same name: its revocation is not this one's.
    key.set_revoked(false);
    KeepWhatIsForEver(key, stored.key());
    return set_.Put(past);
  }

  const ConfigStore::State& now_;
  const PastState& then_;
  const KeysByName& last_;
  ChangeSet set_;
};

}  // namespace

Outcome<v1::ListRevisionsResponse> HistoryService::List(
    const v1::ListRevisionsRequest& request) const {
  const int limit =
      request.limit() <= 0 ? kRevisionsDefault : std::min(request.limit(), kRevisionsMax);
  SW_TRY(const std::vector<v1::Revision> revisions, store_.ListRevisions(limit));
  v1::ListRevisionsResponse response;
  for (const v1::Revision& revision : revisions) *response.add_revisions() = revision;
  return response;
}

Outcome<v1::ApplyResponse> HistoryService::Diff(const v1::DiffRevisionsRequest& request) const {
  const int64_t to = request.to() == 0 ? store_.position().revision() : request.to();
  SW_TRY(const PastState before, store_.StateAt(request.from()));
  SW_TRY(const PastState after, store_.StateAt(to));
  std::set<EntryKey> keys;
  for (const auto& [key, bytes] : before) keys.insert(key);
  for (const auto& [key, bytes] : after) keys.insert(key);
  v1::ApplyResponse response;
  response.set_revision(to);
  for (const EntryKey& key : keys) {
    SW_CHECK(AddDifference(key, Find(before, key), Find(after, key), response));
  }
  return response;
}

Outcome<v1::ApplyResponse> HistoryService::Rollback(const v1::RollbackRequest& request,
                                                    const std::string& author) {
  if (request.revision() <= 0) {
    return RefuseInvalid({MakeViolation("", "revision", std::to_string(request.revision()),
                                        "must be one that `spillway revisions list` names")});
  }
  PastState then;
  KeysByName last;
  const auto prepare = [&]() -> Outcome<void> {
    SW_TRY(then, store_.StateAt(request.revision()));
    SW_TRY(const std::vector<CommittedRevision> since, store_.RevisionsAfter(request.revision()));
    SW_TRY(last, LastStates(since));
    return {};
  };
  const auto decide = [&](const ConfigStore::State& now) {
    return RollbackPlan(now, then, last).Make();
  };
  return writer_.Commit(
      {.author = author,
       .summary = "rolled back to revision " + std::to_string(request.revision())},
      decide, prepare);
}

}  // namespace spillway::api
