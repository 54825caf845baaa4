// The parts around budgets: their accounts, the lease desk, alerts.
#include <algorithm>
#include <utility>
#include <vector>

#include "common/log.h"
#include "controlplane/budgets/restore_note.h"
#include "controlplane/control_plane.h"

namespace spillway {
namespace {

alerts::AccountSpend SpendOf(const v1::Budget& budget, const BudgetUse& use) {
  alerts::AccountSpend spend{.budget_id = budget.id(), .budget = budget.name()};
  spend.subject = use.subject;
  spend.window_start_ms = use.window_start_s * 1000;
  spend.window_end_ms = use.window_end_s * 1000;
  if (budget.window() == v1::WINDOW_ROLLING) {
    // Named by stretches of its length: once for each, not once for each of its hours.
    const int64_t stretch_ms = std::max<int64_t>(1, budget.rolling_hours()) * 3'600'000;
    spend.window_start_ms -= spend.window_start_ms % stretch_ms;
    spend.window_end_ms = spend.window_start_ms + stretch_ms;
  }
  spend.settled = use.settled;
  spend.limit = use.limit;
  spend.thresholds.assign(budget.alerts().begin(), budget.alerts().end());
  spend.notify.assign(budget.notify().begin(), budget.notify().end());
  spend.frozen = budget.frozen();
  return spend;
}

}  // namespace

Result<void> ControlPlane::OpenBudgets() {
  restore_noted_ = HasRestoreNote(options_.data_dir);
  std::vector<BudgetTerms> terms;
  for (const v1::Budget& budget : ConfiguredBudgets(*config_)) terms.push_back(TermsOf(budget));
  SW_TRY(lease_book_, LeaseBook::Open(*store_, clock_, terms, {.restored = restore_noted_}));
  account_charges_ = std::make_unique<AccountCharges>(*store_, *lease_book_, clock_);
  ledger_->SetChargeSink(account_charges_.get());
  budget_roster_ = std::make_unique<BudgetRoster>(BudgetRoster::Parts{.config = *config_,
                                                                      .store = *store_,
                                                                      .ledger = *ledger_,
                                                                      .book = *lease_book_,
                                                                      .charges = *account_charges_,
                                                                      .clock = clock_});
  budget_report_ = std::make_unique<BudgetReport>(*lease_book_);
  FollowBudgets();
  return {};
}

Result<void> ControlPlane::OpenAlerts() {
  alert_sinks_ = std::make_unique<alerts::ConfiguredSinks>(*config_, *seal_key_);
  alert_poster_ = std::make_unique<alerts::HttpPoster>(alerts::HttpPoster::Options{});
  SW_TRY(alerts_, alerts::Alerts::Open({.store = *store_,
                                        .clock = clock_,
                                        .sinks = *alert_sinks_,
                                        .poster = *alert_poster_,
                                        .accounts = [this](const auto& tell) { EachAccount(tell); },
                                        .window_ms = [this] { return WindowMs(); }},
                                       {}));
  return {};
}

std::unique_ptr<LeaseDesk> ControlPlane::MakeDesk() {
  return std::make_unique<LeaseDesk>(
      LeaseDesk::Parts{.bus = *bus_,
                       .book = *lease_book_,
                       .instances = *instances_,
                       .signer = *signer_,
                       .clock = clock_,
                       .epoch = [this] { return epoch_->value(); },
                       .on_higher_epoch = [this](int64_t epoch) { OnHigherEpoch(epoch); },
                       .replay = [this] { return ReplayState(); },
                       .on_tick = [this] { TickBudgets(); },
                       .watch = [this](auto uses) { NoteUses(uses); }},
      LeaseDeskOptions{});
}

void ControlPlane::FollowBudgets() {
  if (const auto followed = budget_roster_->Follow(); !followed) {
    log::Fault("budgets do not follow the configuration yet: nothing is granted from new ones",
               {{"reason", followed.error().message}});
  }
  auto budgets = std::make_shared<BudgetsById>();
  for (v1::Budget& budget : ConfiguredBudgets(*config_)) {
    std::string id = budget.id();
    (*budgets)[std::move(id)] = std::move(budget);
  }
  {
    const std::lock_guard lock(budgets_mutex_);
    budgets_ = std::move(budgets);
  }
  if (alerts_ != nullptr) alerts_->Sweep();
}

void ControlPlane::TickBudgets() {
  if (budget_roster_->behind()) FollowBudgets();
  if (!restore_noted_ || lease_book_->written_epoch() == 0) return;
  const auto removed = RemoveRestoreNote(options_.data_dir);
  if (!removed) log::Warn("the gate will shut once more", {{"reason", removed.error().message}});
  restore_noted_ = false;
}

std::shared_ptr<const ControlPlane::BudgetsById> ControlPlane::Budgets() const {
  const std::lock_guard lock(budgets_mutex_);
  return budgets_;
}

LeaseDesk::Replay ControlPlane::ReplayState() {
  const std::lock_guard lock(consumer_mutex_);
  if (consumer_ == nullptr) return {};
  const LedgerConsumer::Stats stats = consumer_->stats();
  return {.done = stats.caught_up, .damaged = stats.damaged};
}

void ControlPlane::NoteUses(std::span<const BudgetUse> uses) {
  const auto budgets = Budgets();
  for (const BudgetUse& use : uses) {
    const auto budget = budgets->find(use.budget_id);
    if (budget != budgets->end()) alerts_->Note(SpendOf(budget->second, use));
  }
}

void ControlPlane::EachAccount(const std::function<void(alerts::AccountSpend)>& tell) const {
  const auto budgets = Budgets();
  for (const auto& [id, budget] : *budgets) {
    // One that nobody has spent from may be frozen, too.
    tell(SpendOf(budget, {.budget_id = id, .limit = budget.limit_nanos()}));
    const auto tell_of = [&tell, &spent_from = budget](const BudgetUse& use) {
      alerts::AccountSpend spend = SpendOf(spent_from, use);
      if (!alerts::Conditions(spend).empty()) tell(std::move(spend));
    };
    lease_book_->EachUse(id, alerts::AlertsOptions().late_ms(), tell_of);
  }
}

int64_t ControlPlane::WindowMs() const {
  int64_t time_ms = 0;
  lease_book_->Read([&time_ms](const LeaseKeeper& keeper) { time_ms = keeper.time_ms(); });
  return time_ms;
}

api::BudgetView ControlPlane::BudgetFigures() {
  return {.status = [this](const v1::Budget& budget) { return budget_report_->Status(budget); },
          .show =
              [this](const v1::Budget& budget, const v1::ShowBudgetRequest& request) {
                return budget_report_->Show(budget, request);
              },
          .open_gate = [this]() -> Result<v1::OpenBudgetGateResponse> {
            v1::OpenBudgetGateResponse response;
            lease_book_->Change([&response](LeaseKeeper& keeper) {
              response.set_was_shut(keeper.gated());
              for (const LeaseHolderRow& holder : keeper.WaitedFor())
                response.add_waited_for(holder.instance);
              keeper.OpenGate();
            });
            return response;
          }};
}

}  // namespace spillway
