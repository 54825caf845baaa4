#pragma once

#include <memory>
#include <vector>

#include "common/error.h"
#include "dataplane/snapshot/limits.h"
#include "dataplane/snapshot/scope_index.h"
#include "dataplane/snapshot/snapshot.h"
#include "spillway/v1/resources.pb.h"

namespace spillway {

// Budgets and rate limits to their specs. Pure; the resources have been validated as a whole.

ScopeSpec CompileScope(const v1::Scope& scope);
// A budget of a standalone file has no id: its name stands for it.
BudgetSpec CompileBudget(const v1::Budget& budget);
RateLimitSpec CompileRateLimit(const v1::RateLimit& limit);
LimitActionSpec CompileLimitAction(const v1::LimitAction& action);

struct Scoped {
  ScopedSpecs<BudgetSpec> budgets;
  ScopedSpecs<RateLimitSpec> rate_limits;
};
// All of them, in whatever order. kOversized: more than the limits allow.
Result<Scoped> CompileScoped(const std::vector<v1::Resource>& resources,
                             const SnapshotLimits& limits);

}  // namespace spillway
