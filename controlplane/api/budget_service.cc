#include "controlplane/api/budget_service.h"

#include <algorithm>
#include <vector>

#include "common/money.h"
#include "common/utc.h"

namespace spillway::api {
namespace {

constexpr int kBudgetsPageDefault = 1'000;
constexpr int64_t kUntilMsMax = 253'402'300'799'999;  // the end of the year 9999
constexpr Nanos kRaiseMax = Nanos{1} << 60;           // about a billion USD

std::unexpected<Refusal> NoSuchBudget(const std::string& name) {
  return Refuse(Refusal::Kind::kNotFound, "there is no " + PlaceOf(v1::KIND_BUDGET, name));
}

std::unexpected<Refusal> NoFigures() {
  return Refuse(Refusal::Kind::kUnavailable, "this control plane keeps no accounts of budgets");
}

Outcome<v1::Budget> Parsed(const std::string& name, const std::string& bytes) {
  SW_TRY(const v1::Resource resource, ParseStored({v1::KIND_BUDGET, name}, bytes));
  return resource.budget();
}

}  // namespace

Outcome<v1::ListBudgetsResponse> BudgetService::List(const v1::ListBudgetsRequest& request) const {
  if (!view_.status) return NoFigures();
  const int page = request.page_size() <= 0 ? kBudgetsPageDefault
                                            : std::min(request.page_size(), kBudgetsPageDefault);
  std::vector<std::pair<std::string, std::string>> found;  // name, bytes
  bool more = false;
  store_.Read([&](const ConfigStore::State& state) {
    for (auto at = state.upper_bound({v1::KIND_BUDGET, request.page_token()});
         at != state.end() && at->first.first == v1::KIND_BUDGET; ++at) {
      more = static_cast<int>(found.size()) == page;
      if (more) return;
      found.emplace_back(at->first.second, at->second.bytes);
    }
  });
  v1::ListBudgetsResponse response;
  for (const auto& [name, bytes] : found) {
    SW_TRY(const v1::Budget budget, Parsed(name, bytes));
    *response.add_budgets() = view_.status(budget);
  }
  if (more) response.set_next_page_token(found.back().first);
  return response;
}

Outcome<v1::ShowBudgetResponse> BudgetService::Show(const v1::ShowBudgetRequest& request) const {
  if (!view_.show) return NoFigures();
  const auto stored = store_.Find(v1::KIND_BUDGET, request.name());
  if (!stored) return NoSuchBudget(request.name());
  SW_TRY(const v1::Budget budget, Parsed(request.name(), stored->bytes));
  SW_TRY(v1::ShowBudgetResponse response, view_.show(budget, request));
  return response;
}

Outcome<v1::ApplyResponse> BudgetService::Change(const std::string& name, const std::string& author,
                                                 const std::string& summary, const Edit& edit) {
  return writer_.Commit({.author = author, .summary = summary},
                        [&](const ConfigStore::State& state) -> Outcome<ChangeSet> {
                          const auto stored = state.find({v1::KIND_BUDGET, name});
                          if (stored == state.end()) return NoSuchBudget(name);
                          v1::Resource resource;
                          SW_TRY(*resource.mutable_budget(), Parsed(name, stored->second.bytes));
                          SW_CHECK(edit(*resource.mutable_budget()));
                          ChangeSet set(state);
                          SW_CHECK(set.Put(resource));
                          return set;
                        });
}

Outcome<v1::ApplyResponse> BudgetService::Freeze(const v1::FreezeBudgetRequest& request,
                                                 const std::string& author) {
  const std::string summary =
      (request.frozen() ? "froze " : "thawed ") + PlaceOf(v1::KIND_BUDGET, request.name());
  return Change(request.name(), author, summary, [&](v1::Budget& budget) -> Outcome<void> {
    budget.set_frozen(request.frozen());
    return {};
  });
}

Outcome<v1::ApplyResponse> BudgetService::Raise(const v1::RaiseBudgetRequest& request,
                                                const std::string& author) {
  const std::string place = PlaceOf(v1::KIND_BUDGET, request.name());
  const int64_t now_ms = clock_.WallMs();
  std::vector<v1::Violation> violations;
  if (request.nanos() <= 0 || request.nanos() > kRaiseMax) {
    violations.push_back(MakeViolation(place, "nanos", std::to_string(request.nanos()),
                                       "must be above 0 and at most a billion USD"));
  }
  if (request.until_ms() <= now_ms || request.until_ms() > kUntilMsMax) {
    violations.push_back(MakeViolation(place, "until_ms", std::to_string(request.until_ms()),
                                       "must be a time in the future"));
  }
  if (!violations.empty()) return RefuseInvalid(std::move(violations));
  return Change(request.name(), author,
                "raised " + place + " until " + FormatUtc(request.until_ms()),
                [&](v1::Budget& budget) -> Outcome<void> {
                  budget.set_raise_nanos(request.nanos());
                  budget.set_raise_until_ms(request.until_ms());
                  return {};
                });
}

Outcome<v1::ApplyResponse> BudgetService::LowerRaise(const v1::LowerRaiseRequest& request,
                                                     const std::string& author) {
  const std::string place = PlaceOf(v1::KIND_BUDGET, request.name());
  return Change(request.name(), author, "ended the raise of " + place,
                [](v1::Budget& budget) -> Outcome<void> {
                  budget.clear_raise_nanos();
                  budget.clear_raise_until_ms();
                  return {};
                });
}

Outcome<v1::OpenBudgetGateResponse> BudgetService::OpenGate() const {
  if (!view_.open_gate) return NoFigures();
  if (may_write_) {
    if (Result<void> may = may_write_(); !may)
      return Refuse(Refusal::Kind::kNotNow, may.error().message);
  }
  SW_TRY(v1::OpenBudgetGateResponse response, view_.open_gate());
  return response;
}

}  // namespace spillway::api
