// What people and metrics see of the keeper.
#include <algorithm>
#include <tuple>

#include "controlplane/budgets/lease_keeper_rep.h"

namespace spillway {
namespace {

constexpr int64_t kCountEveryMs = 500;

using State = LeaseHolderFigures::State;

State StateOf(const KnownHolder& holder, int64_t now_ms, int64_t live_ms) {
  if (holder.row.closed || !holder.on_roster) return State::kClosed;
  if (holder.row.tombstoned) return State::kTombstoned;
  return now_ms - holder.heard_ms > live_ms ? State::kSilent : State::kLive;
}

void AddTo(LeaseHolderFigures& out, const LeaseEntry& entry) {
  const Nanos known = std::max(entry.settled, entry.final.value_or(entry.reported));
  out.spent += known;
  if (entry.final) return;
  out.leased += entry.Exposure() - known;
  out.reserved += entry.reserved;
}

}  // namespace

// The data planes that are counted on: heard a moment ago, and not about to end.
int64_t LeaseKeeper::Rep::FleetSize() {
  if (TimeMs() - fleet_counted_ms < kCountEveryMs) return fleet;
  fleet_counted_ms = TimeMs();
  fleet = std::ranges::count_if(holders, [&](const auto& item) {
    return item.second.on_roster && StateOf(item.second, TimeMs(), options.live_ms) == State::kLive;
  });
  fleet = std::max<int64_t>(1, fleet);
  return fleet;
}

int64_t LeaseKeeper::fleet_size() const { return rep_->FleetSize(); }

LeaseAccountFigures LeaseKeeper::Rep::FiguresOf(const LeasePool& pool) const {
  const KnownBudget& budget = *pool.budget;
  const BudgetTerms& terms = budget.terms;
  const bool rolling = terms.window == WindowKind::kRolling;
  LeaseAccountFigures out{.subject = pool.subject};
  out.window = WindowAt(terms.window, terms.rolling_hours, terms.time_zone, TimeMs());
  out.resets_at_s = CountsUntil(terms.window, terms.rolling_hours, out.window);
  out.limit = LimitOf(budget);
  out.exposure = ExposureOf(pool, out.window.start_s);
  out.remainder = out.limit - out.exposure;
  out.gated = GateShut(budget, out.window.start_s);
  const int64_t from_s =
      rolling ? RollingFrom(out.window.start_s, terms.rolling_hours) : out.window.start_s;
  std::map<const KnownHolder*, LeaseHolderFigures> by_holder;
  for (auto at = pool.windows.lower_bound(from_s); at != pool.windows.end(); ++at) {
    if (at->first > out.window.start_s) break;
    out.settled += at->second.settled;
    if (rolling && at->second.exposure > 0) {
      out.resets_at_s =
          std::min(out.resets_at_s, at->first + (out.resets_at_s - out.window.start_s));
    }
    for (const auto& [holder, entry] : at->second.entries) AddTo(by_holder[holder], entry);
  }
  for (auto& [holder, figures] : by_holder) {
    figures.holder = holder->row.holder;
    figures.instance = holder->row.instance;
    figures.state = StateOf(*holder, TimeMs(), options.live_ms);
    figures.heard_ms = holder->heard_ms;
    out.holders.push_back(std::move(figures));
  }
  std::ranges::sort(out.holders, {}, [](const LeaseHolderFigures& holder) {
    return std::tie(holder.instance, holder.holder);
  });
  return out;
}

LeaseAccountFigures LeaseKeeper::Figures(std::string_view budget_id,
                                         std::string_view subject) const {
  if (const LeasePool* pool = rep_->FindPool(budget_id, subject)) return rep_->FiguresOf(*pool);
  // Nobody asked for it yet: all of it is there.
  const auto budget = rep_->budgets.find(budget_id);
  if (budget == rep_->budgets.end()) return {.subject = std::string(subject)};
  const BudgetTerms& terms = budget->second.terms;
  LeaseAccountFigures out{.subject = std::string(subject)};
  out.window = WindowAt(terms.window, terms.rolling_hours, terms.time_zone, rep_->TimeMs());
  out.resets_at_s = CountsUntil(terms.window, terms.rolling_hours, out.window);
  out.limit = rep_->LimitOf(budget->second);
  out.remainder = out.limit;
  out.gated = rep_->GateShut(budget->second, out.window.start_s);
  return out;
}

std::vector<LeaseAccountFigures> LeaseKeeper::List(std::string_view budget_id,
                                                   std::string_view after_subject, int max) const {
  std::vector<LeaseAccountFigures> out;
  const auto budget = rep_->budgets.find(budget_id);
  if (budget == rep_->budgets.end()) return out;
  const auto& pools = budget->second.pools;
  const BudgetTerms& terms = budget->second.terms;
  const int64_t start_s = rep_->CurrentStart(budget->second);
  const int64_t from_s =
      terms.window == WindowKind::kRolling ? RollingFrom(start_s, terms.rolling_hours) : start_s;
  // The empty subject, of a budget without `each`, is the first of a list that starts at nothing.
  auto pool = after_subject.empty() ? pools.begin() : pools.upper_bound(after_subject);
  for (; pool != pools.end() && static_cast<int>(out.size()) < max; ++pool) {
    const auto window = pool->second.windows.lower_bound(from_s);
    if (window == pool->second.windows.end() || window->first > start_s) continue;
    out.push_back(rep_->FiguresOf(pool->second));
  }
  return out;
}

Nanos LeaseKeeper::Exposure(const v1::Account& account) const {
  const LeasePool* pool = rep_->FindPool(account.budget_id(), account.subject());
  if (pool == nullptr) return 0;
  const auto window = pool->windows.find(account.window_start_s());
  return window == pool->windows.end() ? 0 : window->second.exposure;
}

Nanos LeaseKeeper::Settled(std::string_view budget_id, std::string_view subject) const {
  const LeasePool* pool = rep_->FindPool(budget_id, subject);
  if (pool == nullptr) return 0;
  const BudgetTerms& terms = pool->budget->terms;
  const int64_t start_s = rep_->CurrentStart(*pool->budget);
  const int64_t from_s =
      terms.window == WindowKind::kRolling ? RollingFrom(start_s, terms.rolling_hours) : start_s;
  Nanos sum = 0;
  for (auto at = pool->windows.lower_bound(from_s);
       at != pool->windows.end() && at->first <= start_s; ++at) {
    sum += at->second.settled;
  }
  return sum;
}

std::vector<LeaseHolderRow> LeaseKeeper::Holders() const {
  std::vector<LeaseHolderRow> out;
  for (const auto& [id, holder] : rep_->holders) {
    if (holder.on_roster) out.push_back(holder.row);
  }
  return out;
}

}  // namespace spillway
