#include "dataplane/budgets/refusal.h"

#include <algorithm>
#include <string>

#include "common/utc.h"
#include "dataplane/budgets/budgets.h"

namespace spillway {
namespace {

constexpr int64_t kRetrySoonMs = 1000;

std::string Named(const BudgetSpec& spec, std::string_view subject) {
  std::string text = "the budget '" + spec.name + "'";
  if (!subject.empty()) text.append(" of '").append(subject).append("'");
  return text;
}

Error Exceeded(const BudgetSpec& spec, std::string message, int64_t retry_after_ms) {
  return {.code = ErrorCode::kBudgetExceeded,
          .message = std::move(message),
          .retry_after_ms = retry_after_ms,
          .budget = spec.name};
}

// What nobody could say now may be known in a moment.
Error Unknown(const BudgetSpec& spec, std::string message) {
  Error error = Exceeded(spec, std::move(message), kRetrySoonMs);
  error.transient = true;
  return error;
}

}  // namespace

Error BudgetExhausted(const BudgetSpec& spec, std::string_view subject, const WindowSpan& window,
                      int64_t time_ms, bool never_fits) {
  std::string text = Named(spec, subject);
  if (never_fits) {
    text += " is smaller than what this call may cost; lower its maximum of output tokens";
    return Exceeded(spec, std::move(text), 0);
  }
  text += " is used up";
  if (spec.window == v1::WINDOW_LIFETIME) return Exceeded(spec, std::move(text), 0);
  const int64_t end_ms = window.end_s * 1000;
  // Of a rolling window the oldest hour leaves when the next one begins.
  text += spec.window == v1::WINDOW_ROLLING ? "; its oldest hour stops counting at "
                                            : "; it starts anew at ";
  text += FormatUtc(end_ms);
  return Exceeded(spec, std::move(text), std::max<int64_t>(end_ms - time_ms, 1));
}

Error BudgetFrozen(const BudgetSpec& spec) {
  return Exceeded(spec, Named(spec, {}) + " is frozen by an operator: nothing is admitted", 0);
}

Error BudgetUnconfirmed(const BudgetSpec& spec, std::string_view subject, bool out_of_contact) {
  std::string text = Named(spec, subject);
  text += out_of_contact ? " allows no more while this gateway cannot reach its control plane"
                         : " could not be confirmed in time";
  return Unknown(spec, std::move(text));
}

Error BudgetUnprovable(const BudgetSpec& spec) {
  return Unknown(spec,
                 Named(spec, {}) + " allows no more while this gateway cannot journal its usage");
}

Error TooManyBudgets(size_t budgets) {
  return {.code = ErrorCode::kBudgetExceeded,
          .message = std::to_string(budgets) + " budgets apply to this call; at most " +
                     std::to_string(kBudgetsPerAttemptMax) + " can"};
}

}  // namespace spillway
