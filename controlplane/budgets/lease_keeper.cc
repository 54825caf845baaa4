#include "controlplane/budgets/lease_keeper.h"

#include <algorithm>
#include <utility>

#include "controlplane/budgets/lease_keeper_rep.h"

namespace spillway {

LeaseKeeper::LeaseKeeper(const LeaseKeeperOptions& options) : rep_(std::make_unique<Rep>()) {
  rep_->options = options;
}
LeaseKeeper::~LeaseKeeper() = default;

// --- The start.

void LeaseKeeper::Load(const LeaseKeeperRow& row) { rep_->row = row; }

void LeaseKeeper::Load(const LeaseHolderRow& row) {
  KnownHolder& holder = rep_->HolderOf(row.holder);
  holder.row = row;
  holder.on_roster = true;
}

void LeaseKeeper::Load(const LeaseAccountRow& row) {
  Rep& rep = *rep_;
  KnownHolder& holder = rep.HolderOf(row.holder);
  LeasePool& pool = rep.PoolOf(row.budget_id, row.subject);
  LeaseEntry& entry = rep.EntryOf(pool, row.window_start_s, holder);
  const LeaseEntry before = entry;
  entry.granted = row.granted;
  entry.returned = row.returned;
  entry.settled = row.settled;
  entry.reported = row.reported;
  entry.final = row.final;
  rep.Moved(pool, row.window_start_s, pool.windows.find(row.window_start_s)->second, before, entry);
}

void LeaseKeeper::Begin(int64_t epoch, int64_t wall_ms, int64_t monotonic_ns) {
  Rep& rep = *rep_;
  rep.epoch = epoch;
  rep.time_us = std::max(rep.row.time_ms, wall_ms) * 1000;
  rep.monotonic_ns = monotonic_ns;
  // Until they have had time to be heard, those of before count into the fleet's size.
  for (auto& [id, holder] : rep.holders) {
    holder.heard_ms = rep.TimeMs();
    holder.closed_ms = rep.TimeMs();
  }
  rep.row_dirty = true;
  rep.CheckGate();
}

// --- Time.

void LeaseKeeper::Advance(int64_t wall_ms, int64_t monotonic_ns) {
  Rep& rep = *rep_;
  const int64_t elapsed_us = (monotonic_ns - rep.monotonic_ns) / 1000;
  if (elapsed_us <= 0) return;
  rep.monotonic_ns += elapsed_us * 1000;
  // T slews: a stepped wall clock would open windows early, or twice.
  const int64_t slew_us = elapsed_us / 1000 * rep.options.slew_per_mille +
                          elapsed_us % 1000 * rep.options.slew_per_mille / 1000;
  const int64_t wanted_us = wall_ms * 1000 - rep.time_us;
  rep.time_us += std::clamp(wanted_us, elapsed_us - slew_us, elapsed_us + slew_us);
  if (rep.TimeMs() >= rep.raise_ends_ms) rep.EndRaises();
}

int64_t LeaseKeeper::time_ms() const { return rep_->TimeMs(); }

// --- Budgets.

void LeaseKeeper::SetBudget(const BudgetTerms& terms) {
  Rep& rep = *rep_;
  KnownBudget& budget = rep.BudgetOf(terms.id);
  budget.terms = terms;
  budget.known = true;
  ++budget.version;
  for (auto& [subject, pool] : budget.pools) {
    pool.rolling_stale = true;
    // A raised limit or a thaw may serve those that wait.
    if (!pool.lacking.empty() && !std::exchange(pool.released, true)) rep.released.push_back(&pool);
  }
  rep.RetryReleased();
  rep.NoteRaise(budget);
  rep.RecallExcess(budget);
}

void LeaseKeeper::Rep::NoteRaise(KnownBudget& budget) {
  budget.raised = budget.terms.raise > 0 && budget.terms.raise_until_ms > TimeMs();
  if (budget.raised) raise_ends_ms = std::min(raise_ends_ms, budget.terms.raise_until_ms);
}

void LeaseKeeper::Rep::EndRaises() {
  raise_ends_ms = INT64_MAX;
  for (auto& [id, budget] : budgets) {
    if (!budget.raised) continue;
    NoteRaise(budget);
    if (!budget.raised && budget.known) RecallExcess(budget);
  }
}

void LeaseKeeper::RemoveBudget(std::string_view id) {
  const auto found = rep_->budgets.find(id);
  if (found == rep_->budgets.end()) return;
  found->second.known = false;
  ++found->second.version;
}

void LeaseKeeper::SetBudgets(std::span<const BudgetTerms> budgets) {
  boost::unordered_flat_set<std::string_view> named;
  for (const BudgetTerms& terms : budgets) {
    named.insert(terms.id);
    const auto found = rep_->budgets.find(terms.id);
    const bool same =
        found != rep_->budgets.end() && found->second.known && found->second.terms == terms;
    if (!same) SetBudget(terms);
  }
  for (auto& [id, budget] : rep_->budgets) {
    if (budget.known && !named.contains(id)) RemoveBudget(id);
  }
}

void LeaseKeeper::Seed(std::string_view budget_id, std::string_view subject, int64_t window_start_s,
                       Nanos spent) {
  LeasePool& pool = rep_->PoolOf(budget_id, subject);
  KnownHolder& nobody = rep_->HolderOf(kSeedHolder);
  rep_->Update(pool, window_start_s, nobody, [&](LeaseEntry& entry) {
    entry.settled = spent;
    entry.final = 0;
  });
}

// --- Events.

void LeaseKeeper::OnHolder(std::string_view holder, std::string_view instance) {
  if (holder.empty()) return;
  rep_->OnRoster(rep_->HolderOf(holder), instance);
}

void LeaseKeeper::OnCharge(std::string_view holder_id, const v1::Account& account, Nanos delta) {
  Rep& rep = *rep_;
  if (holder_id.empty()) return;
  KnownHolder& holder = rep.HolderOf(holder_id);
  rep.OnRoster(holder, {});
  if (!rep.Knows(account.budget_id())) {
    ++rep.unknown_accounts;
    return;
  }
  LeasePool& pool = rep.PoolOf(account.budget_id(), account.subject());
  rep.Update(pool, account.window_start_s(), holder,
             [&](LeaseEntry& entry) { entry.settled = SaturatingSum(entry.settled, delta); });
  rep.RetryReleased();
}

// closed{account -> charged}: final. An account that it does not name was given back whole (then
// what it reported is final), or its grant never arrived (then nothing was spent from it).
void LeaseKeeper::OnClosed(std::string_view holder_id, const v1::Closed& closed) {
  Rep& rep = *rep_;
  if (holder_id.empty()) return;
  KnownHolder& holder = rep.HolderOf(holder_id);
  rep.OnRoster(holder, {});
  if (holder.row.closed) return;
  holder.row.closed = true;
  holder.closed_ms = rep.TimeMs();
  rep.Touch(holder);
  rep.DropPending(holder);
  for (const v1::AccountCharge& charge : closed.accounts()) {
    const v1::Account& account = charge.account();
    if (!rep.Knows(account.budget_id())) {
      ++rep.unknown_accounts;
      continue;
    }
    LeasePool& pool = rep.PoolOf(account.budget_id(), account.subject());
    rep.Update(pool, account.window_start_s(), holder, [&](LeaseEntry& entry) {
      entry.final = std::max({Nanos{0}, charge.charged(), entry.final.value_or(0)});
    });
  }
  for (const auto& [pool, start_s] : holder.accounts) {
    rep.Update(*pool, start_s, holder, [](LeaseEntry& entry) {
      const bool given_back = entry.granted - entry.returned <= entry.reported;
      if (!entry.final) entry.final = given_back ? entry.reported : 0;
      entry.reserved = 0;
    });
    pool->rolling_stale = true;
  }
  rep.CheckGate();
  rep.RetryReleased();
}

// SILENCE, retire: permanent; accounts untouched. What it holds stays exposed: no reclaim by time.
void LeaseKeeper::Tombstone(std::string_view holder_id, bool retired) {
  Rep& rep = *rep_;
  if (holder_id.empty()) return;
  KnownHolder& holder = rep.HolderOf(holder_id);
  if (holder.row.tombstoned && (holder.row.retired || !retired)) return;
  holder.on_roster = true;
  holder.row.tombstoned = true;
  holder.row.retired = holder.row.retired || retired;
  rep.Touch(holder);
  rep.DropPending(holder);
  for (const auto& [pool, start_s] : holder.accounts) pool->rolling_stale = true;
  rep.CheckGate();
}

std::vector<std::string> LeaseKeeper::TombstoneInstance(std::string_view instance, bool retired) {
  std::vector<std::string> found;
  for (const auto& [id, holder] : rep_->holders) {
    const bool open = holder.on_roster && !holder.row.closed;
    if (open && holder.row.instance == instance) found.push_back(id);
  }
  for (const std::string& id : found) Tombstone(id, retired);
  return found;
}

// --- Effects.

bool LeaseKeeper::HasEffects() const {
  const Rep& rep = *rep_;
  return !rep.dirty.empty() || !rep.dirty_holders.empty() || rep.row_dirty || !rep.effects.empty();
}

LeaseEffects LeaseKeeper::TakeEffects() {
  Rep& rep = *rep_;
  LeaseEffects out = std::exchange(rep.effects, {});
  for (const Rep::Dirty& changed : std::exchange(rep.dirty, {})) {
    LeaseEntry& entry =
        changed.pool->windows.find(changed.start_s)->second.entries.find(changed.holder)->second;
    entry.dirty = false;
    out.accounts.push_back({.budget_id = changed.pool->budget->terms.id,
                            .subject = changed.pool->subject,
                            .window_start_s = changed.start_s,
                            .holder = changed.holder->row.holder,
                            .granted = entry.granted,
                            .returned = entry.returned,
                            .settled = entry.settled,
                            .reported = entry.reported,
                            .final = entry.final});
  }
  for (KnownHolder* holder : std::exchange(rep.dirty_holders, {})) {
    holder->dirty = false;
    out.holders.push_back(holder->row);
  }
  // T is on disk before anybody hears of it, so that it never goes back.
  if (std::exchange(rep.row_dirty, false) || !out.grants.empty()) {
    rep.row.time_ms = rep.TimeMs();
    out.keeper = rep.row;
  }
  return out;
}

}  // namespace spillway
