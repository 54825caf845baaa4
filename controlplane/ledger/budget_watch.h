#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "common/money.h"

namespace spillway {

// How much of one account of a budget is used: what alerts compare with their thresholds.
struct BudgetUse {
  std::string budget_id;
  std::string subject;         // empty, or the value of the budget's `each`
  int64_t window_start_s = 0;  // Unix seconds, control-plane time
  int64_t window_end_s = 0;    // 0: it never ends
  Nanos limit = 0;             // a raise that has not expired included
  Nanos settled = 0;           // charged by events in the ledger
};

// Told of the accounts that a committed batch changed, at most kBudgetUsesMax at a time (the rest
// follow in further calls), from the thread that committed it: it must return at once and call
// neither the ledger nor the lease desk. A change may be told late or twice, never out of order.
using BudgetWatch = std::function<void(std::span<const BudgetUse> changed)>;
inline constexpr size_t kBudgetUsesMax = 1024;

}  // namespace spillway
