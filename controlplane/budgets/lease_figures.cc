// What people and metrics see of the keeper.
#include <algorithm>
#include <tuple>

#include "controlplane/budgets/lease_keeper_rep.h"

namespace spillway {
namespace {

constexpr int64_t kCountEveryMs = 500;
constexpr int kLookedAtOnce = 1'000;  // accounts of a budget: grants wait meanwhile

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

// The oldest window (rolling: bucket) that counts in `window`.
int64_t CountsFrom(const BudgetTerms& terms, const WindowSpan& window) {
  return terms.window == WindowKind::kRolling ? RollingFrom(window.start_s, terms.rolling_hours)
                                              : window.start_s;
}

bool HasAccountIn(const LeasePool& pool, const WindowSpan& window) {
  const auto first = pool.windows.lower_bound(CountsFrom(pool.budget->terms, window));
  return first != pool.windows.end() && first->first <= window.start_s;
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

WindowSpan LeaseKeeper::Rep::CurrentWindow(const BudgetTerms& terms) const {
  return WindowAt(terms.window, terms.rolling_hours, terms.time_zone, TimeMs());
}

LeaseAccountFigures LeaseKeeper::Rep::FiguresOf(const LeasePool& pool,
                                                const WindowSpan& window) const {
  const KnownBudget& budget = *pool.budget;
  const BudgetTerms& terms = budget.terms;
  const bool rolling = terms.window == WindowKind::kRolling;
  LeaseAccountFigures out{.subject = pool.subject, .window = window};
  out.resets_at_s = CountsUntil(terms.window, terms.rolling_hours, out.window);
  // A raise that lasted to a window's end still counts there when it is over.
  const bool raised_to_end = terms.raise_until_ms / 1000 >= window.end_s;
  out.limit = raised_to_end ? SaturatingSum(terms.limit, terms.raise) : LimitOf(budget);
  out.exposure = rolling && window.start_s != CurrentStart(budget)
                     ? RollingSum(pool, window.start_s).value()
                     : ExposureOf(pool, window.start_s);
  out.remainder = out.limit - out.exposure;
  out.gated = GateShut(budget, out.window.start_s);
  std::map<const KnownHolder*, LeaseHolderFigures> by_holder;
  for (auto at = pool.windows.lower_bound(CountsFrom(terms, window)); at != pool.windows.end();
       ++at) {
    if (at->first > out.window.start_s) break;
    out.settled = SaturatingSum(out.settled, at->second.settled.value());
    if (rolling && at->second.exposure.value() > 0) {
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
  if (const LeasePool* pool = rep_->FindPool(budget_id, subject))
    return rep_->FiguresOf(*pool, rep_->CurrentWindow(pool->budget->terms));
  // Nobody asked for it yet: all of it is there.
  const auto budget = rep_->budgets.find(budget_id);
  if (budget == rep_->budgets.end()) return {.subject = std::string(subject)};
  const BudgetTerms& terms = budget->second.terms;
  LeaseAccountFigures out{.subject = std::string(subject)};
  out.window = rep_->CurrentWindow(terms);
  out.resets_at_s = CountsUntil(terms.window, terms.rolling_hours, out.window);
  out.limit = rep_->LimitOf(budget->second);
  out.remainder = out.limit;
  out.gated = rep_->GateShut(budget->second, out.window.start_s);
  return out;
}

LeaseAccountFigures LeaseKeeper::Figures(std::string_view budget_id, std::string_view subject,
                                         int64_t window_start_s) const {
  const LeasePool* pool = rep_->FindPool(budget_id, subject);
  if (pool == nullptr) return Figures(budget_id, subject);
  const auto found = pool->windows.find(window_start_s);
  if (found == pool->windows.end()) return Figures(budget_id, subject);
  const BudgetTerms& terms = pool->budget->terms;
  if (terms.window != WindowKind::kRolling) return rep_->FiguresOf(*pool, found->second.span);
  const WindowSpan current = rep_->CurrentWindow(terms);
  const int64_t last_s = CountsUntil(terms.window, terms.rolling_hours, found->second.span) - 3600;
  return rep_->FiguresOf(*pool, last_s < current.start_s
                                    ? WindowSpan{.start_s = last_s, .end_s = last_s + 3600}
                                    : current);
}

LeaseAccountPage LeaseKeeper::List(std::string_view budget_id, std::string_view from_subject,
                                   int max, int64_t ended_within_ms) const {
  LeaseAccountPage page;
  const auto budget = rep_->budgets.find(budget_id);
  if (budget == rep_->budgets.end()) return page;
  const BudgetTerms& terms = budget->second.terms;
  std::vector<WindowSpan> windows = {rep_->CurrentWindow(terms)};
  const int64_t ended_ms = windows.front().start_s * 1000;
  if (terms.window != WindowKind::kRolling && rep_->TimeMs() - ended_ms < ended_within_ms) {
    windows.push_back(WindowAt(terms.window, terms.rolling_hours, terms.time_zone, ended_ms - 1));
  }
  const auto& pools = budget->second.pools;
  int found = 0;
  int looked_at = 0;
  for (auto pool = pools.lower_bound(from_subject); pool != pools.end(); ++pool) {
    if (found == max || looked_at++ == kLookedAtOnce) {
      page.next = pool->first;
      break;
    }
    const size_t before = page.accounts.size();
    for (const WindowSpan& window : windows) {
      if (HasAccountIn(pool->second, window))
        page.accounts.push_back(rep_->FiguresOf(pool->second, window));
    }
    found += page.accounts.size() > before ? 1 : 0;
  }
  return page;
}

Nanos LeaseKeeper::Exposure(const v1::Account& account) const {
  const LeasePool* pool = rep_->FindPool(account.budget_id(), account.subject());
  if (pool == nullptr) return 0;
  const auto window = pool->windows.find(account.window_start_s());
  return window == pool->windows.end() ? 0 : window->second.exposure.value();
}

Nanos LeaseKeeper::Settled(const v1::Account& account) const {
  const LeasePool* pool = rep_->FindPool(account.budget_id(), account.subject());
  if (pool == nullptr) return 0;
  const auto window = pool->windows.find(account.window_start_s());
  return window == pool->windows.end() ? 0 : window->second.settled.value();
}

bool LeaseKeeper::Knows(std::string_view budget_id) const { return rep_->Knows(budget_id); }

int64_t LeaseKeeper::unknown_accounts() const { return rep_->unknown_accounts; }

std::vector<LeaseHolderRow> LeaseKeeper::Holders() const {
  std::vector<LeaseHolderRow> out;
  for (const auto& [id, holder] : rep_->holders) {
    if (holder.on_roster) out.push_back(holder.row);
  }
  return out;
}

}  // namespace spillway
