#include "controlplane/budgets/count_before.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "controlplane/budgets/nanos_sum.h"
#include "controlplane/budgets/scope_index.h"
#include "controlplane/budgets/scope_match.h"
#include "controlplane/budgets/young_budgets.h"
#include "controlplane/ledger/keys.h"
#include "controlplane/ledger/totals.h"

namespace spillway {
namespace {

constexpr int64_t kHourS = 3600;

v1::Attribution AttributionOf(const ledger::RollupId& row) {
  v1::Attribution who;
  who.set_organization(std::string(row.names[0]));
  who.set_team(std::string(row.names[1]));
  who.set_user(std::string(row.names[2]));
  who.set_key(std::string(row.names[3]));
  who.set_feature(std::string(row.names[4]));
  who.set_model(std::string(row.names[5]));
  who.set_route(std::string(row.names[6]));
  who.set_provider(std::string(row.names[7]));
  return who;
}

// One budget that is being counted.
struct Counting {
  Counting(const v1::Budget& the_budget, int64_t now_ms) : budget(the_budget) {
    const auto kind = static_cast<WindowKind>(budget.window());
    span = WindowAt(kind, budget.rolling_hours(), budget.time_zone(), now_ms);
    if (kind == WindowKind::kRolling)
      span.start_s = RollingFrom(span.start_s, budget.rolling_hours());
    // From here on whole hours lie in the window.
    first_hour_s = (span.start_s + kHourS - 1) / kHourS * kHourS;
    events_until_s = NeedsTags(budget.scope()) ? span.end_s : first_hour_s;
    if (NeedsTags(budget.scope())) first_hour_s = INT64_MAX;
  }

  bool TakesRow(int64_t hour_s) const { return hour_s >= first_hour_s && hour_s < span.end_s; }
  bool TakesEvent(int64_t time_ms) const {
    return time_ms >= span.start_s * 1000 && time_ms / 1000 < events_until_s;
  }
  bool Runs(int64_t time_ms) const {
    return time_ms / 1000 >= span.start_s && time_ms / 1000 < span.end_s;
  }
  bool Add(const v1::Attribution& who, int64_t time_ms, Nanos nanos) {
    const auto subject = SubjectIn(budget.scope(), who);
    if (!subject) return false;
    if (nanos == 0) return true;
    // Cheap for all but rolling ones: every time that gets here lies in the one window.
    const bool rolling = budget.window() == v1::WINDOW_ROLLING;
    const int64_t start_s = rolling ? WindowStartOf(budget, time_ms) : span.start_s;
    Nanos& sum = spent[{std::string(*subject), start_s}];
    sum = SaturatingSum(sum, nanos);
    return true;
  }

  const v1::Budget& budget;
  WindowSpan span;
  int64_t first_hour_s = 0;
  int64_t events_until_s = 0;
  std::map<std::pair<std::string, int64_t>, Nanos> spent;
  std::unordered_map<std::string, Nanos> outstanding;
};

// All that are counted in one pass, so that each row meets only those it may belong to.
struct Countings {
  explicit Countings(std::span<const v1::Budget> budgets, int64_t now_ms) {
    all.reserve(budgets.size());
    for (const v1::Budget& budget : budgets) {
      scopes.Add(budget.scope(), all.size());
      all.emplace_back(budget, now_ms);
    }
  }
  template <typename Visit>
  void EachFor(const v1::Attribution& who, const Visit& visit) {
    scopes.EachCandidate(who, [&](size_t at) { visit(all[at]); });
  }

