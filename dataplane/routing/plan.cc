#include "dataplane/routing/plan.h"

#include <algorithm>
#include <format>

namespace spillway {
namespace {

constexpr int kTooManyRequests = 429;
constexpr int kUnauthorized = 401;
constexpr int kForbidden = 403;
constexpr int kServerErrors = 500;

int64_t TimeoutOf(const TargetSpec& target, int64_t timeout_ms_max) {
  int64_t timeout_ms = target.model->provider->total_timeout_ms;
  if (target.timeout_ms > 0) timeout_ms = std::min(timeout_ms, target.timeout_ms);
  if (timeout_ms_max > 0) timeout_ms = std::min(timeout_ms, timeout_ms_max);
  return timeout_ms;
}

}  // namespace

bool MayRetry(AttemptFailure failure) { return failure != AttemptFailure::kRejected; }

AttemptFailure FailureOfStatus(int http_status) {
  if (http_status == kTooManyRequests) return AttemptFailure::kRateLimited;
  if (http_status == kUnauthorized || http_status == kForbidden) return AttemptFailure::kCredential;
  return http_status >= kServerErrors ? AttemptFailure::kServerError : AttemptFailure::kRejected;
}

Result<Plan> MakePlan(const RouteSpec& route, uint64_t turn, int64_t timeout_ms_max) {
  Plan plan;
  const size_t attempts_max = static_cast<size_t>(std::max(route.attempts_max, 1));
  for (size_t i = 0; i < route.targets.size() && plan.attempts.size() < attempts_max; ++i) {
    const TargetSpec& target = route.targets[i];
    // The credentials of one target must not use up the attempts of those behind it.
    const size_t behind = route.targets.size() - i - 1;
    const size_t left = attempts_max - plan.attempts.size();
    const size_t share = left > behind ? left - behind : 1;
    // A provider that asks for no credential is tried once, with index 0.
    const size_t credentials = std::max<size_t>(target.model->provider->credentials.size(), 1);
    for (size_t k = 0; k < std::min(credentials, share); ++k) {
      plan.attempts.push_back({.model = target.model,
                               .credential = static_cast<int>((turn + k) % credentials),
                               .timeout_ms = TimeoutOf(target, timeout_ms_max)});
    }
  }
  if (plan.attempts.empty()) {
    return Fail(ErrorCode::kModelNotFound,
                std::format("The model '{}' has no target that could serve it.", route.name),
                "model");
  }
  return plan;
}

}  // namespace spillway
