#include "dataplane/snapshot/scope_index.h"

#include <algorithm>
#include <functional>

namespace spillway {
namespace {

using Dimension = ScopeSpec::Dimension;
using Tags = std::span<const std::pair<std::string, std::string>>;

// Those whose value is a field of facts and scopes alike.
constexpr std::array kFields = {Dimension::kOrganization, Dimension::kTeam,    Dimension::kUser,
                                Dimension::kKey,          Dimension::kFeature, Dimension::kRoute,
                                Dimension::kModel,        Dimension::kProvider};

// Of facts, and of what a scope names.
template <typename Fields>
std::string_view FieldOf(const Fields& fields, Dimension dimension) {
  switch (dimension) {
    case Dimension::kOrganization:
      return fields.organization;
    case Dimension::kTeam:
      return fields.team;
    case Dimension::kUser:
      return fields.user;
    case Dimension::kKey:
      return fields.key;
    case Dimension::kFeature:
      return fields.feature;
    case Dimension::kRoute:
      return fields.route;
    case Dimension::kModel:
      return fields.model;
    case Dimension::kProvider:
      return fields.provider;
    case Dimension::kTag:
    case Dimension::kNone:
      return {};
  }
  return {};
}

// Empty: there is no such tag.
std::string_view TagOf(Tags tags, std::string_view name) {
  const auto found =
      std::ranges::find(tags, name, [](const auto& tag) -> std::string_view { return tag.first; });
  return found == tags.end() ? std::string_view() : std::string_view(found->second);
}

}  // namespace

std::string_view SubjectOf(const ScopeSpec& scope, const Facts& facts) {
  if (scope.each == Dimension::kTag) return TagOf(facts.tags, scope.each_tag);
  return FieldOf(facts, scope.each);
}

bool Matches(const ScopeSpec& scope, const Facts& facts) {
  for (const Dimension dimension : kFields) {
    const std::string_view named = FieldOf(scope, dimension);
    if (!named.empty() && named != FieldOf(facts, dimension)) return false;
  }
  for (const auto& [name, value] : scope.tags)
    if (TagOf(facts.tags, name) != value) return false;
  return scope.each == Dimension::kNone || !SubjectOf(scope, facts).empty();
}

size_t ScopeIndex::KeyHash::operator()(const Key& key) const noexcept {
  constexpr size_t kMix = 0x9E3779B97F4A7C15;
  const std::hash<std::string_view> hash;
  size_t mixed = static_cast<size_t>(key.dimension) * kMix;
  if (!key.tag.empty()) mixed = (mixed ^ hash(key.tag)) * kMix;
  return mixed ^ hash(key.value);
}

// Every value that the scope names; without one its `each`; without that the key of everything.
void ScopeIndex::AppendKeys(const ScopeSpec& scope, std::vector<Key>& keys) {
  const size_t before = keys.size();
  for (const Dimension dimension : kFields) {
    const std::string_view named = FieldOf(scope, dimension);
    if (!named.empty()) keys.push_back({.dimension = dimension, .tag = {}, .value = named});
  }
  for (const auto& [name, value] : scope.tags)
    keys.push_back({.dimension = Dimension::kTag, .tag = name, .value = value});
  if (keys.size() == before)
    keys.push_back({.dimension = scope.each, .tag = scope.each_tag, .value = {}});
}

// For each scope its rarest value.
std::vector<ScopeIndex::Key> ScopeIndex::ChooseKeys() const {
  boost::unordered_flat_map<Key, uint32_t, KeyHash> named_by;
  std::vector<Key> keys;
  for (const ScopeSpec* scope : scopes_) {
    keys.clear();
    AppendKeys(*scope, keys);
    for (const Key& key : keys) ++named_by[key];
  }
  std::vector<Key> chosen;
  chosen.reserve(scopes_.size());
  for (const ScopeSpec* scope : scopes_) {
    keys.clear();
    AppendKeys(*scope, keys);
    chosen.push_back(*std::ranges::min_element(
        keys, {}, [&](const Key& key) { return named_by.find(key)->second; }));
  }
  return chosen;
}

ScopeIndex::ScopeIndex(std::vector<const ScopeSpec*> scopes) : scopes_(std::move(scopes)) {
  const std::vector<Key> chosen = ChooseKeys();
  for (const Key& key : chosen) {
    ++buckets_[key].count;
    named_[static_cast<size_t>(key.dimension)] = true;
  }
  uint32_t begin = 0;
  for (auto& [key, bucket] : buckets_) {
    bucket.begin = begin;
    begin += std::exchange(bucket.count, 0);
  }
  numbers_.resize(scopes_.size());
  for (uint32_t number = 0; number < chosen.size(); ++number) {
    Bucket& bucket = buckets_[chosen[number]];
    numbers_[bucket.begin + bucket.count++] = number;
  }
}

void ScopeIndex::Collect(const Key& key, const Facts& facts, std::vector<uint32_t>& out) const {
  const auto found = buckets_.find(key);
  if (found == buckets_.end()) return;
  const Bucket& bucket = found->second;
  for (const uint32_t number : std::span(numbers_).subspan(bucket.begin, bucket.count))
    if (Matches(*scopes_[number], facts)) out.push_back(number);
}

std::vector<uint32_t> ScopeIndex::Match(const Facts& facts) const {
  std::vector<uint32_t> out;
  const auto named = [this](Dimension dimension) { return named_[static_cast<size_t>(dimension)]; };
  if (named(Dimension::kNone)) Collect({}, facts, out);
  for (const Dimension dimension : kFields) {
    const std::string_view value = FieldOf(facts, dimension);
    if (value.empty() || !named(dimension)) continue;
    Collect({.dimension = dimension, .tag = {}, .value = value}, facts, out);
    Collect({.dimension = dimension, .tag = {}, .value = {}}, facts, out);
  }
  if (named(Dimension::kTag)) {
    for (const auto& [name, value] : facts.tags) {
      Collect({.dimension = Dimension::kTag, .tag = name, .value = value}, facts, out);
      if (!value.empty())
        Collect({.dimension = Dimension::kTag, .tag = name, .value = {}}, facts, out);
    }
  }
  std::ranges::sort(out);
  // Facts that hold a tag twice find its scopes twice.
  out.erase(std::ranges::unique(out).begin(), out.end());
  return out;
}

}  // namespace spillway
