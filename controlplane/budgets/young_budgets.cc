#include "controlplane/budgets/young_budgets.h"

#include <algorithm>

#include "controlplane/budgets/nanos_sum.h"
#include "controlplane/budgets/scope_match.h"
#include "controlplane/ledger/keys.h"

namespace spillway {

int64_t WindowStartOf(const v1::Budget& budget, int64_t time_ms) {
  return WindowAt(static_cast<WindowKind>(budget.window()), budget.rolling_hours(),
                  budget.time_zone(), time_ms)
      .start_s;
}

void YoungBudgets::Add(Young young) {
  young_.push_back(std::move(young));
  Index();
}

void YoungBudgets::Remove(const std::string& budget_id) {
  std::erase_if(young_, [&](const Young& young) { return young.budget.id() == budget_id; });
  Index();
}

std::vector<std::string> YoungBudgets::DropGrown(int64_t now_ns) {
  std::vector<std::string> grown;
  std::erase_if(young_, [&](const Young& young) {
    if (young.until_ns > now_ns) return false;
    grown.push_back(young.budget.id());
    return true;
  });
  if (!grown.empty()) Index();
  return grown;
}

void YoungBudgets::Restore() {
  for (auto& [budget_id, open] : taken_)
    for (Young& young : young_)
      if (young.budget.id() == budget_id) young.outstanding.insert(open);
  taken_.clear();
}

void YoungBudgets::Index() {
  scopes_.Clear();
  for (size_t i = 0; i < young_.size(); ++i) scopes_.Add(young_[i].budget.scope(), i);
}

std::vector<YoungBudgets::Missed> YoungBudgets::Of(const ChargeSink::Settlement& settlement,
                                                   int sign) {
  std::vector<Missed> missed;
  scopes_.EachCandidate(settlement.who,
                        [&](size_t at) { Settle(young_[at], settlement, sign, missed); });
  return missed;
}

void YoungBudgets::Settle(Young& young, const ChargeSink::Settlement& settlement, int sign,
                          std::vector<Missed>& missed) {
  const int64_t time_s = settlement.time_ms / 1000;
  if (time_s < young.window.start_s || time_s >= young.window.end_s) return;
  const bool named = std::ranges::any_of(settlement.charges, [&](const auto& charge) {
    return charge.account->budget_id() == young.budget.id();
  });
  if (named) return;
  const auto subject = SubjectIn(young.budget.scope(), settlement.who);
  if (!subject) return;
  Nanos delta = sign * settlement.cost;
  if (!young.outstanding.empty() && settlement.started_seq > 0) {
    const auto open =
        young.outstanding.find(ledger::OpenKey(settlement.holder.packed, settlement.started_seq));
    if (open != young.outstanding.end()) {
      delta = SaturatingSum(delta, -open->second);
      taken_.emplace_back(young.budget.id(), *open);
      young.outstanding.erase(open);
    }
  }
  if (delta == 0) return;
  Missed& one = missed.emplace_back();
  one.account.set_budget_id(young.budget.id());
  one.account.set_subject(std::string(*subject));
  one.account.set_window_start_s(WindowStartOf(young.budget, settlement.time_ms));
  one.delta = delta;
}

}  // namespace spillway
