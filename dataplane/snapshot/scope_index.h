#pragma once

#include <array>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dataplane/snapshot/snapshot.h"

namespace spillway {

// Whether a request of these facts falls under the scope.
bool Matches(const ScopeSpec& scope, const Facts& facts);
// The value of the scope's `each`; empty without one.
std::string_view SubjectOf(const ScopeSpec& scope, const Facts& facts);

// Finds the scopes that facts fall under by looking only at scopes that share one of their values:
// each scope is filed under the named value that the fewest others name too. Scopes of `each` alone
// are filed by its dimension. Refers to the scopes; immutable, any thread.
class ScopeIndex {
 public:
  // A scope's number is its place in `scopes`.
  explicit ScopeIndex(std::vector<const ScopeSpec*> scopes = {});

  // The numbers of those that match, ascending.
  std::vector<uint32_t> Match(const Facts& facts) const;

 private:
  using Dimension = ScopeSpec::Dimension;
  static constexpr size_t kDimensions = static_cast<size_t>(Dimension::kTag) + 1;
  // One value of one dimension; of a tag its name too, and no value for `each` of that tag.
  struct Key {
    Dimension dimension = Dimension::kNone;
    std::string_view tag;
    std::string_view value;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const noexcept;
  };
  struct Bucket {
    uint32_t count = 0;  // while building: of scopes that name the value
    uint32_t begin = 0;  // in numbers_
  };
  using Buckets = boost::unordered_flat_map<Key, Bucket, KeyHash>;

  static void AppendKeys(const ScopeSpec& scope, std::vector<Key>& keys);
  std::vector<Key> ChooseKeys() const;
  void Collect(const Key& key, const Facts& facts, std::vector<uint32_t>& out) const;

  std::vector<const ScopeSpec*> scopes_;
  Buckets buckets_;
  std::vector<uint32_t> numbers_;          // the buckets' contents, one behind the other
  std::array<bool, kDimensions> named_{};  // dimensions that some bucket is of
};

// Budgets or rate limits of a snapshot, with the way to those that a request falls under: apart by
// whether the target must be known.
template <typename Spec>
class ScopedSpecs {
 public:
  ScopedSpecs() = default;
  // In the order of names.
  explicit ScopedSpecs(const std::vector<std::shared_ptr<const Spec>>& specs) {
    for (const auto& spec : specs)
      (spec->scope.ByTarget() ? by_target_ : by_request_).push_back(spec);
    target_index_ = ScopeIndex(ScopesOf(by_target_));
    request_index_ = ScopeIndex(ScopesOf(by_request_));
  }

  template <typename Match>
  void Append(const Facts& facts, bool by_target, std::vector<Match>& out) const {
    const auto& specs = by_target ? by_target_ : by_request_;
    for (const uint32_t number : (by_target ? target_index_ : request_index_).Match(facts))
      out.push_back({specs[number], std::string(SubjectOf(specs[number]->scope, facts))});
  }

  size_t size() const { return by_request_.size() + by_target_.size(); }

 private:
  static std::vector<const ScopeSpec*> ScopesOf(
      std::span<const std::shared_ptr<const Spec>> specs) {
    std::vector<const ScopeSpec*> scopes;
    scopes.reserve(specs.size());
    for (const auto& spec : specs) scopes.push_back(&spec->scope);
    return scopes;
  }

  std::vector<std::shared_ptr<const Spec>> by_request_;
  std::vector<std::shared_ptr<const Spec>> by_target_;
  ScopeIndex request_index_;
  ScopeIndex target_index_;
};

}  // namespace spillway
