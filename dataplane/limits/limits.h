#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "common/error.h"
#include "common/metrics.h"
#include "dataplane/exchange/loop.h"
#include "dataplane/limits/ticket.h"
#include "dataplane/snapshot/snapshot.h"

namespace spillway {

// Why a request may not go ahead now.
struct LimitHeld {
  enum class What : uint8_t { kRequests, kTokens, kConcurrent };
  // kHeld: the limit is used up. The rest only from AdmitOrWait: too many wait already, the
  // deadline passed, the client left.
  enum class Why : uint8_t { kHeld, kQueueFull, kDeadline, kCancelled };
  std::string limit;
  What what = What::kRequests;
  Why why = Why::kHeld;
  int64_t retry_after_ms = 1;  // when it is worth trying again; >= 1
  LimitStandings standings;    // for the headers of the refusal
};
// kRateLimited naming the limit and what it counts, with retry_after_ms (which becomes the header
// retry-after); kCancelled when the client left.
Error ToError(const LimitHeld& held);

using LimitOutcome = std::expected<LimitTicket, LimitHeld>;

struct RateLimitOptions {
  int64_t subjects_per_limit_max = 100'000;  // of an `each` limit; more share one bucket
  int64_t subjects_max = 250'000;            // of all limits together
  int64_t waiting_per_limit_max = 1'000;     // requests in a queue
  int64_t waiting_max = 10'000;
  bool cluster = false;  // other data planes exist, as LimitGossip will say; else this is all
};

// Ends a wait early, for the departure of the client: pass it to AdmitOrWait, call Cancel from the
// watch's callback. Lives longer than the wait; loop thread only; Cancel does nothing when no wait
// is going on.
class LimitWait {
 public:
  LimitWait() = default;
  LimitWait(const LimitWait&) = delete;
  LimitWait& operator=(const LimitWait&) = delete;
  void Cancel();
  bool waiting() const { return waiter_ != nullptr; }

 private:
  friend class LimitQueue;
  struct LimitWaiter* waiter_ = nullptr;
};

struct LimitWaitOptions {
  int64_t deadline_ms = 0;  // from now on; the earlier of the route's and the client's own
  std::string_view tenant;  // whose turn it is is decided between these: the team, else the key
  LimitWait* cancel = nullptr;
};

// The rate limits of one process: requests and tokens per period, and concurrent requests, per
// limit and subject. Thread-safe: every loop calls it on every request. Nothing here waits for a
// disk or the bus; what other data planes admitted comes by LimitGossip.
//
// Semantics. A bucket holds what may still be admitted in the running period. A period begins with
// the first use after an idle one; at its end the bucket gets one limit more. Unused allowance is
// forgotten then (unless somebody was held back, because the rest was too small for what he asked
// or lay in other data planes' shares), debt never is: it is paid before anything is admitted. So
// ten periods admit ten limits, whenever in them the load comes, give or take the debt of the last;
// a bucket that refills steadily needs a depth below a fifth of a limit for that, and would refuse
// bursts that the limit means to allow. The price of fixed periods: an interval of ten periods'
// length that does not begin with one touches eleven, and may see up to eleven limits (one of a
// single period's length: two), when the load comes at the end of the first and at the start of the
// last. Tokens are reserved as an estimate and corrected to what was used. An estimate above the
// whole limit is admitted when the bucket is full, and owed afterwards.
//
// Several data planes: each admits what it knows to be left, so that one alone can take the whole
// limit in an instant; several may do so before they hear of each other, and pay it back. When
// contact is lost, each keeps to a part of its own, and what it used and the lost ones had not
// confirmed yet is charged to that part. So the fleet admits no more than n limits in n periods
// from the one of the loss on, once that is paid back; and no more than a limit in any period that
// begins after the loss was noticed. (A scheme that is never above it in the period of the loss
// either may not let anybody have more than 1/N before the others agreed: a burst on one data plane
// that is shorter than a message's way and back would be cut to 1/N.) Parts are whole: when the
// limit is smaller than the fleet, some have none. A request of more tokens than a part is admitted
// when so many periods have filled it; then only the sum of periods is kept.
class RateLimits {
 public:
  RateLimits(const RateLimitOptions& options, const Clock& clock);
  ~RateLimits();
  RateLimits(const RateLimits&) = delete;
  RateLimits& operator=(const RateLimits&) = delete;

  // All of the limits or none. `now_ns`: monotonic. No match: admitted, with an empty ticket. Never
  // ahead of requests that wait in AdmitOrWait for the same bucket.
  LimitOutcome Admit(std::span<const RateLimitMatch> matches, const LimitAsk& ask, int64_t now_ns);
  // The same, but waits for its turn, fair between tenants by the tokens they ask for. May be
  // destroyed while it waits. What the arguments point to must live until it is done; await it at
  // once. Call Admit first: it needs no frame.
  Task<LimitOutcome> AdmitOrWait(Loop& loop, std::span<const RateLimitMatch> matches, LimitAsk ask,
                                 LimitWaitOptions options);

  // The tightest of these as they stand; admits nothing.
  LimitStandings Standings(std::span<const RateLimitMatch> matches, int64_t now_ns);

  void Collect(MetricsText& text) const;

  struct Rep;
  Rep& rep() { return *rep_; }  // LimitGossip's

 private:
  std::unique_ptr<Rep> rep_;
};

}  // namespace spillway
