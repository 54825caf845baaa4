#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "common/clock.h"
#include "dataplane/exchange/loop.h"
#include "dataplane/limits/limits.h"
#include "dataplane/limits/table.h"

namespace spillway {

// One request that waits. Shared: by its coroutine, by the queue, and by a wake-up that was posted
// to its loop and may arrive after the coroutine's end.
struct LimitWaiter {
  std::span<const RateLimitMatch> matches;
  LimitAsk ask;
  std::string tenant;
  int64_t deadline_ns = 0;
  Loop* loop = nullptr;

  // Guarded by the queue.
  LimitEntry* at = nullptr;             // the bucket it waits for; nullptr: it does not
  int64_t cost = 0;                     // of its turn there
  LimitHeld held;                       // the last answer
  std::optional<LimitOutcome> outcome;  // set once

  // The loop's thread only.
  class LimitQueue* queue = nullptr;
  std::function<void()> resume;  // empty: its frame is gone
  std::function<void(int64_t after_ms)> set_alarm;
  bool resumed = false;
};

// Who waits for which bucket, and whose turn is next: deficit round robin over tenants, each a
// queue of its own in the order of arrival. A tenant's turn is worth kQuantum tokens; where
// requests or slots are lacking every request costs a whole turn. The first in turn is waited for,
// nobody overtakes him. Thread-safe; a request is admitted by whoever finds room for it (a release,
// gossip, the alarm of one that waits) and resumed on its own loop. Its lock is taken before the
// table's.
class LimitQueue {
 public:
  static constexpr int64_t kQuantum = 16'384;
  static constexpr int64_t kCostMax = int64_t{64} * kQuantum;

  LimitQueue(LimitTable& table, const RateLimitOptions& options, const Clock& clock);

  Task<LimitOutcome> Wait(Loop& loop, std::span<const RateLimitMatch> matches, LimitAsk ask,
                          LimitWaitOptions options);
  // Something may fit: admits who can be.
  void Pump(const LimitEntry* entry);
  int64_t waiting() const;

  // Of a waiter's own loop. It leaves, unless it was admitted in the meantime.
  void GiveUp(LimitWaiter& waiter, LimitHeld::Why why);

 private:
  using WaiterPtr = std::shared_ptr<LimitWaiter>;
  struct Tenant {
    std::string name;
    std::deque<WaiterPtr> waiters;
    int64_t deficit = 0;
  };
  struct Line {
    std::list<Tenant> ring;  // whose turn it is stands first
    boost::unordered_flat_map<std::string, std::list<Tenant>::iterator> tenants;
    int64_t count = 0;
    int64_t next_try_ns = 0;  // time alone admits nobody before
  };
  class Stay;

  // nullopt: it waits now.
  std::optional<LimitOutcome> Begin(const WaiterPtr& waiter);
  void OnAlarm(LimitWaiter& waiter);
  void SetAlarm(LimitWaiter& waiter);
  void Abandon(LimitWaiter& waiter);

  // With the lock.
  void Enqueue(const WaiterPtr& waiter, const LimitTable::Admission& admission);
  void Dequeue(LimitWaiter& waiter);
  WaiterPtr NextOf(Line& line);
  void PumpLine(LimitEntry& entry, int64_t now_ns);
  void Finish(const WaiterPtr& waiter, LimitOutcome outcome);
  int64_t AlarmMs(const LimitWaiter& waiter, int64_t now_ns) const;

  LimitTable& table_;
  const RateLimitOptions options_;
  const Clock& clock_;
  mutable std::mutex mutex_;
  boost::unordered_flat_map<const LimitEntry*, std::unique_ptr<Line>> lines_;
  int64_t waiting_ = 0;
};

}  // namespace spillway
