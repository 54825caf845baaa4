// What resources say about each other. Hash maps of views: a state of 100,000 keys is checked at
// every change.
#include <array>
#include <format>
#include <string_view>
#include <unordered_map>

#include "common/config/findings.h"
#include "common/config/resource.h"

namespace spillway::config {
namespace {

using Index = std::unordered_map<std::string_view, size_t>;

// Where each named resource stands, by kind.
class Directory {
 public:
  Directory(const std::vector<v1::Resource>& resources, Findings& findings)
      : resources_(resources) {
    for (size_t i = 0; i < resources.size(); ++i) {
      const v1::Kind kind = KindOf(resources[i]);
      const auto [first, fresh] = names_[kind].try_emplace(NameOf(resources[i]), i);
      if (!fresh) findings.Add(i, "name", "", "must be used once for its kind");
    }
  }

  const v1::Resource* Find(v1::Kind kind, std::string_view name) const {
    const auto found = names_[kind].find(name);
    return found == names_[kind].end() ? nullptr : &resources_[found->second];
  }

 private:
  const std::vector<v1::Resource>& resources_;
  std::array<Index, v1::Kind_ARRAYSIZE> names_;
};

class ReferenceCheck {
 public:
  ReferenceCheck(const Directory& directory, size_t index, bool keys_elsewhere, Findings& findings)
      : directory_(directory),
        index_(index),
        keys_elsewhere_(keys_elsewhere),
        findings_(findings) {}

  void Check(const v1::Model& model) const {
    if (!model.provider().empty()) Need(v1::KIND_PROVIDER, "provider", model.provider());
  }

  void Check(const v1::Route& route) const {
    for (int i = 0; i < route.targets_size(); ++i) {
      const std::string& model = route.targets(i).model();
      if (!model.empty()) Need(v1::KIND_MODEL, std::format("targets[{}].model", i), model);
    }
    for (int i = 0; i < route.fallbacks_size(); ++i) {
      const std::string& name = route.fallbacks(i);
      if (Knows(v1::KIND_ROUTE, name) || Knows(v1::KIND_MODEL, name)) continue;
      findings_.Add(index_, std::format("fallbacks[{}]", i), name,
                    "must name a declared model or route");
    }
    NeedModelOrRoute("limit_action.downgrade.to", route.limit_action().to());
  }

  void Check(const v1::Budget& budget) const {
    CheckScope(budget.scope());
    NeedModelOrRoute("on_exhausted.downgrade", budget.downgrade_to());
    for (int i = 0; i < budget.notify_size(); ++i) {
      if (!Knows(v1::KIND_ALERT_SINK, budget.notify(i)))
        Need(v1::KIND_ALERT_SINK, std::format("notify[{}]", i), budget.notify(i));
    }
  }

  // Users, features and tags come from the callers too: they need not be declared.
  void CheckScope(const v1::Scope& scope) const {
    NeedNamed(v1::KIND_ORGANIZATION, "scope.organization", scope.organization());
    NeedNamed(v1::KIND_TEAM, "scope.team", scope.team());
    if (!keys_elsewhere_) NeedNamed(v1::KIND_KEY, "scope.key", scope.key());
    NeedModelOrRoute("scope.route", scope.route());
    NeedNamed(v1::KIND_MODEL, "scope.model", scope.model());
    NeedNamed(v1::KIND_PROVIDER, "scope.provider", scope.provider());
  }

  void Check(const v1::Team& team) const {
    if (!team.organization().empty())
      Need(v1::KIND_ORGANIZATION, "organization", team.organization());
  }

  void Check(const v1::User& user) const {
    if (!user.team().empty()) Need(v1::KIND_TEAM, "team", user.team());
  }

  void Check(const v1::Key& key) const {
    if (!key.organization().empty())
      Need(v1::KIND_ORGANIZATION, "organization", key.organization());
    if (!key.team().empty()) Need(v1::KIND_TEAM, "team", key.team());
    if (!key.user().empty()) Need(v1::KIND_USER, "user", key.user());
    CheckOwners(key);
    for (int i = 0; i < key.routes_size(); ++i) {
      if (!Knows(v1::KIND_ROUTE, key.routes(i)))
        Need(v1::KIND_ROUTE, std::format("routes[{}]", i), key.routes(i));
    }
    for (int i = 0; i < key.models_size(); ++i) {
      if (!Knows(v1::KIND_MODEL, key.models(i)))
        Need(v1::KIND_MODEL, std::format("models[{}]", i), key.models(i));
    }
  }

 private:
  bool Knows(v1::Kind kind, std::string_view name) const {
    return directory_.Find(kind, name) != nullptr;
  }

