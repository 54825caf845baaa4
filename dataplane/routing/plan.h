#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/error.h"
#include "dataplane/snapshot/snapshot.h"

namespace spillway {

// One try at one target with one credential. Owns what it names: a plan outlives its snapshot.
struct PlannedAttempt {
  std::shared_ptr<const ModelSpec> model;
  int credential = 0;      // index into the provider's credentials
  int64_t timeout_ms = 0;  // of the whole attempt
};

// The attempts of one request, in order. Dispatch takes the next one after a failure that allows
// it.
struct Plan {
  std::vector<PlannedAttempt> attempts;
};

// How an attempt failed. All but kRejected allow another one (MayRetry).
enum class AttemptFailure : uint8_t {
  kConnect,      // nothing was sent: DNS, connect, TLS
  kReset,        // the connection broke, the client left, or what came was no HTTP
  kTimeout,      // the answer, or what was left of it, did not come in time
  kRateLimited,  // 429
  kServerError,  // 5xx, or an answer that cannot be passed on
  kCredential,   // 401, 403: the next credential or target
  kRejected,     // any other status: final
};
bool MayRetry(AttemptFailure failure);
AttemptFailure FailureOfStatus(int http_status);

// Strategy priority: targets in order, each with its provider's credentials in turn (rotated by
// `turn`), at most route.attempts_max attempts. kModelNotFound when no target is left.
Result<Plan> MakePlan(const RouteSpec& route, uint64_t turn, int64_t timeout_ms_max);

}  // namespace spillway
