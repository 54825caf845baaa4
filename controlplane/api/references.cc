#include "controlplane/api/references.h"

#include <string>

namespace spillway::api {
namespace {

class Collector {
 public:
  void Add(v1::Kind kind, const std::string& name) {
    if (!name.empty()) keys_.emplace_back(kind, name);
  }

  void Visit(const v1::Key& key) {
    Add(v1::KIND_TEAM, key.team());
    Add(v1::KIND_USER, key.user());
    Add(v1::KIND_ORGANIZATION, key.organization());
    for (const std::string& route : key.routes()) AddRouteOrModel(route);
    for (const std::string& model : key.models()) Add(v1::KIND_MODEL, model);
  }
  void Visit(const v1::Route& route) {
    for (const v1::Target& target : route.targets()) Add(v1::KIND_MODEL, target.model());
    for (const std::string& fallback : route.fallbacks()) AddRouteOrModel(fallback);
    AddRouteOrModel(route.limit_action().to());
  }
  void Visit(const v1::Budget& budget) {
    Visit(budget.scope());
    AddRouteOrModel(budget.downgrade_to());
    for (const std::string& sink : budget.notify()) Add(v1::KIND_ALERT_SINK, sink);
  }
  // A user of a scope need not be declared.
  void Visit(const v1::Scope& scope) {
    Add(v1::KIND_ORGANIZATION, scope.organization());
    Add(v1::KIND_TEAM, scope.team());
    Add(v1::KIND_KEY, scope.key());
    AddRouteOrModel(scope.route());
    Add(v1::KIND_MODEL, scope.model());
    Add(v1::KIND_PROVIDER, scope.provider());
  }
  void Visit(const v1::Model& model) { Add(v1::KIND_PROVIDER, model.provider()); }
  void Visit(const v1::Team& team) { Add(v1::KIND_ORGANIZATION, team.organization()); }
  void Visit(const v1::User& user) { Add(v1::KIND_TEAM, user.team()); }

  std::vector<EntryKey> Take() && { return std::move(keys_); }

 private:
  void AddRouteOrModel(const std::string& name) {
    Add(v1::KIND_ROUTE, name);
    Add(v1::KIND_MODEL, name);
  }

  std::vector<EntryKey> keys_;
};

}  // namespace

std::vector<EntryKey> ReferencesOf(const v1::Resource& resource) {
  Collector collector;
  switch (resource.kind_case()) {
    case v1::Resource::kKey:
      collector.Visit(resource.key());
      break;
    case v1::Resource::kRoute:
      collector.Visit(resource.route());
      break;
    case v1::Resource::kModel:
      collector.Visit(resource.model());
      break;
    case v1::Resource::kTeam:
      collector.Visit(resource.team());
      break;
    case v1::Resource::kUser:
      collector.Visit(resource.user());
      break;
    case v1::Resource::kBudget:
      collector.Visit(resource.budget());
      break;
    case v1::Resource::kRateLimit:
      collector.Visit(resource.rate_limit().scope());
      break;
    case v1::Resource::kProvider:
    case v1::Resource::kOrganization:
    case v1::Resource::kAlertSink:
    case v1::Resource::kPriceBook:
    case v1::Resource::KIND_NOT_SET:
      break;
  }
  return std::move(collector).Take();
}

}  // namespace spillway::api