  void Need(v1::Kind kind, std::string field, std::string_view name) const {
    if (Knows(kind, name)) return;
    findings_.Add(index_, std::move(field), name,
                  std::format("must name a declared {}", NameOf(kind)));
  }

  void NeedNamed(v1::Kind kind, std::string_view field, std::string_view name) const {
    if (!name.empty()) Need(kind, std::string(field), name);
  }

  void NeedModelOrRoute(std::string_view field, std::string_view name) const {
    if (name.empty() || Knows(v1::KIND_ROUTE, name) || Knows(v1::KIND_MODEL, name)) return;
    findings_.Add(index_, std::string(field), name, "must name a declared model or route");
  }

  // Spend is charged to all owners of a key: they must belong together.
  void CheckOwners(const v1::Key& key) const {
    const v1::Resource* user = directory_.Find(v1::KIND_USER, key.user());
    if (user != nullptr && !key.team().empty() && !user->user().team().empty() &&
        user->user().team() != key.team()) {
      findings_.Add(index_, "user", key.user(),
                    std::format("belongs to team {}, not to {}", user->user().team(), key.team()));
    }
    const bool by_user = key.team().empty() && user != nullptr;
    const v1::Resource* team =
        directory_.Find(v1::KIND_TEAM, by_user ? user->user().team() : key.team());
    if (team != nullptr && !key.organization().empty() && !team->team().organization().empty() &&
        team->team().organization() != key.organization()) {
      findings_.Add(index_, by_user ? "user" : "team", by_user ? key.user() : key.team(),
                    std::format("belongs to organization {}, not to {}",
                                team->team().organization(), key.organization()));
    }
  }

  const Directory& directory_;
  size_t index_;
  bool keys_elsewhere_;
  Findings& findings_;
};

// Two keys with one secret: which of them a request is charged to would be chance.
void CheckDigests(const std::vector<v1::Resource>& resources, Findings& findings) {
  std::unordered_map<std::string_view, std::string_view> owners;
  for (size_t i = 0; i < resources.size(); ++i) {
    const v1::Key& key = resources[i].key();
    for (int j = 0; j < key.secrets_size(); ++j) {
      const auto [owner, fresh] = owners.try_emplace(key.secrets(j).sha256(), key.name());
      if (fresh || key.secrets(j).sha256().empty()) continue;
      findings.Add(i, std::format("secrets[{}]", j), "",
                   std::format("must not be the secret of key {} too", owner->second));
    }
  }
}

// Two budgets with one id would spend each other's money.
void CheckBudgetIds(const std::vector<v1::Resource>& resources, Findings& findings) {
  std::unordered_map<std::string_view, std::string_view> owners;
  for (size_t i = 0; i < resources.size(); ++i) {
    const v1::Budget& budget = resources[i].budget();
    if (budget.id().empty()) continue;
    const auto [owner, fresh] = owners.try_emplace(budget.id(), budget.name());
    if (!fresh)
      findings.Add(i, "id", budget.id(), std::format("is the id of budget {} too", owner->second));
  }
}

void CheckUnknownPrices(const std::vector<v1::Resource>& resources, Findings& findings) {
  const v1::PriceBook* first = nullptr;
  for (size_t i = 0; i < resources.size(); ++i) {
    const v1::PriceBook& book = resources[i].price_book();
    if (book.unknown() == v1::UNKNOWN_PRICE_UNSPECIFIED) continue;
    if (first != nullptr) {
      findings.Add(i, "unknown", "",
                   std::format("must be said once: price book {} says it too", first->name()));
    } else {
      first = &book;
    }
  }
}

}  // namespace

void CheckReferences(const std::vector<v1::Resource>& resources, bool keys_elsewhere,
                     Findings& findings) {
  const Directory directory(resources, findings);
  for (size_t i = 0; i < resources.size(); ++i) {
    const v1::Resource& resource = resources[i];
    const ReferenceCheck check(directory, i, keys_elsewhere, findings);
    if (resource.has_model()) check.Check(resource.model());
    if (resource.has_route()) check.Check(resource.route());
    if (resource.has_team()) check.Check(resource.team());
    if (resource.has_user()) check.Check(resource.user());
    if (resource.has_key()) check.Check(resource.key());
    if (resource.has_budget()) check.Check(resource.budget());
    if (resource.has_rate_limit()) check.CheckScope(resource.rate_limit().scope());
  }
  CheckDigests(resources, findings);
  CheckBudgetIds(resources, findings);
  CheckUnknownPrices(resources, findings);
}

}  // namespace spillway::config
