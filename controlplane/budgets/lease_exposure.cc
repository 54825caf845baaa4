// The sums behind every grant: entries, windows, pools, and what they leave of the limit.
#include <algorithm>
#include <utility>

#include "controlplane/budgets/lease_keeper_rep.h"

namespace spillway {

Nanos LeaseEntry::Base() const { return std::max({granted - returned, settled, reported}); }

// x(A) = final == null ? max(g - r, s, p) : max(s, final)
Nanos LeaseEntry::Exposure() const { return final ? std::max(settled, *final) : Base(); }

Nanos LeaseAccountRow::Exposure() const {
  return final ? std::max(settled, *final) : std::max({granted - returned, settled, reported});
}

KnownBudget& LeaseKeeper::Rep::BudgetOf(std::string_view id) {
  const auto found = budgets.find(id);
  if (found != budgets.end()) return found->second;
  KnownBudget& budget = budgets[std::string(id)];
  budget.terms.id = id;
  return budget;
}

bool LeaseKeeper::Rep::Knows(std::string_view budget_id) const {
  return budgets.contains(budget_id);
}

LeasePool& LeaseKeeper::Rep::PoolOf(std::string_view budget_id, std::string_view subject) {
  KnownBudget& budget = BudgetOf(budget_id);
  const auto found = budget.pools.find(subject);
  if (found != budget.pools.end()) return found->second;
  LeasePool& pool = budget.pools[std::string(subject)];
  pool.budget = &budget;
  pool.subject = subject;
  return pool;
}

const LeasePool* LeaseKeeper::Rep::FindPool(std::string_view budget_id,
                                            std::string_view subject) const {
  const auto budget = budgets.find(budget_id);
  if (budget == budgets.end()) return nullptr;
  const auto pool = budget->second.pools.find(subject);
  return pool == budget->second.pools.end() ? nullptr : &pool->second;
}

KnownHolder& LeaseKeeper::Rep::HolderOf(std::string_view id) {
  const auto found = holders.find(id);
  if (found != holders.end()) return found->second;
  KnownHolder& holder = holders[std::string(id)];
  holder.row.holder = id;
  return holder;
}

LeaseWindow& LeaseKeeper::Rep::WindowOf(LeasePool& pool, int64_t start_s) {
  LeaseWindow& window = pool.windows[start_s];
  CheckWindow(pool, start_s, window);
  return window;
}

LeaseEntry& LeaseKeeper::Rep::EntryOf(LeasePool& pool, int64_t start_s, KnownHolder& holder) {
  LeaseWindow& window = WindowOf(pool, start_s);
  const auto [found, fresh] = window.entries.try_emplace(&holder);
  if (fresh) {
    holder.accounts.insert({&pool, start_s});
    // Its end named every account that it charged.
    if (holder.row.closed) found->second.final = 0;
  }
  return found->second;
}

void LeaseKeeper::Rep::Touch(KnownHolder& holder) {
  if (std::exchange(holder.dirty, true)) return;
  dirty_holders.push_back(&holder);
}

void LeaseKeeper::Rep::Touch(LeasePool& pool, int64_t start_s, KnownHolder& holder,
                             LeaseEntry& entry) {
  if (std::exchange(entry.dirty, true)) return;
  dirty.push_back({.pool = &pool, .start_s = start_s, .holder = &holder});
}

void LeaseKeeper::Rep::OnRoster(KnownHolder& holder, std::string_view instance) {
  if (!holder.on_roster) {
    holder.on_roster = true;
    holder.heard_ms = TimeMs();
    Touch(holder);
  }
  if (holder.row.instance.empty() && !instance.empty()) {
    holder.row.instance = instance;
    Touch(holder);
  }
}

void LeaseKeeper::Rep::Moved(LeasePool& pool, int64_t start_s, LeaseWindow& window,
                             const LeaseEntry& before, const LeaseEntry& after) {
  const auto move = [](NanosSum& sum, Nanos from, Nanos to) {
    sum.Subtract(from);
    sum.Add(to);
  };
  move(window.exposure, before.Exposure(), after.Exposure());
  move(window.settled, before.settled, after.settled);
  if (pool.budget->terms.window == WindowKind::kRolling) {
    // Buckets behind the window count otherwise (only what is outstanding): summed again.
    const bool counted =
        start_s >= RollingFrom(pool.rolling_bucket_s, pool.budget->terms.rolling_hours) &&
        start_s <= pool.rolling_bucket_s;
    if (counted && !pool.rolling_stale) {
      move(pool.rolling_exposure, before.Exposure(), after.Exposure());
    } else {
      pool.rolling_stale = true;
    }
  }
  const bool frees = after.Exposure() < before.Exposure() && !pool.lacking.empty();
  if (frees && !std::exchange(pool.released, true)) released.push_back(&pool);
}

// The start must be one of this budget's windows: a data plane that reckons in another time zone
// would otherwise get a second limit.
void LeaseKeeper::Rep::CheckWindow(const LeasePool& pool, int64_t start_s,
                                   LeaseWindow& window) const {
  const KnownBudget& budget = *pool.budget;
  if (window.checked_version == budget.version) return;
  window.checked_version = budget.version;
  const BudgetTerms& terms = budget.terms;
  constexpr int64_t kSecondsMax = INT64_MAX / 1000;
  const int64_t start_ms = std::clamp(start_s, -kSecondsMax, kSecondsMax) * 1000;
  window.span = WindowAt(terms.window, terms.rolling_hours, terms.time_zone, start_ms);
  window.valid = budget.known && window.span.start_s == start_s;
  window.span.start_s = start_s;
}

Nanos LeaseKeeper::Rep::LimitOf(const KnownBudget& budget) const {
  const bool raised = budget.terms.raise_until_ms > TimeMs();
  return raised ? SaturatingSum(budget.terms.limit, budget.terms.raise) : budget.terms.limit;
}

int64_t LeaseKeeper::Rep::CurrentStart(const KnownBudget& budget) const {
  const BudgetTerms& terms = budget.terms;
  return WindowAt(terms.window, terms.rolling_hours, terms.time_zone, TimeMs()).start_s;
}

// Rolling: the window that ends with that bucket.
NanosSum LeaseKeeper::Rep::RollingSum(const LeasePool& pool, int64_t bucket_s) const {
  const int64_t from_s = RollingFrom(bucket_s, pool.budget->terms.rolling_hours);
  NanosSum sum;
  for (const auto& [start_s, window] : pool.windows) {
    if (start_s > bucket_s) break;
    if (start_s >= from_s) {
      sum.Add(window.exposure);
      continue;
    }
    for (const auto& [holder, entry] : window.entries) {
      if (!holder->MayBeGranted()) continue;
      sum.Add(entry.Exposure());
      sum.Subtract(entry.settled);
    }
  }
  return sum;
}

// Rolling: the buckets of the last N hours, and on top what holders still have outstanding of older
// ones, since a call that was admitted then may yet be charged.
Nanos LeaseKeeper::Rep::RollingExposure(const LeasePool& pool) const {
  const int64_t bucket = CurrentStart(*pool.budget);
  if (pool.rolling_stale || bucket != pool.rolling_bucket_s) {
    pool.rolling_exposure = RollingSum(pool, bucket);
    pool.rolling_bucket_s = bucket;
    pool.rolling_stale = false;
  }
  return pool.rolling_exposure.value();
}

Nanos LeaseKeeper::Rep::ExposureOf(const LeasePool& pool, int64_t start_s) const {
  if (pool.budget->terms.window == WindowKind::kRolling) return RollingExposure(pool);
  const auto found = pool.windows.find(start_s);
  return found == pool.windows.end() ? 0 : found->second.exposure.value();
}

Nanos LeaseKeeper::Rep::RemainderOf(const LeasePool& pool, int64_t start_s) const {
  Nanos exposure = ExposureOf(pool, start_s);
  // One that waits in a bucket just over: the window that ended with it must hold, too.
  if (pool.budget->terms.window == WindowKind::kRolling && start_s < pool.rolling_bucket_s) {
    exposure = std::max(exposure, RollingSum(pool, start_s).value());
  }
  return LimitOf(*pool.budget) - exposure;
}

// What others than `but` may have idle: worth a recall.
Nanos LeaseKeeper::Rep::RecallableOf(const LeasePool& pool, int64_t start_s,
                                     const KnownHolder* but) const {
  const auto found = pool.windows.find(start_s);
  if (found == pool.windows.end()) return 0;
  NanosSum sum;
  for (const auto& [holder, entry] : found->second.entries) {
    if (holder == but || entry.final) continue;
    sum.Add(entry.Exposure() - std::max(entry.settled, entry.reported));
  }
  return sum.value();
}

// The part of it that somebody may yet give back: who is gone, or silent, gives nothing. Never too
// little, since figures only grow and a holder says late what it spent: a data plane that lacks
// more than this need not wait.
Nanos LeaseKeeper::Rep::ElsewhereOf(const LeasePool& pool, int64_t start_s,
                                    const KnownHolder* but) const {
  const bool rolling = pool.budget->terms.window == WindowKind::kRolling;
  NanosSum sum;
  for (const auto& [window_start_s, window] : pool.windows) {
    if (window_start_s != start_s && !rolling) continue;
    for (const auto& [holder, entry] : window.entries) {
      const bool mine = holder == but && window_start_s == start_s;
      const bool there = holder->MayBeGranted() && TimeMs() - holder->heard_ms <= options.live_ms;
      if (mine || entry.final || !there) continue;
      sum.Add(entry.Exposure() - std::max(entry.settled, entry.reported));
    }
  }
  return sum.value();
}

}  // namespace spillway
