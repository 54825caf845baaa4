#include "dataplane/limits/limits.h"

#include <format>
#include <utility>

#include "dataplane/limits/rep.h"

namespace spillway {
namespace {

std::string_view NameOf(LimitHeld::What what) {
  switch (what) {
    case LimitHeld::What::kRequests:
      return "requests";
    case LimitHeld::What::kTokens:
      return "tokens";
    case LimitHeld::What::kConcurrent:
      return "concurrent requests";
  }
  return "requests";
}

std::string_view Explain(LimitHeld::Why why) {
  switch (why) {
    case LimitHeld::Why::kQueueFull:
      return ", and too many requests wait already";
    case LimitHeld::Why::kDeadline:
      return ", and its turn did not come in time";
    default:
      return "";
  }
}

}  // namespace

Error ToError(const LimitHeld& held) {
  if (held.why == LimitHeld::Why::kCancelled)
    return {.code = ErrorCode::kCancelled, .message = "the client left while it waited"};
  return {
      .code = ErrorCode::kRateLimited,
      .message = std::format("rate limit '{}' ({}) is used up{}; try again in {}", held.limit,
                             NameOf(held.what), Explain(held.why), ResetText(held.retry_after_ms)),
      .retry_after_ms = held.retry_after_ms};
}

RateLimits::RateLimits(const RateLimitOptions& options, const Clock& clock)
    : rep_(std::make_unique<Rep>(options, clock)) {}

RateLimits::~RateLimits() = default;

LimitOutcome RateLimits::Admit(std::span<const RateLimitMatch> matches, const LimitAsk& ask,
                               int64_t now_ns) {
  if (matches.empty()) return LimitTicket();
  LimitTable::Admission admission =
      rep_->table.Admit(matches, ask, now_ns, LimitTable::As::kNewcomer);
  if (admission.held_by == nullptr) return std::move(admission.ticket);
  rep_->table.counts().Of(admission.held.limit).refused.fetch_add(1, std::memory_order_relaxed);
  return std::unexpected(std::move(admission.held));
}

Task<LimitOutcome> RateLimits::AdmitOrWait(Loop& loop, std::span<const RateLimitMatch> matches,
                                           LimitAsk ask, LimitWaitOptions options) {
  if (matches.empty()) co_return LimitTicket();
  co_return co_await rep_->queue.Wait(loop, matches, ask, options);
}

LimitStandings RateLimits::Standings(std::span<const RateLimitMatch> matches, int64_t now_ns) {
  return rep_->table.Standings(matches, now_ns);
}

void RateLimits::Collect(MetricsText& text) const {
  const auto by_limit = [&](std::string_view name, std::string_view type, std::string_view help,
                            std::atomic<int64_t> LimitCounts::* counter) {
    text.Family(name, type, help);
    rep_->table.counts().Visit([&](const std::string& limit, const LimitCounts& counts) {
      text.Sample(name, {{"limit", limit}}, (counts.*counter).load(std::memory_order_relaxed));
    });
  };
  by_limit("spillway_limit_refused_total", "counter",
           "Times a rate limit held a request back that did not wait.", &LimitCounts::refused);
  by_limit("spillway_limit_queued_total", "counter", "Requests that waited for a rate limit.",
           &LimitCounts::queued);
  by_limit("spillway_limit_queue_full_total", "counter",
           "Requests refused because too many waited.", &LimitCounts::queue_full);
  by_limit("spillway_limit_queue_expired_total", "counter",
           "Requests whose turn did not come before their deadline.", &LimitCounts::expired);
  by_limit("spillway_limit_overflow_total", "counter",
           "Requests counted in the bucket that subjects beyond the maximum share.",
           &LimitCounts::overflowed);
  by_limit("spillway_limit_subjects", "gauge", "Subjects with a bucket of their own.",
           &LimitCounts::subjects);
  text.Family("spillway_limit_waiting", "gauge", "Requests that wait for a rate limit now.");
  text.Sample("spillway_limit_waiting", {}, rep_->queue.waiting());
}

}  // namespace spillway
