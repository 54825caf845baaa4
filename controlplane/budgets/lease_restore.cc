// Behind a restore: the gate, and what is dropped when nobody asks for it any more.
#include <algorithm>
#include <utility>

#include "controlplane/budgets/lease_keeper_rep.h"

namespace spillway {
namespace {

constexpr int64_t kRollingKeepS = int64_t{2} * 3600;
constexpr int64_t kOutstandingKeepS = int64_t{31} * 24 * 3600;
constexpr int64_t kClosedHolderKeepMs = int64_t{24} * 3600 * 1000;

}  // namespace

void LeaseKeeper::BeginRestore(bool stream_damaged) {
  Rep& rep = *rep_;
  // A backup made behind a gate that damage keeps shut still lacks what was lost then.
  const bool still_damaged = rep.row.gated && rep.row.stream_damaged;
  rep.row.gated = true;
  rep.row.restored_at_ms = rep.TimeMs();
  rep.row.restore_epoch = rep.epoch;
  rep.row.replayed = false;
  rep.row.stream_damaged = stream_damaged || still_damaged;
  rep.row_dirty = true;
  for (auto& [id, holder] : rep.holders) {
    if (!holder.on_roster) continue;
    holder.row.reconciled_epoch = 0;
    // The backup knows all that one tombstoned by then was ever granted.
    if (holder.row.tombstoned) holder.row.retired = true;
    rep.Touch(holder);
  }
}

void LeaseKeeper::ReplayDone() {
  if (std::exchange(rep_->row.replayed, true)) return;
  rep_->row_dirty = true;
  rep_->CheckGate();
}

void LeaseKeeper::OpenGate() {
  if (!std::exchange(rep_->row.gated, false)) return;
  rep_->row_dirty = true;
}

bool LeaseKeeper::gated() const { return rep_->row.gated; }

bool LeaseKeeper::stream_damaged() const { return rep_->row.gated && rep_->row.stream_damaged; }

bool LeaseKeeper::Rep::Excused(const KnownHolder& holder) const {
  return !holder.on_roster || holder.row.closed || holder.row.retired ||
         holder.row.reconciled_epoch >= row.restore_epoch;
}

std::vector<LeaseHolderRow> LeaseKeeper::WaitedFor() const {
  std::vector<LeaseHolderRow> out;
  if (!rep_->row.gated) return out;
  for (const auto& [id, holder] : rep_->holders) {
    if (!rep_->Excused(holder)) out.push_back(holder.row);
  }
  return out;
}

// Opens when each h of the roster is reconciled, closed, or excused; never by itself when events
// may be missing: nobody could tell what they charged.
void LeaseKeeper::Rep::CheckGate() {
  if (!row.gated || !row.replayed || row.stream_damaged) return;
  for (const auto& [id, holder] : holders) {
    if (!Excused(holder)) return;
  }
  row.gated = false;
  row_dirty = true;
}

// Windows that had begun at the restore. A rolling one counts its older buckets too.
bool LeaseKeeper::Rep::GateShut(const KnownBudget& budget, int64_t start_s) const {
  if (!row.gated) return false;
  const bool rolling = budget.terms.window == WindowKind::kRolling;
  const int64_t from_s = rolling ? RollingFrom(start_s, budget.terms.rolling_hours) : start_s;
  return from_s <= row.restored_at_ms / 1000;
}

// --- Pruning.

// True when it was dropped.
bool LeaseKeeper::Rep::PruneWindow(LeasePool& pool, int64_t start_s, LeaseWindow& window) {
  CheckWindow(pool, start_s, window);
  const BudgetTerms& terms = pool.budget->terms;
  const bool rolling = terms.window == WindowKind::kRolling;
  const int64_t until_s = CountsUntil(terms.window, terms.rolling_hours, window.span);
  const int64_t now_s = TimeMs() / 1000;
  const int64_t keep_s = rolling ? kRollingKeepS : options.keep_window_s;
  if (until_s > now_s - keep_s) return false;
  for (const auto& [holder, entry] : window.entries) {
    if (entry.dirty) return false;
    // Still out with somebody who may come back and charge it.
    const bool outstanding = holder->MayBeGranted() && entry.Exposure() > entry.settled;
    if (outstanding && until_s > now_s - kOutstandingKeepS) return false;
  }
  for (const auto& [holder, entry] : window.entries) {
    effects.dropped_accounts.push_back({.budget_id = terms.id,
                                        .subject = pool.subject,
                                        .window_start_s = start_s,
                                        .holder = holder->row.holder});
    holder->accounts.erase({&pool, start_s});
  }
  pool.rolling_stale = true;
  return true;
}

// Pools one after the other from where the last call stopped.
int LeaseKeeper::Prune(int max) {
  Rep& rep = *rep_;
  int looked_at = 0;
  auto budget = rep.budgets.lower_bound(rep.prune_after.first);
  std::string after = rep.prune_after.second;
  int dropped = 0;
  while (budget != rep.budgets.end()) {
    auto& pools = budget->second.pools;
    for (auto pool = pools.lower_bound(after); pool != pools.end();) {
      if (looked_at >= max) {
        rep.prune_after = {budget->first, pool->first};
        return dropped;
      }
      LeasePool& at = pool->second;
      looked_at += static_cast<int>(at.windows.size());
      const size_t was = at.windows.size();
      std::erase_if(at.windows,
                    [&](auto& item) { return rep.PruneWindow(at, item.first, item.second); });
      dropped += static_cast<int>(was - at.windows.size());
      const bool empty = at.windows.empty() && at.lacking.empty() && !at.released;
      pool = empty ? pools.erase(pool) : std::next(pool);
    }
    after.clear();
    const bool gone = !budget->second.known && pools.empty();
    budget = gone ? rep.budgets.erase(budget) : std::next(budget);
  }
  rep.prune_after = {};
  std::erase_if(rep.holders, [&](const auto& item) {
    const KnownHolder& holder = item.second;
    const bool gone = holder.row.closed && holder.accounts.empty() && !holder.dirty &&
                      rep.TimeMs() - holder.closed_ms > kClosedHolderKeepMs;
    if (gone) rep.effects.dropped_holders.push_back(item.first);
    return gone;
  });
  return dropped;
}

}  // namespace spillway
