#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "dataplane/pipeline/job.h"
#include "dataplane/routing/plan.h"
#include "dataplane/snapshot/snapshot.h"

namespace spillway {

// The budgets and rate limits that somebody falls under.
struct Matches {
  std::vector<BudgetMatch> budgets;
  std::vector<RateLimitMatch> limits;
  bool empty() const { return budgets.empty() && limits.empty(); }
};

// Where a request may go, and what it falls under there. Made while the snapshot is pinned, so that
// no later step needs one; holds specs only.
struct Course {
  std::shared_ptr<const RouteSpec> route;
  Plan plan;
  Matches matches;                 // whatever the target
  std::vector<Matches> by_target;  // one per attempt of the plan; empty: no attempt has any
};

// What the client named, and the cheaper courses that a refusal may send it to: those of the
// budgets it falls under and of its route's limit_action, each once, by name.
struct Courses {
  Course named;
  std::vector<Course> cheaper;
};

// `route`: admitted for the caller. kModelNotFound when it has no target left.
Result<Courses> PlanCourses(const Snapshot& snapshot, const Job& job,
                            std::shared_ptr<const RouteSpec> route, uint64_t turn,
                            int64_t timeout_ms);

}  // namespace spillway
