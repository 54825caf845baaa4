#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/error.h"
#include "common/window.h"
#include "controlplane/budgets/lease_rows.h"
#include "controlplane/store/store.h"
#include "spillway/v1/resources.pb.h"

namespace spillway {

// What a new budget starts with.
struct BudgetStart {
  WindowSpan window;  // the running one; rolling: all buckets that count
  // One row for each subject and window, of the pseudo-holder for what was before.
  std::vector<LeaseAccountRow> before;
  // Attempts that run now and name no account of it: their reservations are in `before` already. By
  // OpenKey (ledger/keys.h).
  std::unordered_map<std::string, Nanos> outstanding;
};

// Parallel to `budgets`, from one pass over the ledger. Whole hours come from the roll-ups, the
// rest of a window that begins within an hour, and scopes with tags, from single events (as far as
// they are kept). Call it while the ledger is quiet; costs grow with the roll-up rows of the
// windows.
Result<std::vector<BudgetStart>> CountBefore(const Store& store,
                                             std::span<const v1::Budget> budgets, int64_t now_ms);

}  // namespace spillway
