#pragma once

#include <map>
#include <memory>
#include <string>

#include "common/error.h"
#include "dataplane/snapshot/limits.h"
#include "dataplane/snapshot/snapshot.h"
#include "dataplane/snapshot/tables.h"
#include "spillway/v1/resources.pb.h"

namespace spillway {

// Resource to spec, one resource at a time. Pure; the resources have been validated as a whole.

using Providers = std::map<std::string, std::shared_ptr<const ProviderSpec>>;
using Models = std::map<std::string, std::shared_ptr<const ModelSpec>>;
using Routes = std::map<std::string, const v1::Route*>;

// Unseals the credentials; kInvalid names the provider and the credential that cannot be used.
Result<std::shared_ptr<const ProviderSpec>> CompileProvider(const v1::Provider& provider,
                                                            const SecretRules& secrets);
Result<std::shared_ptr<const ModelSpec>> CompileModel(const v1::Model& model,
                                                      const Providers& providers);
// The model addressed by its own name.
std::shared_ptr<const RouteSpec> CompileModelRoute(const std::shared_ptr<const ModelSpec>& model);
// Targets in order, then each fallback's: a route's own targets and fallbacks in its place, or a
// model (a route wins over a model of the same name). A model appears once, where it came first.
// Ends where the limits say; a plan never has that many attempts.
Result<std::shared_ptr<const RouteSpec>> CompileRoute(const v1::Route& route, const Models& models,
                                                      const Routes& routes,
                                                      const SnapshotLimits& limits);

}  // namespace spillway
