#include "controlplane/budgets/budget_report.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "controlplane/budgets/overshoot.h"

namespace spillway {
namespace {

constexpr int kAccountsAtOnce = 64;  // under the book's lock
constexpr int kPageDefault = 100;
constexpr int kPageMax = 1000;
constexpr size_t kNamedMax = 5;

using State = LeaseHolderFigures::State;

std::string_view NameOf(State state) {
  switch (state) {
    case State::kLive:
      return "live";
    case State::kSilent:
      return "silent";
    case State::kTombstoned:
      return "tombstoned";
    case State::kClosed:
      break;
  }
  return "closed";
}

int64_t MsOf(int64_t seconds) {
  return seconds >= INT64_MAX / 1000 ? 0 : seconds * 1000;  // 0: never
}

Nanos StrandedOf(const LeaseAccountFigures& figures) {
  Nanos sum = 0;
  for (const LeaseHolderFigures& holder : figures.holders) sum += holder.stranded();
  return sum;
}

Nanos ReservedOf(const LeaseAccountFigures& figures) {
  Nanos sum = 0;
  for (const LeaseHolderFigures& holder : figures.holders) sum += holder.reserved;
  return sum;
}

v1::BudgetHolder HolderOf(const LeaseHolderFigures& figures, int64_t heard_ms) {
  v1::BudgetHolder holder;
  const bool before = figures.holder == kSeedHolder;
  holder.set_instance(before ? "(before)" : figures.instance);
  if (!before) holder.set_incarnation(figures.holder);
  holder.set_spent_nanos(figures.spent);
  holder.set_reserved_nanos(figures.reserved);
  holder.set_leased_nanos(figures.leased);
  holder.set_state(std::string(NameOf(figures.state)));
  holder.set_stranded_nanos(figures.stranded());
  holder.set_last_heard_ms(heard_ms);
  return holder;
}

void AddTo(v1::BudgetStatus& status, const v1::BudgetAccount& account) {
  const bool first = status.accounts() == 0;
  status.set_accounts(status.accounts() + 1);
  if (account.remainder_nanos() <= 0) status.set_accounts_at_limit(status.accounts_at_limit() + 1);
  status.set_settled_nanos(status.settled_nanos() + account.settled_nanos());
  status.set_reserved_nanos(status.reserved_nanos() + account.reserved_nanos());
  status.set_leased_nanos(status.leased_nanos() + account.leased_nanos());
  status.set_stranded_nanos(status.stranded_nanos() + account.stranded_nanos());
  status.set_remainder_nanos(first ? account.remainder_nanos()
                                   : std::min(status.remainder_nanos(), account.remainder_nanos()));
  status.set_overshoot_bound_nanos(
      std::max(status.overshoot_bound_nanos(), account.overshoot_bound_nanos()));
}

}  // namespace

std::string BudgetReport::WhyShut(const v1::Budget& budget,
                                  const LeaseAccountFigures& figures) const {
  if (!book_.Counted(budget.id())) return "what its scope spent before is still being counted";
  if (budget.frozen()) return "frozen";
  if (!figures.gated) return {};
  std::vector<LeaseHolderRow> waited_for;
  bool damaged = false;
  book_.Read([&](const LeaseKeeper& keeper) {
    waited_for = keeper.WaitedFor();
    damaged = keeper.stream_damaged();
  });
  if (damaged)
    return "restored from a backup: usage after it was freed or lost; 'spillway budgets open-gate' "
           "grants all the same";
  if (waited_for.empty()) return "restored from a backup: the usage stream is being replayed";
  std::string why = "restored from a backup: waiting for the report of";
  for (size_t i = 0; i < std::min(waited_for.size(), kNamedMax); ++i)
    why += (i == 0 ? " " : ", ") + waited_for[i].instance;
  if (waited_for.size() > kNamedMax)
    why += " and " + std::to_string(waited_for.size() - kNamedMax) + " more";
  return why + " (`spillway fleet retire INSTANCE` for one that is gone)";
}

v1::BudgetAccount BudgetReport::AccountOf(const v1::Budget& budget,
                                          const LeaseAccountFigures& figures,
                                          bool with_holders) const {
  v1::BudgetAccount account;
  const bool rolling = budget.window() == v1::WINDOW_ROLLING;
  account.set_subject(figures.subject);
  account.set_window_start_ms(MsOf(rolling
                                       ? RollingFrom(figures.window.start_s, budget.rolling_hours())
                                       : figures.window.start_s));
  account.set_window_end_ms(MsOf(rolling ? figures.resets_at_s : figures.window.end_s));
  account.set_limit_nanos(figures.limit);
  account.set_settled_nanos(figures.settled);
  account.set_reserved_nanos(ReservedOf(figures));
  account.set_leased_nanos(std::max<Nanos>(0, figures.exposure - figures.settled));
  account.set_exposure_nanos(figures.exposure);
  account.set_remainder_nanos(figures.remainder);
  account.set_stranded_nanos(StrandedOf(figures));
  v1::Account key;
  key.set_budget_id(budget.id());
  key.set_subject(figures.subject);
  key.set_window_start_s(figures.window.start_s);
  int64_t fleet_size = 0;
  book_.Read([&](const LeaseKeeper& keeper) { fleet_size = keeper.fleet_size(); });
  OvershootBound bound = BoundOf(
      budget, figures, [&](const std::string& h) { return book_.HintOf(key, h); }, fleet_size);
  account.set_overshoot_bound_nanos(bound.nanos);
  account.set_overshoot_bound_why(std::move(bound.why));
  account.set_refusing(WhyShut(budget, figures));
  if (!with_holders) return account;
  std::vector<const LeaseHolderFigures*> holders;
  holders.reserve(figures.holders.size());
  for (const LeaseHolderFigures& holder : figures.holders) holders.push_back(&holder);
  std::ranges::stable_sort(holders, std::ranges::greater(), &LeaseHolderFigures::leased);
  for (const LeaseHolderFigures* holder : holders)
    *account.add_holders() = HolderOf(*holder, book_.HeardMs(holder->holder));
  return account;
}

std::vector<LeaseAccountFigures> BudgetReport::Page(const std::string& budget_id,
                                                    const std::string& after, int max) const {
  std::vector<LeaseAccountFigures> page;
  std::string from = after.empty() ? after : after + '\0';  // the first subject behind it
  do {
    LeaseAccountPage part;
    const int wanted = max - static_cast<int>(page.size());
    book_.Read([&](const LeaseKeeper& keeper) { part = keeper.List(budget_id, from, wanted); });
    std::ranges::move(part.accounts, std::back_inserter(page));
    from = std::move(part.next);
  } while (!from.empty() && static_cast<int>(page.size()) < max);
  return page;
}

v1::BudgetStatus BudgetReport::Status(const v1::Budget& budget, int64_t accounts_max) const {
  v1::BudgetStatus status;
  *status.mutable_budget() = budget;
  LeaseAccountFigures untouched;
  book_.Read([&](const LeaseKeeper& keeper) { untouched = keeper.Figures(budget.id(), {}); });
  // Of an account that nobody used yet, or of the only one.
  const v1::BudgetAccount first = AccountOf(budget, untouched, false);
  status.set_limit_nanos(first.limit_nanos());
  status.set_remainder_nanos(first.remainder_nanos());
  status.set_window_start_ms(first.window_start_ms());
  status.set_window_end_ms(first.window_end_ms());
  status.set_refusing(first.refusing());
  std::string after;
  while (true) {
    const auto page = Page(budget.id(), after, kAccountsAtOnce);
    for (const LeaseAccountFigures& figures : page)
      AddTo(status, AccountOf(budget, figures, false));
    const bool last = static_cast<int>(page.size()) < kAccountsAtOnce;
    if (last || status.accounts() >= accounts_max) return status;
    after = page.back().subject;
  }
}

Result<v1::ShowBudgetResponse> BudgetReport::Show(const v1::Budget& budget,
                                                  const v1::ShowBudgetRequest& request) const {
  v1::ShowBudgetResponse response;
  if (!request.subject().empty()) {
    if (budget.scope().each().empty()) {
      return Fail(ErrorCode::kInvalidRequest,
                  "budget \"" + budget.name() +
                      "\" has one account; only one with `each` has "
                      "subjects",
                  "subject");
    }
    LeaseAccountFigures figures;
    book_.Read([&](const LeaseKeeper& keeper) {
      figures = keeper.Figures(budget.id(), request.subject());
    });
    *response.mutable_status() = Status(budget);
    *response.add_accounts() = AccountOf(budget, figures, true);
    return response;
  }
  *response.mutable_status() = Status(budget);
  const int wanted =
      request.page_size() <= 0 ? kPageDefault : std::min(request.page_size(), kPageMax);
  std::string after = request.page_token();
  while (response.accounts_size() < wanted) {
    const int max = std::min(kAccountsAtOnce, wanted - response.accounts_size());
    const auto page = Page(budget.id(), after, max);
    for (const LeaseAccountFigures& figures : page)
      *response.add_accounts() = AccountOf(budget, figures, true);
    if (static_cast<int>(page.size()) < max) return response;
    after = page.back().subject;
    if (after.empty()) return response;  // the only account
  }
  response.set_next_page_token(after);
  return response;
}

void BudgetReport::Collect(const std::vector<v1::Budget>& budgets, MetricsText& text) const {
  std::vector<v1::BudgetStatus> all;
  v1::BudgetStatus total;
  int64_t frozen = 0;
  for (const v1::Budget& budget : budgets) {
    v1::BudgetStatus status = Status(budget, kAccountsScraped);
    total.set_accounts(total.accounts() + status.accounts());
    total.set_accounts_at_limit(total.accounts_at_limit() + status.accounts_at_limit());
    total.set_settled_nanos(total.settled_nanos() + status.settled_nanos());
    total.set_leased_nanos(total.leased_nanos() + status.leased_nanos());
    total.set_stranded_nanos(total.stranded_nanos() + status.stranded_nanos());
    if (budget.frozen()) ++frozen;
    if (budget.scope().each().empty() && all.size() < kBudgetsShown)
      all.push_back(std::move(status));
  }
  const auto gauge = [&text](std::string_view name, std::string_view help, int64_t value) {
    text.Family(name, "gauge", help);
    text.Sample(name, {}, value);
  };
  gauge("spillway_budgets", "Budgets configured.", static_cast<int64_t>(budgets.size()));
  gauge("spillway_budgets_frozen", "Budgets that are frozen.", frozen);
  gauge("spillway_budget_accounts",
        "Accounts in running windows (these sums: 2,000 of each budget).", total.accounts());
  gauge("spillway_budget_accounts_at_limit", "Accounts with nothing left to grant.",
        total.accounts_at_limit());
  gauge("spillway_budget_exposure_all_nanos", "Settled and leased, over all accounts.",
        total.settled_nanos() + total.leased_nanos());
  gauge("spillway_budget_stranded_all_nanos", "Leased by holders that are not heard.",
        total.stranded_nanos());
  const auto by_name = [&](std::string_view name, std::string_view help, const auto& value) {
    text.Family(name, "gauge", help);
    for (const v1::BudgetStatus& status : all)
      text.Sample(name, {{"budget", status.budget().name()}}, value(status));
  };
  by_name("spillway_budget_limit_nanos", "Limit, a running raise included.",
          [](const v1::BudgetStatus& status) { return status.limit_nanos(); });
  by_name("spillway_budget_exposure_nanos", "Settled and leased.",
          [](const v1::BudgetStatus& s) { return s.settled_nanos() + s.leased_nanos(); });
  by_name("spillway_budget_remainder_nanos", "Limit less exposure.",
          [](const v1::BudgetStatus& status) { return status.remainder_nanos(); });
  by_name("spillway_budget_stranded_nanos", "Leased by holders that are not heard.",
          [](const v1::BudgetStatus& status) { return status.stranded_nanos(); });
}

}  // namespace spillway
