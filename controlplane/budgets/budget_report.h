#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/error.h"
#include "common/metrics.h"
#include "controlplane/budgets/lease_book.h"
#include "spillway/v1/admin.pb.h"

namespace spillway {

// The accounts of budgets as people see them. Thread-safe; the book must outlive it. The book is
// locked for a few accounts at a time, so figures of different accounts may lie moments apart.
class BudgetReport {
 public:
  explicit BudgetReport(const LeaseBook& book) : book_(book) {}

  // Over the accounts of the running window, at most `accounts_max` of them, by subject.
  v1::BudgetStatus Status(const v1::Budget& budget, int64_t accounts_max = INT64_MAX) const;
  // kInvalidRequest: a subject that the budget cannot have.
  Result<v1::ShowBudgetResponse> Show(const v1::Budget& budget,
                                      const v1::ShowBudgetRequest& request) const;
  // Totals over all budgets; by name for the first kBudgetsShown that have no `each`.
  void Collect(const std::vector<v1::Budget>& budgets, MetricsText& text) const;

 private:
  static constexpr size_t kBudgetsShown = 100;
  static constexpr int64_t kAccountsScraped = 2'000;  // of each budget
  v1::BudgetAccount AccountOf(const v1::Budget& budget, const LeaseAccountFigures& figures,
                              bool with_holders) const;
  std::vector<LeaseAccountFigures> Page(const std::string& budget_id, const std::string& after,
                                        int max) const;
  std::string WhyShut(const v1::Budget& budget, const LeaseAccountFigures& figures) const;

  const LeaseBook& book_;
};

}  // namespace spillway
