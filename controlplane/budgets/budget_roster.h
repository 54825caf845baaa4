#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/clock.h"
#include "common/error.h"
#include "controlplane/budgets/account_charges.h"
#include "controlplane/budgets/lease_book.h"
#include "controlplane/ledger/ledger.h"
#include "controlplane/store/config_store.h"
#include "controlplane/store/store.h"

namespace spillway {

// The configured budgets, sorted by name; those that cannot be read are left out and logged.
std::vector<v1::Budget> ConfiguredBudgets(const ConfigStore& config);
BudgetTerms TermsOf(const v1::Budget& budget);

// Keeps the book's budgets as the configuration has them. A new one is counted before anything is
// granted from it: what its scope spent in the running window, and what is outstanding, is charged
// to a pseudo-holder, in one synced batch with the note that it was counted. Thread-safe; the parts
// must outlive it.
class BudgetRoster {
 public:
  struct Parts {
    const ConfigStore& config;
    Store& store;
    Ledger& ledger;
    LeaseBook& book;
    AccountCharges& charges;
    const Clock& clock;
  };
  explicit BudgetRoster(const Parts& parts) : parts_(parts) {}

  // Follows the configuration as it stands. Call it at the start and after each commit that changed
  // a budget, before data planes hear of it. On an error (the store's) what is new waits for the
  // next call: nothing is granted from it.
  Result<void> Follow();
  // A revision that changed no budget needs no Follow.
  static bool Concerns(const CommittedRevision& revision);
  // A Follow failed: call it again.
  bool behind() const { return behind_.load(std::memory_order_relaxed); }

 private:
  // Attempts that began before a budget was made have ended by then (a call lasts 10 minutes at
  // most, unless configured otherwise).
  static constexpr int64_t kYoungNs = int64_t{15} * 60 * 1'000'000'000;
  Result<void> FollowLocked();
  // Those that were young when the last process ended are young again: what ended meanwhile is
  // yet to come.
  Result<void> ResumeYoung();
  Result<void> Count(std::span<const v1::Budget> fresh);
  Result<void> LeaveOutKnown(const v1::Budget& budget, std::vector<LeaseAccountRow>& before);
  Result<void> Forget(const std::string& budget_id);

  const Parts parts_;
  std::mutex mutex_;                                    // one Follow at a time
  std::unordered_map<std::string, BudgetTerms> known_;  // by id, as the book has them
  bool resumed_ = false;
  std::atomic<bool> behind_{false};
};

}  // namespace spillway