  std::vector<Counting> all;
  ScopeIndex scopes;
};

Result<void> AddRollups(const Store& store, Countings& countings) {
  int64_t from_s = INT64_MAX;
  for (const Counting& counting : countings.all) from_s = std::min(from_s, counting.first_hour_s);
  if (from_s == INT64_MAX) return {};
  return store.Scan(Table::kLedgerRollups, {}, ledger::HourPrefix(std::max<int64_t>(from_s, 0)),
                    [&](std::string_view key, std::string_view value) {
                      const auto row = ledger::ReadRollupKey(key);
                      const auto totals = ledger::Totals::FromBytes(value);
                      if (!row || !totals || totals->events == 0) return true;
                      const v1::Attribution who = AttributionOf(*row);
                      countings.EachFor(who, [&](Counting& counting) {
                        if (counting.TakesRow(row->hour_s))
                          counting.Add(who, row->hour_s * 1000, totals->cost_nanos);
                      });
                      return true;
                    });
}

Result<void> AddEvents(const Store& store, Countings& countings) {
  int64_t from_s = INT64_MAX;
  int64_t until_s = 0;
  for (const Counting& counting : countings.all) {
    if (counting.events_until_s <= counting.span.start_s) continue;
    from_s = std::min(from_s, counting.span.start_s);
    until_s = std::max(until_s, counting.events_until_s);
  }
  if (from_s == INT64_MAX) return {};
  const std::string from = ledger::HourPrefix(std::max<int64_t>(from_s, 0) * 1000);
  return store.Scan(Table::kLedgerEvents, {}, from,
                    [&](std::string_view key, std::string_view value) {
                      const auto id = ledger::ReadEventKey(key);
                      if (!id) return true;
                      if (id->time_ms / 1000 >= until_s) return false;
                      v1::UsageRecord record;
                      if (!record.ParseFromArray(value.data(), static_cast<int>(value.size())))
                        return true;
                      const auto totals = ledger::TotalsOfEvent(record);
                      if (!totals) return true;
                      const v1::Attribution& who = ledger::AttributionOf(record);
                      countings.EachFor(who, [&](Counting& counting) {
                        if (counting.TakesEvent(id->time_ms))
                          counting.Add(who, id->time_ms, totals->cost_nanos);
                      });
                      return true;
                    });
}

// A budget that came back: the attempt's own account of it has the money.
bool Names(const v1::Started& started, const v1::Budget& budget) {
  return std::ranges::any_of(started.accounts(), [&](const v1::Account& account) {
    return account.budget_id() == budget.id();
  });
}

Result<void> AddOpen(const Store& store, Countings& countings) {
  return store.Scan(Table::kLedgerOpen, {}, {}, [&](std::string_view key, std::string_view value) {
    v1::UsageRecord record;
    if (value.empty() || value.front() != 'O' ||
        !record.ParseFromArray(value.data() + 1, static_cast<int>(value.size() - 1)))
      return true;
    const Nanos reserved = std::max<Nanos>(record.started().reserved_nanos(), 0);
    const v1::Attribution& who = record.started().attribution();
    countings.EachFor(who, [&](Counting& counting) {
      if (!counting.Runs(record.time_ms()) || Names(record.started(), counting.budget)) return;
      if (counting.Add(who, record.time_ms(), reserved))
        counting.outstanding.emplace(key, reserved);
    });
    return true;
  });
}

}  // namespace

Result<std::vector<BudgetStart>> CountBefore(const Store& store,
                                             std::span<const v1::Budget> budgets, int64_t now_ms) {
  Countings countings(budgets, now_ms);
  SW_CHECK(AddRollups(store, countings));
  SW_CHECK(AddEvents(store, countings));
  SW_CHECK(AddOpen(store, countings));
  std::vector<BudgetStart> starts;
  starts.reserve(countings.all.size());
  for (Counting& counting : countings.all) {
    BudgetStart& start = starts.emplace_back();
    start.window = counting.span;
    start.outstanding = std::move(counting.outstanding);
    for (const auto& [place, nanos] : counting.spent)
      start.before.push_back({.budget_id = counting.budget.id(),
                              .subject = place.first,
                              .window_start_s = place.second,
                              .holder = std::string(kSeedHolder),
                              .settled = nanos});
  }
  return starts;
}

}  // namespace spillway
