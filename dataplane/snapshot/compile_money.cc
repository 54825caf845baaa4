#include "dataplane/snapshot/compile_money.h"

#include <algorithm>
#include <array>
#include <format>
#include <string_view>
#include <utility>

#include "dataplane/snapshot/refusal.h"

namespace spillway {
namespace {

using Dimension = ScopeSpec::Dimension;

constexpr std::string_view kTagPrefix = "tag:";
constexpr std::array<std::pair<std::string_view, Dimension>, 8> kDimensions = {
    {{"organization", Dimension::kOrganization},
     {"team", Dimension::kTeam},
     {"user", Dimension::kUser},
     {"key", Dimension::kKey},
     {"feature", Dimension::kFeature},
     {"route", Dimension::kRoute},
     {"model", Dimension::kModel},
     {"provider", Dimension::kProvider}}};

void CompileEach(std::string_view each, ScopeSpec& spec) {
  if (each.starts_with(kTagPrefix)) {
    spec.each = Dimension::kTag;
    spec.each_tag = each.substr(kTagPrefix.size());
    return;
  }
  const auto found =
      std::ranges::find(kDimensions, each, [](const auto& row) { return row.first; });
  if (found != kDimensions.end()) spec.each = found->second;
}

int64_t PeriodMs(v1::Period period) {
  constexpr int64_t kSecondMs = 1'000;
  switch (period) {
    case v1::PERIOD_SECOND:
      return kSecondMs;
    case v1::PERIOD_HOUR:
      return 3'600 * kSecondMs;
    case v1::PERIOD_DAY:
      return 86'400 * kSecondMs;
    default:
      return 60 * kSecondMs;
  }
}

template <typename Enum>
Enum OrDefault(Enum value, Enum unspecified, Enum otherwise) {
  return value == unspecified ? otherwise : value;
}

template <typename Spec>
Result<ScopedSpecs<Spec>> SortedByName(std::vector<std::shared_ptr<const Spec>> specs,
                                       int64_t count_max, std::string_view what) {
  if (static_cast<int64_t>(specs.size()) > count_max)
    return Refuse(RefusalClass::kOversized, std::format("more than {} {}", count_max, what));
  std::ranges::sort(specs, {}, [](const auto& spec) { return std::string_view(spec->name); });
  return ScopedSpecs<Spec>(specs);
}

}  // namespace

ScopeSpec CompileScope(const v1::Scope& scope) {
  ScopeSpec spec{.organization = scope.organization(),
                 .team = scope.team(),
                 .user = scope.user(),
                 .key = scope.key(),
                 .feature = scope.feature(),
                 .route = scope.route(),
                 .model = scope.model(),
                 .provider = scope.provider(),
                 .tags = {scope.tags().begin(), scope.tags().end()},
                 .each = Dimension::kNone,
                 .each_tag = {}};
  std::ranges::sort(spec.tags);
  CompileEach(scope.each(), spec);
  return spec;
}

BudgetSpec CompileBudget(const v1::Budget& budget) {
  return {.name = budget.name(),
          .id = budget.id().empty() ? budget.name() : budget.id(),
          .scope = CompileScope(budget.scope()),
          .limit = budget.limit_nanos(),
          .raise = budget.raise_nanos(),
          .raise_until_ms = budget.raise_until_ms(),
          .window = OrDefault(budget.window(), v1::WINDOW_UNSPECIFIED, v1::WINDOW_MONTH),
          .rolling_hours = budget.rolling_hours(),
          .time_zone = budget.time_zone(),
          .on_exhausted = OrDefault(budget.on_exhausted(), v1::ON_EXHAUSTED_UNSPECIFIED,
                                    v1::ON_EXHAUSTED_REJECT),
          .downgrade_to = budget.downgrade_to(),
          .on_partition =
              OrDefault(budget.on_partition(), v1::ON_PARTITION_UNSPECIFIED, v1::ON_PARTITION_OPEN),
          .open_unheard = budget.open_unheard(),
          .on_overrun =
              OrDefault(budget.on_overrun(), v1::ON_OVERRUN_UNSPECIFIED, v1::ON_OVERRUN_FINISH),
          .frozen = budget.frozen()};
}

RateLimitSpec CompileRateLimit(const v1::RateLimit& limit) {
  return {
      .name = limit.name(),
      .scope = CompileScope(limit.scope()),
      .requests = limit.requests(),
      .tokens = limit.tokens(),
      .concurrent = limit.concurrent(),
      .token_kind = OrDefault(limit.token_kind(), v1::TOKEN_KIND_UNSPECIFIED, v1::TOKEN_KIND_TOTAL),
      .period_ms = PeriodMs(limit.per())};
}

LimitActionSpec CompileLimitAction(const v1::LimitAction& action) {
  using Action = LimitActionSpec::Action;
  LimitActionSpec spec{
      .action = Action::kReject, .deadline_ms = action.deadline_ms(), .to = action.to()};
  if (action.action() == v1::LimitAction::ACTION_QUEUE) spec.action = Action::kQueue;
  if (action.action() == v1::LimitAction::ACTION_DOWNGRADE) spec.action = Action::kDowngrade;
  return spec;
}

Result<Scoped> CompileScoped(const std::vector<v1::Resource>& resources,
                             const SnapshotLimits& limits) {
  std::vector<std::shared_ptr<const BudgetSpec>> budgets;
  std::vector<std::shared_ptr<const RateLimitSpec>> rate_limits;
  for (const v1::Resource& resource : resources) {
    if (resource.has_budget())
      budgets.push_back(std::make_shared<const BudgetSpec>(CompileBudget(resource.budget())));
    if (resource.has_rate_limit())
      rate_limits.push_back(
          std::make_shared<const RateLimitSpec>(CompileRateLimit(resource.rate_limit())));
  }
  Scoped scoped;
  SW_TRY(scoped.budgets, SortedByName(std::move(budgets), limits.budgets_max, "budgets"));
  SW_TRY(scoped.rate_limits,
         SortedByName(std::move(rate_limits), limits.rate_limits_max, "rate limits"));
  return scoped;
}

}  // namespace spillway
