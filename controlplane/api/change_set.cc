#include "controlplane/api/change_set.h"

#include <algorithm>
#include <array>
#include <utility>

#include "common/config/resource.h"
#include "common/config/validate.h"
#include "controlplane/api/references.h"

namespace spillway::api {
namespace {

// Above this many keys the check of the whole state costs less than one by one.
constexpr size_t kFewKeysMax = 64;

}  // namespace

Result<v1::Resource> ParseStored(const EntryKey& key, const std::string& bytes) {
  v1::Entry entry;
  entry.set_kind(key.first);
  entry.set_name(key.second);
  entry.set_bytes(bytes);
  return config::FromEntry(entry);
}

std::string PlaceOf(v1::Kind kind, std::string_view name) {
  return std::string(config::NameOf(kind)) + "/" + std::string(name);
}

v1::Change ChangeOf(v1::Change::Action action, v1::Kind kind, const std::string& name) {
  v1::Change change;
  change.set_action(action);
  change.set_kind(kind);
  change.set_name(name);
  return change;
}

v1::Change UpdateOf(const v1::Resource& before, const v1::Resource& after) {
  v1::Change change =
      ChangeOf(v1::Change::ACTION_UPDATE, config::KindOf(after), config::NameOf(after));
  for (v1::FieldChange& row : config::DiffFields(before, after)) {
    *change.add_fields() = std::move(row);
  }
  return change;
}

Result<void> ChangeSet::Put(const v1::Resource& resource) {
  v1::Entry entry = config::ToEntry(resource);
  EntryKey key{entry.kind(), entry.name()};
  const auto stored = state_->find(key);
  if (stored == state_->end()) {
    changes_.push_back(ChangeOf(v1::Change::ACTION_CREATE, entry.kind(), entry.name()));
  } else {
    if (stored->second.bytes == entry.bytes()) return {};
    SW_TRY(const v1::Resource before, ParseStored(key, stored->second.bytes));
    changes_.push_back(UpdateOf(before, resource));
  }
  touched_.insert(std::move(key));
  upserts_.push_back(std::move(entry));
  after_.push_back(resource);
  return {};
}

void ChangeSet::Remove(v1::Kind kind, const std::string& name) {
  EntryKey key{kind, name};
  if (!state_->contains(key)) return;
  touched_.insert(std::move(key));
  v1::EntryName& removal = removals_.emplace_back();
  removal.set_kind(kind);
  removal.set_name(name);
  changes_.push_back(ChangeOf(v1::Change::ACTION_DELETE, kind, name));
}

bool ChangeSet::OnlyFewKeys() const {
  return upserts_.size() <= kFewKeysMax && std::ranges::all_of(touched_, [](const EntryKey& key) {
           return key.first == v1::KIND_KEY;
         });
}

Result<std::vector<v1::Resource>> ChangeSet::WholeResult() const {
  std::vector<v1::Resource> whole;
  whole.reserve(state_->size() + after_.size());
  for (const auto& [key, entry] : *state_) {
    if (touched_.contains(key)) continue;
    SW_TRY(v1::Resource resource, ParseStored(key, entry.bytes));
    whole.push_back(std::move(resource));
  }
  whole.insert(whole.end(), after_.begin(), after_.end());
  return whole;
}

Result<std::vector<v1::Resource>> ChangeSet::Neighbourhood() const {
  std::vector<v1::Resource> found = after_;
  std::set<EntryKey> seen = touched_;
  // `found` grows while it is walked: what a resource refers to is looked at in its turn.
  for (size_t i = 0; i < found.size(); ++i) {
    for (EntryKey& key : ReferencesOf(found[i])) {
      const auto stored = state_->find(key);
      if (stored == state_->end() || !seen.insert(key).second) continue;
      SW_TRY(v1::Resource resource, ParseStored(key, stored->second.bytes));
      found.push_back(std::move(resource));
    }
  }
  return found;
}

Result<std::vector<v1::Violation>> ChangeSet::Check() const {
  SW_TRY(std::vector<v1::Resource> resources, OnlyFewKeys() ? Neighbourhood() : WholeResult());
  return config::Validate(std::move(resources)).violations;
}

std::string ChangeSet::CountedSummary() const {
  constexpr std::array<std::pair<v1::Change::Action, std::string_view>, 3> kWords{
      {{v1::Change::ACTION_CREATE, "created"},
       {v1::Change::ACTION_UPDATE, "updated"},
       {v1::Change::ACTION_DELETE, "deleted"}}};
  std::string summary;
  for (const auto& [action, word] : kWords) {
    const auto n = std::ranges::count_if(
        changes_, [action](const v1::Change& change) { return change.action() == action; });
    if (n == 0) continue;
    if (!summary.empty()) summary += ", ";
    summary += std::to_string(n) + " " + std::string(word);
  }
  return summary;
}

ConfigChange ChangeSet::Take(std::string author, std::string summary) && {
  if (summary.empty()) summary = CountedSummary();
  return {.upserts = std::move(upserts_),
          .removals = std::move(removals_),
          .author = std::move(author),
          .summary = std::move(summary),
          .changes = std::move(changes_)};
}

}  // namespace spillway::api
