#pragma once

#include <cstdint>
#include <string>

#include "spillway/v1/admin.pb.h"

namespace spillway::cli {

// Words for people about budgets. None of them ends with a newline unless it says so.

// "day", "month Europe/Berlin", "last 24 h", "lifetime".
std::string WindowText(const v1::Budget& budget);
std::string ResetText(int64_t window_end_ms);  // "never" for 0
// "frozen", "at its limit", why nothing is granted, or "open".
std::string StateText(const v1::BudgetStatus& status);
std::string StateText(const v1::BudgetAccount& account);
// "live", "silent, last heard 3 m ago", "tombstoned", "closed".
std::string HolderText(const v1::BudgetHolder& holder, int64_t now_ms);
// The budget as it is configured: some lines.
std::string HeadText(const v1::BudgetStatus& status);
// What the overshoot bound of the accounts is made of and what it means: some lines.
std::string BoundText(const v1::ShowBudgetResponse& response);

}  // namespace spillway::cli
