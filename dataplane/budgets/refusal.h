#pragma once

#include <cstdint>
#include <string_view>

#include "common/error.h"
#include "common/window.h"
#include "dataplane/snapshot/snapshot.h"

namespace spillway {

// Why a budget refuses, in words for the client: kBudgetExceeded naming the budget, when it starts
// anew (RFC 3339) and retry_after_ms. `transient` is
// set where the next second may undo it.

// Nothing is left, or not enough. `never_fits`: the call alone exceeds the whole limit.
Error BudgetExhausted(const BudgetSpec& spec, std::string_view subject, const WindowSpan& window,
                      int64_t time_ms, bool never_fits);
// The kill switch.
Error BudgetFrozen(const BudgetSpec& spec);
// Something may be left, but nobody who knows answers: out of contact and the policy allows no
// more, or no answer within lease_wait. Transient.
Error BudgetUnconfirmed(const BudgetSpec& spec, std::string_view subject, bool out_of_contact);
// Ends of calls cannot be journalled, so that nobody could prove what is spent. Transient.
Error BudgetUnprovable(const BudgetSpec& spec);
Error TooManyBudgets(size_t budgets);

}  // namespace spillway
