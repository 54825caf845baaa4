#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/crypto/sealing.h"
#include "common/error.h"
#include "dataplane/snapshot/compile_money.h"
#include "dataplane/snapshot/limits.h"
#include "dataplane/snapshot/snapshot.h"
#include "spillway/v1/resources.pb.h"

namespace spillway {

// How secrets of providers are read.
struct SecretRules {
  const SealKey* seal_key = nullptr;  // nullptr: a sealed secret refuses the snapshot
  bool plaintext = false;             // standalone files: secrets stand in clear in memory
};

// Everything of a snapshot but the keys: few resources, compiled anew when one of them changes.
// Immutable, shared by the snapshots that differ in keys only. Any thread.
class Tables {
 public:
  // Serialised resources by kind and name; the bytes are shared with earlier tables.
  using Entries = std::map<std::pair<v1::Kind, std::string>, std::shared_ptr<const std::string>>;

  // Validates the whole set and compiles it. Refusals: kInvalid with the first violation, or naming
  // the provider and credential whose secret cannot be unsealed; kOversized.
  static Result<std::shared_ptr<const Tables>> Compile(Entries entries, const SecretRules& secrets,
                                                       const SnapshotLimits& limits);

  const Entries& entries() const { return entries_; }
  bool Has(v1::Kind kind, const std::string& name) const { return entries_.contains({kind, name}); }
  // Of a user; empty: unknown user, or none of a team.
  std::string_view TeamOf(const std::string& user) const;
  // Of a team; empty: unknown team.
  std::string_view OrganizationOf(const std::string& team) const;
  std::shared_ptr<const RouteSpec> FindRoute(std::string_view name) const;
  const std::vector<std::shared_ptr<const RouteSpec>>& routes() const { return routes_; }
  const Scoped& scoped() const { return scoped_; }

 private:
  struct TransparentHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };

  Entries entries_;
  std::unordered_map<std::string, std::string> team_of_;
  std::unordered_map<std::string, std::string> organization_of_;
  std::unordered_map<std::string, std::shared_ptr<const RouteSpec>, TransparentHash,
                     std::equal_to<>>
      by_name_;
  std::vector<std::shared_ptr<const RouteSpec>> routes_;
  Scoped scoped_;
};

}  // namespace spillway
