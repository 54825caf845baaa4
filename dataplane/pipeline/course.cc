#include "dataplane/pipeline/course.h"

#include <algorithm>
#include <utility>

#include "dataplane/pipeline/attribution.h"

namespace spillway {
namespace {

// Attempts at one model differ by their credential only. Nothing is allocated where nothing
// matches.
void MatchTargets(const Snapshot& snapshot, Facts facts, Course& course) {
  const std::vector<PlannedAttempt>& attempts = course.plan.attempts;
  for (size_t i = 0; i < attempts.size(); ++i) {
    const ModelSpec& model = *attempts[i].model;
    if (i > 0 && attempts[i - 1].model == attempts[i].model) {
      if (!course.by_target.empty()) course.by_target[i] = course.by_target[i - 1];
      continue;
    }
    facts.model = model.name;
    facts.provider = model.provider->name;
    Matches found;
    snapshot.MatchBudgets(facts, /*by_target=*/true, found.budgets);
    snapshot.MatchRateLimits(facts, /*by_target=*/true, found.limits);
    if (found.empty()) continue;
    course.by_target.resize(attempts.size());
    course.by_target[i] = std::move(found);
  }
}

Result<Course> MakeCourse(const Snapshot& snapshot, const Job& job,
                          std::shared_ptr<const RouteSpec> route, uint64_t turn,
                          int64_t timeout_ms) {
  Course course{.route = std::move(route)};
  SW_TRY(course.plan, MakePlan(*course.route, turn, timeout_ms));
  Facts facts = FactsOf(job, nullptr);
  facts.route = course.route->name;  // downgraded calls are no longer calls of the route they left
  snapshot.MatchBudgets(facts, /*by_target=*/false, course.matches.budgets);
  snapshot.MatchRateLimits(facts, /*by_target=*/false, course.matches.limits);
  MatchTargets(snapshot, facts, course);
  return course;
}

void AddNames(const Matches& matches, std::vector<std::string_view>& names) {
  for (const BudgetMatch& match : matches.budgets) {
    const BudgetSpec& budget = *match.budget;
    if (budget.on_exhausted == v1::ON_EXHAUSTED_DOWNGRADE) names.emplace_back(budget.downgrade_to);
  }
}

// Where a refusal may send the request that goes this course; names may repeat.
std::vector<std::string_view> NamesOfCheaper(const Course& course) {
  std::vector<std::string_view> names;
  const LimitActionSpec& action = course.route->limit_action;
  if (action.action == LimitActionSpec::Action::kDowngrade) names.emplace_back(action.to);
  AddNames(course.matches, names);
  for (const Matches& matches : course.by_target) AddNames(matches, names);
  return names;
}

}  // namespace

Result<Courses> PlanCourses(const Snapshot& snapshot, const Job& job,
                            std::shared_ptr<const RouteSpec> route, uint64_t turn,
                            int64_t timeout_ms) {
  Courses courses;
  SW_TRY(courses.named, MakeCourse(snapshot, job, std::move(route), turn, timeout_ms));
  for (const std::string_view name : NamesOfCheaper(courses.named)) {
    const auto is_it = [name](const Course& known) { return known.route->name == name; };
    if (is_it(courses.named) || std::ranges::any_of(courses.cheaper, is_it)) continue;
    std::shared_ptr<const RouteSpec> cheaper = snapshot.FindRoute(name);
    if (cheaper == nullptr) continue;
    // One without targets is as good as none: the refusal stands then.
    Result<Course> course = MakeCourse(snapshot, job, std::move(cheaper), turn, timeout_ms);
    if (course) courses.cheaper.push_back(*std::move(course));
  }
  return courses;
}

}  // namespace spillway
