#include "controlplane/budgets/budget_roster.h"

#include <algorithm>
#include <set>
#include <utility>

#include "common/log.h"
#include "controlplane/budgets/count_before.h"
#include "controlplane/budgets/lease_tables.h"
#include "controlplane/budgets/nanos_sum.h"

namespace spillway {
namespace {

v1::StoredSeed SeedOf(const BudgetStart& start) {
  v1::StoredSeed seed;
  seed.mutable_youth()->set_window_start_s(start.window.start_s);
  seed.mutable_youth()->set_window_end_s(start.window.end_s);
  for (const auto& [key, reserved] : start.outstanding) {
    v1::StoredOutstanding& one = *seed.mutable_youth()->add_outstanding();
    one.set_open_key(key);
    one.set_reserved(reserved);
  }
  return seed;
}

// Without those that were settled since: their difference is charged.
Result<std::unordered_map<std::string, Nanos>> StillOpen(const Store& store,
                                                         const v1::StoredYouth& youth) {
  std::unordered_map<std::string, Nanos> open;
  for (const v1::StoredOutstanding& one : youth.outstanding()) {
    SW_TRY(const auto attempt, store.Get(Table::kLedgerOpen, one.open_key()));
    if (attempt && attempt->starts_with('O')) open.emplace(one.open_key(), one.reserved());
  }
  return open;
}

}  // namespace

std::vector<v1::Budget> ConfiguredBudgets(const ConfigStore& config) {
  std::vector<v1::Budget> budgets;
  config.Read([&](const ConfigStore::State& state) {
    for (auto at = state.lower_bound({v1::KIND_BUDGET, {}});
         at != state.end() && at->first.first == v1::KIND_BUDGET; ++at) {
      v1::Budget budget;
      if (budget.ParseFromString(at->second.bytes) && !budget.id().empty() &&
          budget.id().size() <= kBudgetIdBytesMax) {
        budgets.push_back(std::move(budget));
      } else {
        log::Fault("a stored budget cannot be read; nothing is granted from it",
                   {{"budget", at->first.second}});
      }
    }
  });
  return budgets;
}

BudgetTerms TermsOf(const v1::Budget& budget) {
  return {.id = budget.id(),
          .limit = budget.limit_nanos(),
          .raise = budget.raise_nanos(),
          .raise_until_ms = budget.raise_until_ms(),
          .frozen = budget.frozen(),
          .window = static_cast<WindowKind>(budget.window()),
          .rolling_hours = budget.rolling_hours(),
          .time_zone = budget.time_zone()};
}

bool BudgetRoster::Concerns(const CommittedRevision& revision) {
  const auto is_budget = [](const auto& entry) { return entry.kind() == v1::KIND_BUDGET; };
  return std::ranges::any_of(revision.upserts, is_budget) ||
         std::ranges::any_of(revision.removals, is_budget);
}

Result<void> BudgetRoster::Follow() {
  const std::lock_guard lock(mutex_);
  auto followed = FollowLocked();
  behind_ = !followed.has_value();
  return followed;
}

Result<void> BudgetRoster::ResumeYoung() {
  if (resumed_) return {};
  SW_CHECK(parts_.ledger.WhileQuiet([&]() -> Result<void> {
    std::vector<YoungBudgets::Young> resumed;
    for (v1::Budget& budget : ConfiguredBudgets(parts_.config)) {
      SW_TRY(const v1::StoredSeed seed, ReadSeed(parts_.store, budget.id()));
      if (!seed.has_youth()) continue;
      SW_TRY(auto outstanding, StillOpen(parts_.store, seed.youth()));
      resumed.push_back({.budget = std::move(budget),
                         .window = {.start_s = seed.youth().window_start_s(),
                                    .end_s = seed.youth().window_end_s()},
                         .until_ns = parts_.clock.MonotonicNs() + kYoungNs,
                         .outstanding = std::move(outstanding)});
    }
    for (YoungBudgets::Young& young : resumed) parts_.charges.young().Add(std::move(young));
    return {};
  }));
  resumed_ = true;
  return {};
}

Result<void> BudgetRoster::FollowLocked() {
  SW_CHECK(ResumeYoung());
  std::set<std::string> named;
  std::vector<v1::Budget> fresh;
  for (v1::Budget& budget : ConfiguredBudgets(parts_.config)) {
    named.insert(budget.id());
    const BudgetTerms terms = TermsOf(budget);
    if (!parts_.book.Counted(terms.id)) {
      fresh.push_back(std::move(budget));
      continue;
    }
    const auto known = known_.find(terms.id);
    if (known != known_.end() && known->second == terms) continue;
    parts_.book.Change([&terms](LeaseKeeper& keeper) { keeper.SetBudget(terms); });
    known_[terms.id] = terms;
  }
  for (const std::string& id : parts_.book.CountedIds())
    if (!named.contains(id)) SW_CHECK(Forget(id));
  return fresh.empty() ? Result<void>() : Count(fresh);
}

Result<void> BudgetRoster::Count(std::span<const v1::Budget> fresh) {
  return parts_.ledger.WhileQuiet([&]() -> Result<void> {
    int64_t now_ms = 0;
    parts_.book.Change([&now_ms](LeaseKeeper& keeper) { now_ms = keeper.time_ms(); });
    SW_TRY(std::vector<BudgetStart> starts, CountBefore(parts_.store, fresh, now_ms));
    WriteBatch batch;
    for (size_t i = 0; i < fresh.size(); ++i) {
      SW_CHECK(LeaveOutKnown(fresh[i], starts[i].before));
      PutSeed(batch, fresh[i].id(), SeedOf(starts[i]));
      parts_.charges.Seed(starts[i].before, batch);
    }
    SW_CHECK(parts_.store.Write(std::move(batch)));
    for (size_t i = 0; i < fresh.size(); ++i) {
      const BudgetTerms terms = TermsOf(fresh[i]);
      parts_.book.Count(terms, starts[i].before);
      known_[terms.id] = terms;
      parts_.charges.young().Add({.budget = fresh[i],
                                  .window = starts[i].window,
                                  .until_ns = parts_.clock.MonotonicNs() + kYoungNs,
                                  .outstanding = std::move(starts[i].outstanding)});
    }
    return {};
  });
}

// A budget that was removed and came back by a rollback still has its accounts: what they settled
// is in the roll-ups too, and must not count twice. (A rolling one is over-counted until its oldest
// buckets leave: its accounts are summed, not told apart.)
Result<void> BudgetRoster::LeaveOutKnown(const v1::Budget& budget,
                                         std::vector<LeaseAccountRow>& before) {
  if (budget.window() == v1::WINDOW_ROLLING) return {};
  for (LeaseAccountRow& row : before) {
    v1::Account account;
    account.set_budget_id(row.budget_id);
    account.set_subject(row.subject);
    account.set_window_start_s(row.window_start_s);
    Nanos settled = 0;
    parts_.book.Read([&](const LeaseKeeper& keeper) { settled = keeper.Settled(account); });
    if (settled == 0) continue;
    SW_TRY(const Nanos seeded, ReadCharge(parts_.store, LeaseKey(row)));
    const Nanos charged = SaturatingSum(settled, -seeded);
    row.settled = std::max<Nanos>(seeded, SaturatingSum(row.settled, -charged));
  }
  return {};
}

Result<void> BudgetRoster::Forget(const std::string& budget_id) {
  SW_CHECK(parts_.ledger.WhileQuiet([&]() -> Result<void> {
    WriteBatch batch;
    DropSeed(batch, budget_id);
    SW_CHECK(parts_.store.Write(std::move(batch)));
    parts_.charges.young().Remove(budget_id);
    return {};
  }));
  parts_.book.Forget(budget_id);
  known_.erase(budget_id);
  return {};
}

}  // namespace spillway
