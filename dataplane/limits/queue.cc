#include "dataplane/limits/queue.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <utility>

#include "common/clock.h"
#include "dataplane/exchange/timer_wheel.h"

namespace spillway {
namespace {

// What no release and no gossip announces (a peer that was retired) is found out within this.
constexpr int64_t kLookAgainMs = 1'000;

using Timer = boost::asio::basic_waitable_timer<
    std::chrono::steady_clock, boost::asio::wait_traits<std::chrono::steady_clock>, LoopExecutor>;

}  // namespace

// From the start of a wait to its end, however that comes.
class LimitQueue::Stay {
 public:
  Stay(LimitQueue& queue, WaiterPtr waiter, LimitWaiter** cancel)
      : queue_(queue), waiter_(std::move(waiter)), cancel_(cancel) {
    if (cancel_ != nullptr) *cancel_ = waiter_.get();
  }
  ~Stay() {
    if (cancel_ != nullptr) *cancel_ = nullptr;
    queue_.Abandon(*waiter_);
  }
  Stay(const Stay&) = delete;
  Stay& operator=(const Stay&) = delete;

 private:
  LimitQueue& queue_;
  WaiterPtr waiter_;
  LimitWaiter** cancel_;
};

LimitQueue::LimitQueue(LimitTable& table, const RateLimitOptions& options, const Clock& clock)
    : table_(table), options_(options), clock_(clock) {}

Task<LimitOutcome> LimitQueue::Wait(Loop& loop, std::span<const RateLimitMatch> matches,
                                    LimitAsk ask, LimitWaitOptions options) {
  const auto waiter = std::make_shared<LimitWaiter>();
  waiter->matches = matches;
  waiter->ask = ask;
  waiter->tenant = options.tenant;
  waiter->deadline_ns = clock_.MonotonicNs() + options.deadline_ms * kNsPerMs;
  waiter->loop = &loop;
  waiter->queue = this;
  Timer timer(loop.io.get_executor(), std::chrono::steady_clock::time_point::max());
  Deadline alarm(*loop.timers, [this, raw = waiter.get()] { OnAlarm(*raw); });
  waiter->resume = [raw = waiter.get(), &timer] {
    raw->resumed = true;
    timer.cancel();
  };
  waiter->set_alarm = [&alarm](int64_t after_ms) { alarm.SetAfterMs(after_ms); };
  if (std::optional<LimitOutcome> at_once = Begin(waiter)) co_return *std::move(at_once);
  const Stay stay(*this, waiter, options.cancel != nullptr ? &options.cancel->waiter_ : nullptr);
  SetAlarm(*waiter);
  while (!waiter->resumed) co_await timer.async_wait(boost::asio::as_tuple(boost::asio::deferred));
  co_return *std::move(waiter->outcome);
}

std::optional<LimitOutcome> LimitQueue::Begin(const WaiterPtr& waiter) {
  const std::lock_guard lock(mutex_);
  const int64_t now_ns = clock_.MonotonicNs();
  LimitTable::Admission admission =
      table_.Admit(waiter->matches, waiter->ask, now_ns, LimitTable::As::kJoining);
  if (admission.held_by == nullptr) return LimitOutcome(std::move(admission.ticket));
  const auto at = lines_.find(admission.held_by);
  LimitCounts& counts = table_.counts().Of(admission.held.limit);
  const bool full = waiting_ >= options_.waiting_max ||
                    (at != lines_.end() && at->second->count >= options_.waiting_per_limit_max);
  if (full || waiter->deadline_ns <= now_ns) {
    table_.Leave(*admission.held_by);
    admission.held.why = full ? LimitHeld::Why::kQueueFull : LimitHeld::Why::kDeadline;
    (full ? counts.queue_full : counts.expired).fetch_add(1, std::memory_order_relaxed);
    return std::unexpected(std::move(admission.held));
  }
  counts.queued.fetch_add(1, std::memory_order_relaxed);
  Enqueue(waiter, admission);
  return std::nullopt;
}

// The table counts it as waiting already.
void LimitQueue::Enqueue(const WaiterPtr& waiter, const LimitTable::Admission& admission) {
  std::unique_ptr<Line>& line = lines_[admission.held_by];
  const int64_t retry_ns = clock_.MonotonicNs() + admission.held.retry_after_ms * kNsPerMs;
  if (line == nullptr) {
    line = std::make_unique<Line>();
    line->next_try_ns = retry_ns;
  }
  const bool by_tokens = admission.held.what == LimitHeld::What::kTokens;
  waiter->cost = by_tokens ? std::clamp<int64_t>(
                                 waiter->ask.input_tokens + waiter->ask.output_tokens, 1, kCostMax)
                           : kQuantum;
  waiter->at = admission.held_by;
  waiter->held = admission.held;
  auto at = line->tenants.find(waiter->tenant);
  if (at == line->tenants.end()) {
    line->ring.push_back({.name = waiter->tenant});
    at = line->tenants.emplace(waiter->tenant, std::prev(line->ring.end())).first;
  }
  at->second->waiters.push_back(waiter);
  ++line->count;
  ++waiting_;
}

void LimitQueue::Dequeue(LimitWaiter& waiter) {
  LimitEntry* const entry = std::exchange(waiter.at, nullptr);
  const auto line_at = lines_.find(entry);
  Line& line = *line_at->second;
  const auto tenant_at = line.tenants.find(waiter.tenant);
  std::deque<WaiterPtr>& waiters = tenant_at->second->waiters;
  const auto at = std::ranges::find(waiters, &waiter, &WaiterPtr::get);
  WaiterPtr kept = std::move(*at);  // until this returns
  waiters.erase(at);
  if (waiters.empty()) {
    line.ring.erase(tenant_at->second);
    line.tenants.erase(tenant_at);
  }
  if (--line.count == 0) lines_.erase(line_at);
  --waiting_;
  table_.Leave(*entry);
}

// The same one until it is dequeued.
LimitQueue::WaiterPtr LimitQueue::NextOf(Line& line) {
  while (true) {
    Tenant& first = line.ring.front();
    if (first.waiters.front()->cost <= first.deficit) return first.waiters.front();
    // Its turn is over, or begins: at most kCostMax / kQuantum rounds until somebody can pay.
    first.deficit += kQuantum;
    if (first.waiters.front()->cost <= first.deficit) return first.waiters.front();
    line.ring.splice(line.ring.end(), line.ring, line.ring.begin());
  }
}

void LimitQueue::Pump(const LimitEntry* entry) {
  const std::lock_guard lock(mutex_);
  const auto at = lines_.find(entry);
  if (at == lines_.end()) return;
  PumpLine(const_cast<LimitEntry&>(*entry), clock_.MonotonicNs());
}

void LimitQueue::PumpLine(LimitEntry& entry, int64_t now_ns) {
  while (true) {
    const auto at = lines_.find(&entry);
    if (at == lines_.end()) return;
    Line& line = *at->second;
    const WaiterPtr next = NextOf(line);
    LimitTable::Admission admission =
        table_.Admit(next->matches, next->ask, now_ns, LimitTable::As::kWaiting);
    if (admission.held_by == &entry) {
      table_.Leave(entry);  // where it waits already
      next->held = std::move(admission.held);
      line.next_try_ns = now_ns + next->held.retry_after_ms * kNsPerMs;
      return;
    }
    // Paid by its tenant, whose next turn comes behind the others' when the rest does not do.
    Tenant& tenant = *line.tenants.find(next->tenant)->second;
    if (admission.held_by == nullptr) {
      tenant.deficit -= next->cost;
      if (tenant.waiters.size() > 1 && tenant.waiters[1]->cost > tenant.deficit)
        line.ring.splice(line.ring.end(), line.ring, line.tenants.find(next->tenant)->second);
      Dequeue(*next);
      Finish(next, LimitOutcome(std::move(admission.ticket)));
    } else {
      Dequeue(*next);
      Enqueue(next, admission);
      boost::asio::post(next->loop->io, [next] {
        if (next->resume) next->queue->SetAlarm(*next);
      });
    }
  }
}

void LimitQueue::Finish(const WaiterPtr& waiter, LimitOutcome outcome) {
  waiter->outcome.emplace(std::move(outcome));
  boost::asio::post(waiter->loop->io, [waiter] {
    if (waiter->resume) waiter->resume();
  });
}

void LimitQueue::GiveUp(LimitWaiter& waiter, LimitHeld::Why why) {
  {
    const std::lock_guard lock(mutex_);
    if (waiter.at == nullptr) return;
    LimitEntry* const entry = waiter.at;
    Dequeue(waiter);
    waiter.held.why = why;
    if (why == LimitHeld::Why::kDeadline)
      table_.counts().Of(waiter.held.limit).expired.fetch_add(1, std::memory_order_relaxed);
    waiter.outcome.emplace(std::unexpected(waiter.held));
    // It may have stood before one that fits.
    if (lines_.contains(entry)) PumpLine(*entry, clock_.MonotonicNs());
  }
  waiter.resume();
}

// The frame ends. What it was given and did not take goes back.
void LimitQueue::Abandon(LimitWaiter& waiter) {
  waiter.resume = nullptr;
  waiter.set_alarm = nullptr;
  std::optional<LimitOutcome> unused;
  {
    const std::lock_guard lock(mutex_);
    if (waiter.at != nullptr) Dequeue(waiter);
    unused = std::exchange(waiter.outcome, std::nullopt);
  }
}

void LimitQueue::OnAlarm(LimitWaiter& waiter) {
  const int64_t now_ns = clock_.MonotonicNs();
  if (now_ns >= waiter.deadline_ns) return GiveUp(waiter, LimitHeld::Why::kDeadline);
  {
    const std::lock_guard lock(mutex_);
    if (waiter.at == nullptr) return;
    PumpLine(*waiter.at, now_ns);
  }
  SetAlarm(waiter);
}

void LimitQueue::SetAlarm(LimitWaiter& waiter) {
  int64_t after_ms = 0;
  {
    const std::lock_guard lock(mutex_);
    if (waiter.at == nullptr) return;
    after_ms = AlarmMs(waiter, clock_.MonotonicNs());
  }
  waiter.set_alarm(after_ms);
}

int64_t LimitQueue::AlarmMs(const LimitWaiter& waiter, int64_t now_ns) const {
  const int64_t due_ns = std::min(waiter.deadline_ns, lines_.find(waiter.at)->second->next_try_ns);
  const int64_t after_ms = (due_ns - now_ns + kNsPerMs - 1) / kNsPerMs;
  return std::clamp<int64_t>(after_ms, 1, kLookAgainMs);
}

int64_t LimitQueue::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_;
}

void LimitWait::Cancel() {
  if (waiter_ != nullptr) waiter_->queue->GiveUp(*waiter_, LimitHeld::Why::kCancelled);
}

}  // namespace spillway
