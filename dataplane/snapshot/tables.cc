#include "dataplane/snapshot/tables.h"

#include <algorithm>
#include <format>

#include "common/config/resource.h"
#include "common/config/validate.h"
#include "common/ids.h"
#include "dataplane/snapshot/compile.h"
#include "dataplane/snapshot/compile_money.h"
#include "dataplane/snapshot/entry_list.h"
#include "dataplane/snapshot/refusal.h"

namespace spillway {
namespace {

constexpr size_t kRefusalBytesMax = 600;

Result<std::vector<v1::Resource>> ParseEntries(const Tables::Entries& entries) {
  std::vector<v1::Resource> resources;
  resources.reserve(entries.size());
  v1::Entry entry;
  for (const auto& [key, bytes] : entries) {
    if (!IsResourceName(key.second))
      return Refuse(RefusalClass::kInvalid, Describe(key.first, key.second));
    entry.set_kind(key.first);
    entry.set_name(key.second);
    entry.set_bytes(*bytes);
    auto resource = config::FromEntry(entry);
    if (!resource) {
      return Refuse(RefusalClass::kInvalid, Describe(key.first, key.second) +
                                                ": cannot be read: " + resource.error().message);
    }
    if (config::NameOf(*resource) != key.second) {
      return Refuse(RefusalClass::kInvalid,
                    Describe(key.first, key.second) + ": the resource inside has another name");
    }
    resources.push_back(*std::move(resource));
  }
  return resources;
}

Result<std::vector<v1::Resource>> Validated(std::vector<v1::Resource> resources) {
  // Keys are not among them: they are compiled apart, each against these tables.
  config::Validation validation = config::Validate(std::move(resources), {.keys_elsewhere = true});
  if (!validation.ok()) {
    std::string reason = config::Describe(validation.violations.front());
    if (reason.size() > kRefusalBytesMax) reason.resize(kRefusalBytesMax);
    if (validation.violations.size() > 1)
      reason += std::format(" (and {} more)", validation.violations.size() - 1);
    return Refuse(RefusalClass::kInvalid, std::move(reason));
  }
  return validation.validated.resources();
}

struct Compiled {
  Providers providers;
  Models models;
  Routes routes;
};

Result<Compiled> CompileResources(const std::vector<v1::Resource>& resources,
                                  const SecretRules& secrets) {
  Compiled compiled;
  for (const v1::Resource& resource : resources) {
    if (resource.has_route()) compiled.routes.emplace(resource.route().name(), &resource.route());
    if (!resource.has_provider()) continue;
    SW_TRY(auto spec, CompileProvider(resource.provider(), secrets));
    compiled.providers.emplace(resource.provider().name(), std::move(spec));
  }
  for (const v1::Resource& resource : resources) {
    if (!resource.has_model()) continue;
    SW_TRY(auto spec, CompileModel(resource.model(), compiled.providers));
    compiled.models.emplace(resource.model().name(), std::move(spec));
  }
  return compiled;
}

}  // namespace

Result<std::shared_ptr<const Tables>> Tables::Compile(Entries entries, const SecretRules& secrets,
                                                      const SnapshotLimits& limits) {
  SW_TRY(std::vector<v1::Resource> parsed, ParseEntries(entries));
  SW_TRY(const std::vector<v1::Resource> resources, Validated(std::move(parsed)));
  SW_TRY(const Compiled compiled, CompileResources(resources, secrets));

  auto tables = std::make_shared<Tables>();
  int64_t targets = 0;
  for (const auto& [name, route] : compiled.routes) {
    SW_TRY(auto spec, CompileRoute(*route, compiled.models, compiled.routes, limits));
    targets += static_cast<int64_t>(spec->targets.size());
    if (targets > limits.targets_max) {
      return Refuse(RefusalClass::kOversized,
                    std::format("the routes have more than {} targets", limits.targets_max));
    }
    tables->by_name_.emplace(name, std::move(spec));
  }
  // Behind the routes: a route wins over a model of the same name.
  for (const auto& [name, model] : compiled.models)
    tables->by_name_.try_emplace(name, CompileModelRoute(model));
  for (const v1::Resource& resource : resources) {
    if (resource.has_user())
      tables->team_of_.emplace(resource.user().name(), resource.user().team());
    if (resource.has_team())
      tables->organization_of_.emplace(resource.team().name(), resource.team().organization());
  }
  tables->routes_.reserve(tables->by_name_.size());
  for (const auto& [name, route] : tables->by_name_) tables->routes_.push_back(route);
  std::ranges::sort(tables->routes_, {},
                    [](const auto& route) { return std::string_view(route->name); });
  SW_TRY(tables->scoped_, CompileScoped(resources, limits));
  tables->entries_ = std::move(entries);
  return tables;
}

std::string_view Tables::TeamOf(const std::string& user) const {
  const auto found = team_of_.find(user);
  return found == team_of_.end() ? std::string_view() : std::string_view(found->second);
}

std::string_view Tables::OrganizationOf(const std::string& team) const {
  const auto found = organization_of_.find(team);
  return found == organization_of_.end() ? std::string_view() : std::string_view(found->second);
}

std::shared_ptr<const RouteSpec> Tables::FindRoute(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

}  // namespace spillway
