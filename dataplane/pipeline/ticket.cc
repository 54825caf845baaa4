#include "dataplane/pipeline/ticket.h"

#include <algorithm>
#include <format>
#include <utility>

#include "common/clock.h"
#include "dataplane/pipeline/headers.h"

namespace spillway {
namespace {

// Ends a wait when the client leaves; the watch must not outlive the wait.
class LeavesQueue {
 public:
  LeavesQueue(ResponseWriter& out, LimitWait& wait) : out_(out) {
    out_.WatchClient([&wait] { wait.Cancel(); });
  }
  ~LeavesQueue() { out_.WatchClient(nullptr); }
  LeavesQueue(const LeavesQueue&) = delete;
  LeavesQueue& operator=(const LeavesQueue&) = delete;

 private:
  ResponseWriter& out_;
};

LimitAsk AskOf(const TokenUsage& usage) {
  return {.input_tokens = usage.input, .output_tokens = usage.output};
}

}  // namespace

Ticket::Ticket(const PipelineServices& services, Exchange& x, ResponseWriter& out, const Job& job,
               Courses courses)
    : services_(services),
      x_(x),
      out_(out),
      job_(job),
      courses_(std::move(courses)),
      course_(&courses_.named) {}

Ticket::~Ticket() {
  if (x_.record.attempts > 0 && !limits_.empty()) limits_.Settle(AskOf(x_.record.usage));
}

Task<Result<void>> Ticket::Admit() {
  if (services_.budgets != nullptr) admitted_ms_ = services_.budgets->NowMs();
  for (;;) {
    SW_CO_TRY(const Step limits, co_await TakeLimits());
    if (limits == Step::kAgain) continue;
    SW_CO_TRY(const Step first, co_await TakeFirst());
    if (first == Step::kTaken) co_return Result<void>{};
  }
}

Task<Result<Ticket::Step>> Ticket::TakeLimits() {
  limits_.Drop();  // of a course that was left
  const std::vector<RateLimitMatch>& matches = course_->matches.limits;
  if (services_.rate_limits == nullptr || matches.empty()) co_return Step::kTaken;
  LimitOutcome taken = co_await Take(matches, EstimateOf(0));
  if (!taken) co_return OnHeld(taken.error());
  limits_ = *std::move(taken);
  Show(limits_.standings());
  co_return Step::kTaken;
}

// What the first attempt holds.
Task<Result<Ticket::Step>> Ticket::TakeFirst() {
  Holding holding{.estimate = EstimateOf(0)};
  const std::span<const RateLimitMatch> limits = TargetLimits(0);
  if (!limits.empty()) {
    LimitOutcome taken = co_await Take(limits, holding.estimate);
    if (!taken) co_return OnHeld(taken.error());
    holding.limits = *std::move(taken);
    Show(holding.limits.standings());
  }
  SW_CO_TRY(Admitted admitted, co_await Reserve(holding, 0, Turn::kFirst));
  if (!admitted.downgrade_to.empty()) {
    // Without that course the budget is asked once more, and refuses.
    if (!Downgrade(admitted.downgrade_to, "budget/" + admitted.budget)) courses_.cheaper.clear();
    co_return Step::kAgain;
  }
  SW_CO_CHECK(Keep(std::move(admitted), 0, holding));
  first_ = std::move(holding);
  co_return Step::kTaken;
}

// All of them or none; waits its turn when the route says so.
Task<LimitOutcome> Ticket::Take(std::span<const RateLimitMatch> matches, const Estimate& estimate) {
  const LimitAsk ask = AskOf(estimate.likely);
  const int64_t now_ns = x_.loop.clock->MonotonicNs();
  LimitOutcome taken = services_.rate_limits->Admit(matches, ask, now_ns);
  const LimitActionSpec& action = course_->route->limit_action;
  if (taken || action.action != LimitActionSpec::Action::kQueue) co_return std::move(taken);
  int64_t deadline_ms = action.deadline_ms;
  if (job_.deadline_ns != 0)
    deadline_ms = std::min(deadline_ms, (job_.deadline_ns - now_ns) / kNsPerMs);
  LimitWait wait;
  const LeavesQueue leaves(out_, wait);
  const LimitWaitOptions options{.deadline_ms = deadline_ms,
                                 .tenant = job_.key->team.empty() ? job_.key->name : job_.key->team,
                                 .cancel = &wait};
  co_return co_await services_.rate_limits->AdmitOrWait(x_.loop, matches, ask, options);
}

Result<Ticket::Step> Ticket::OnHeld(const LimitHeld& held) {
  if (held.why == LimitHeld::Why::kCancelled) return std::unexpected(ToError(held));
  const LimitActionSpec& action = course_->route->limit_action;
  const std::string name = "rate_limit/" + held.limit;
  if (held.why == LimitHeld::Why::kHeld) {
    if (waives_ && Waive(held.limit)) return Step::kAgain;
    if (action.action == LimitActionSpec::Action::kDowngrade && Downgrade(action.to, name)) {
      waives_ = true;
      return Step::kAgain;
    }
  }
  x_.record.limit = name;
  Show(held.standings);
  return std::unexpected(ToError(held));
}

// What held the request back on the course it left holds it no longer: those limits are why it goes
// where it goes. What only the new course has does hold it.
bool Ticket::Waive(std::string_view limit) {
  const auto is_it = [limit](const RateLimitMatch& match) { return match.limit->name == limit; };
  return std::ranges::any_of(courses_.named.matches.limits, is_it) &&
         std::erase_if(course_->matches.limits, is_it) > 0;
}

bool Ticket::Downgrade(std::string_view to, std::string because) {
  if (downgraded()) return false;
  for (Course& course : courses_.cheaper) {
    if (course.route->name != to) continue;
    course_ = &course;
    x_.record.downgraded = course.route->name;
    x_.record.limit = std::move(because);
    Show({});
    return true;
  }
  return false;
}

Result<Holding> Ticket::First() {
  if (!first_) return Holding{.estimate = EstimateOf(0)};
  Result<Holding> first = *std::move(first_);
  first_.reset();
  return first;
}

// A further attempt does not queue: there are others, and the client waits.
Task<Result<Holding>> Ticket::Next(size_t attempt) {
  Holding holding{.estimate = EstimateOf(attempt)};
  const std::span<const RateLimitMatch> limits = TargetLimits(attempt);
  if (!limits.empty()) {
    LimitOutcome taken = services_.rate_limits->Admit(limits, AskOf(holding.estimate.likely),
                                                      x_.loop.clock->MonotonicNs());
    if (!taken) co_return std::unexpected(ToError(taken.error()));
    holding.limits = *std::move(taken);
    Show(holding.limits.standings());
  }
  SW_CO_TRY(Admitted admitted, co_await Reserve(holding, attempt, Turn::kFurther));
  SW_CO_CHECK(Keep(std::move(admitted), attempt, holding));
  co_return holding;
}

// In all budgets or none; asks the control plane only when memory cannot tell.
Task<Result<Admitted>> Ticket::Reserve(const Holding& holding, size_t attempt, Turn turn) {
  const std::span<const BudgetMatch> budgets = BudgetsOf(attempt);
  if (budgets.empty()) co_return Admitted{};
  const Budgets::Attempt ask{
      .matches = budgets,
      .ask = holding.estimate.ask,
      .admitted_ms = admitted_ms_,
      // A further attempt is never sent down: its refusal is followed by the next one.
      .last = turn == Turn::kFurther || downgraded() || courses_.cheaper.empty(),
      .deadline_ns = job_.deadline_ns};
  std::optional<Result<Admitted>> admitted = services_.budgets->TryAdmit(ask);
  if (!admitted) admitted.emplace(co_await services_.budgets->Admit(x_.loop, ask));
  if (!*admitted && turn == Turn::kFirst && !admitted->error().budget.empty())
    x_.record.limit = "budget/" + admitted->error().budget;
  co_return *std::move(admitted);
}

Estimate Ticket::EstimateOf(size_t attempt) const {
  return services_.estimator.Of(ShapeOf(job_, *course_->plan.attempts[attempt].model));
}

std::span<const RateLimitMatch> Ticket::TargetLimits(size_t attempt) const {
  if (services_.rate_limits == nullptr || course_->by_target.empty()) return {};
  return course_->by_target[attempt].limits;
}

std::span<const BudgetMatch> Ticket::BudgetsOf(size_t attempt) {
  if (services_.budgets == nullptr) return {};
  const std::vector<BudgetMatch>& always = course_->matches.budgets;
  if (course_->by_target.empty() || course_->by_target[attempt].budgets.empty()) return always;
  const std::vector<BudgetMatch>& target = course_->by_target[attempt].budgets;
  if (always.empty()) return target;
  budgets_ = always;
  budgets_.insert(budgets_.end(), target.begin(), target.end());
  return budgets_;
}

Result<void> Ticket::Keep(Admitted admitted, size_t attempt, Holding& holding) {
  holding.reservation = std::move(admitted.reservation);
  if (!admitted.budget.empty()) {
    x_.record.budget_warning = std::move(admitted.budget);
    Show({});
  }
  return Cap(attempt, holding);
}

// Under `cap` the provider itself enforces what the reservation pays for. Never more than the
// client asked for.
Result<void> Ticket::Cap(size_t attempt, Holding& holding) const {
  const ModelSpec& model = *course_->plan.attempts[attempt].model;
  const CallShape shape = ShapeOf(job_, model);
  if (!holding.reservation.capped() || !shape.makes_output) return {};
  const Nanos amount = holding.reservation.amount();
  const int64_t bound = Estimator::OutputBound(shape);
  const int64_t affordable = Estimator::CostBound(shape, bound) <= amount
                                 ? bound
                                 : Estimator::AffordableMax(shape, amount);
  if (affordable < 1) {
    return Fail(ErrorCode::kBudgetExceeded,
                std::format("What is left of a budget does not pay for one token of output of '{}' "
                            "behind a prompt of this size.",
                            model.name));
  }
  const int64_t own =
      shape.output_tokens_max > 0 ? shape.output_tokens_max : model.output_tokens_max;
  if (own == 0 || affordable < own) holding.output_cap = affordable;
  TokenUsage& likely = holding.estimate.likely;
  const int64_t choices = std::max<int64_t>(shape.choices, 1);
  if (affordable <= likely.output / choices) likely.output = affordable * choices;
  return {};
}

// The lines that every answer to this request carries from now on.
void Ticket::Show(const LimitStandings& standings) {
  standings_.Merge(standings);
  std::string& headers = x_.answer_headers;
  headers.clear();
  standings_.AppendHeaders(headers);
  if (downgraded()) AppendHeader(headers, "x-spillway-downgraded", course_->route->name);
  if (!x_.record.budget_warning.empty())
    AppendHeader(headers, "x-spillway-budget-warning", x_.record.budget_warning);
}

}  // namespace spillway
