#pragma once

#include <functional>

#include "common/error.h"
#include "spillway/v1/admin.pb.h"

namespace spillway::api {

// What the API needs of the accounts of budgets, wired by main. All may be called from many threads
// at once; where they are absent, figures are not available.
struct BudgetView {
  std::function<v1::BudgetStatus(const v1::Budget&)> status;
  std::function<Result<v1::ShowBudgetResponse>(const v1::Budget&, const v1::ShowBudgetRequest&)>
      show;
  std::function<Result<v1::OpenBudgetGateResponse>()> open_gate;
};

}  // namespace spillway::api
