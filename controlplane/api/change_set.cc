#include "controlplane/api/change_set.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "common/config/prices.h"
#include "common/config/resource.h"
#include "common/config/validate.h"
#include "controlplane/api/references.h"

namespace spillway::api {
namespace {

// Above this many keys the check of the whole state costs less than one by one.
constexpr size_t kFewKeysMax = 64;

bool IsRemoval(const v1::Change& change) { return change.action() == v1::Change::ACTION_DELETE; }

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

void ChangeSet::Record(EntryKey key, Step step) {
  const auto [known, fresh] = touched_.try_emplace(std::move(key), steps_.size());
  if (fresh) {
    steps_.push_back(std::move(step));
  } else {
    steps_[known->second] = std::move(step);
  }
}

Result<void> ChangeSet::Put(const v1::Resource& resource) {
  v1::Entry entry = config::ToEntry(resource);
  prices_named_ |= entry.kind() == v1::KIND_MODEL || entry.kind() == v1::KIND_PRICE_BOOK;
  EntryKey key{entry.kind(), entry.name()};
  const auto stored = state_->find(key);
  v1::Change change;
  if (stored == state_->end()) {
    change = ChangeOf(v1::Change::ACTION_CREATE, entry.kind(), entry.name());
  } else {
    if (stored->second.bytes == entry.bytes()) {
      touched_.erase(key);
      return {};
    }
    SW_TRY(const v1::Resource before, ParseStored(key, stored->second.bytes));
    change = UpdateOf(before, resource);
  }
  Record(std::move(key),
         {.change = std::move(change), .entry = std::move(entry), .resource = resource});
  return {};
}

void ChangeSet::Remove(v1::Kind kind, const std::string& name) {
  EntryKey key{kind, name};
  if (!state_->contains(key)) return;
  prices_named_ |= kind == v1::KIND_PRICE_BOOK;
  v1::Entry entry;
  entry.set_kind(kind);
  entry.set_name(name);
  Record(std::move(key), {.change = ChangeOf(v1::Change::ACTION_DELETE, kind, name),
                          .entry = std::move(entry),
                          .resource = {}});
}

Result<void> ChangeSet::ResolvePrices() {
  if (!prices_named_) return {};
  std::vector<v1::Resource> priced;
  SW_CHECK(AppendKind(v1::KIND_MODEL, priced));
  SW_CHECK(AppendKind(v1::KIND_PRICE_BOOK, priced));
  config::ResolvePrices(priced);
  for (const v1::Resource& resource : priced) {
    if (resource.has_model()) SW_CHECK(Put(resource));
  }
  return {};
}

std::vector<v1::Change> ChangeSet::changes() const {
  std::vector<size_t> in_force;
  in_force.reserve(touched_.size());
  for (const auto& [key, step] : touched_) in_force.push_back(step);
  std::ranges::sort(in_force);
  std::vector<v1::Change> changes;
  changes.reserve(in_force.size());
  for (const size_t step : in_force) changes.push_back(steps_[step].change);
  return changes;
}

bool ChangeSet::OnlyFewKeys() const {
  return touched_.size() <= kFewKeysMax && std::ranges::all_of(touched_, [](const auto& touched) {
           return touched.first.first == v1::KIND_KEY;
         });
}

Result<void> ChangeSet::AppendKind(v1::Kind kind, std::vector<v1::Resource>& out) const {
  for (auto it = state_->lower_bound({kind, ""}); it != state_->end() && it->first.first == kind;
       ++it) {
    if (touched_.contains(it->first)) continue;
    SW_TRY(v1::Resource resource, ParseStored(it->first, it->second.bytes));
    out.push_back(std::move(resource));
  }
  for (auto it = touched_.lower_bound({kind, ""}); it != touched_.end() && it->first.first == kind;
       ++it) {
    const v1::Resource& resource = steps_[it->second].resource;
    if (resource.kind_case() != v1::Resource::KIND_NOT_SET) out.push_back(resource);
  }
  return {};
}

Result<void> ChangeSet::AppendScopesOfGone(v1::Kind kind, std::vector<v1::Resource>& out) const {
  for (auto it = state_->lower_bound({kind, ""}); it != state_->end() && it->first.first == kind;
       ++it) {
    SW_TRY(v1::Resource resource, ParseStored(it->first, it->second.bytes));
    const v1::Scope& scope =
        resource.has_budget() ? resource.budget().scope() : resource.rate_limit().scope();
    const auto touched = touched_.find({v1::KIND_KEY, scope.key()});
    if (touched == touched_.end() || !IsRemoval(steps_[touched->second].change)) continue;
    out.push_back(std::move(resource));
  }
  return {};
}

Result<std::vector<v1::Resource>> ChangeSet::WholeResult() const {
  std::vector<v1::Resource> whole;
  whole.reserve(state_->size() + touched_.size());
  for (const v1::Kind kind : config::AllKinds()) SW_CHECK(AppendKind(kind, whole));
  return whole;
}

Result<std::vector<v1::Resource>> ChangeSet::Neighbourhood() const {
  std::vector<v1::Resource> found;
  std::set<EntryKey> seen;
  bool any_gone = false;
  for (const auto& [key, step] : touched_) {
    seen.insert(key);
    any_gone |= IsRemoval(steps_[step].change);
    if (!IsRemoval(steps_[step].change)) found.push_back(steps_[step].resource);
  }
  if (any_gone) {
    SW_CHECK(AppendScopesOfGone(v1::KIND_BUDGET, found));
    SW_CHECK(AppendScopesOfGone(v1::KIND_RATE_LIMIT, found));
  }
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
    const auto n = std::ranges::count_if(touched_, [&](const auto& touched) {
      return steps_[touched.second].change.action() == action;
    });
    if (n == 0) continue;
    if (!summary.empty()) summary += ", ";
    summary += std::to_string(n) + " " + std::string(word);
  }
  return summary;
}

ConfigChange ChangeSet::Take(std::string author, std::string summary) && {
  if (summary.empty()) summary = CountedSummary();
  ConfigChange change{.upserts = {},
                      .removals = {},
                      .author = std::move(author),
                      .summary = std::move(summary),
                      .changes = changes()};
  for (const auto& [key, number] : touched_) {
    Step& step = steps_[number];
    if (IsRemoval(step.change)) {
      v1::EntryName& removal = change.removals.emplace_back();
      removal.set_kind(key.first);
      removal.set_name(key.second);
    } else {
      change.upserts.push_back(std::move(step.entry));
    }
  }
  return change;
}

}  // namespace spillway::api
