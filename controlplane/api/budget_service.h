#pragma once

#include <functional>
#include <string>
#include <utility>

#include "common/clock.h"
#include "controlplane/api/budget_view.h"
#include "controlplane/api/change_set.h"
#include "controlplane/api/config_writer.h"
#include "controlplane/api/fleet_view.h"
#include "controlplane/api/refusal.h"
#include "controlplane/store/config_store.h"
#include "spillway/v1/admin.pb.h"

namespace spillway::api {

// Budgets: what they are at, the kill switch, temporary raises. Each change is one revision, so
// that every data plane has it within the time of a publication. Thread-safe; the references must
// outlive it.
class BudgetService {
 public:
  BudgetService(ConfigStore& store, ConfigWriter& writer, const Clock& clock, BudgetView view,
                MayWrite may_write)
      : store_(store),
        writer_(writer),
        clock_(clock),
        view_(std::move(view)),
        may_write_(std::move(may_write)) {}

  Outcome<v1::ListBudgetsResponse> List(const v1::ListBudgetsRequest& request) const;
  Outcome<v1::ShowBudgetResponse> Show(const v1::ShowBudgetRequest& request) const;
  // Frozen: nothing more is admitted under it; what runs goes on. Freezing twice changes nothing.
  Outcome<v1::ApplyResponse> Freeze(const v1::FreezeBudgetRequest& request,
                                    const std::string& author);
  Outcome<v1::ApplyResponse> Raise(const v1::RaiseBudgetRequest& request,
                                   const std::string& author);
  Outcome<v1::ApplyResponse> LowerRaise(const v1::LowerRaiseRequest& request,
                                        const std::string& author);
  Outcome<v1::OpenBudgetGateResponse> OpenGate() const;

 private:
  using Edit = std::function<Outcome<void>(v1::Budget& budget)>;
  Outcome<v1::ApplyResponse> Change(const std::string& name, const std::string& author,
                                    const std::string& summary, const Edit& edit);

  ConfigStore& store_;
  ConfigWriter& writer_;
  const Clock& clock_;
  const BudgetView view_;
  const MayWrite may_write_;
};

}  // namespace spillway::api
