#include "controlplane/cli/budget_text.h"

#include <algorithm>
#include <format>
#include <string_view>
#include <vector>

#include "common/money.h"
#include "controlplane/cli/show_resource.h"
#include "controlplane/cli/table.h"
#include "controlplane/cli/time_text.h"

namespace spillway::cli {
namespace {

std::string_view ExhaustedName(v1::OnExhausted policy) {
  if (policy == v1::ON_EXHAUSTED_DOWNGRADE) return "downgrade";
  return policy == v1::ON_EXHAUSTED_WARN ? "warn" : "reject";
}

std::string_view PartitionName(v1::OnPartition policy) {
  if (policy == v1::ON_PARTITION_LEASED) return "leased";
  return policy == v1::ON_PARTITION_CLOSED ? "closed" : "open";
}

std::string_view OverrunName(v1::OnOverrun policy) {
  return policy == v1::ON_OVERRUN_CAP ? "cap" : "finish";
}

std::string LimitText(const v1::BudgetStatus& status) {
  const v1::Budget& budget = status.budget();
  std::string text = std::format("USD {}", FormatUsd(budget.limit_nanos()));
  if (budget.raise_nanos() > 0) {
    text += std::format(", raised by USD {} until {}", FormatUsd(budget.raise_nanos()),
                        MomentText(budget.raise_until_ms()));
  }
  if (status.limit_nanos() != budget.limit_nanos())
    text += std::format(" (now USD {})", FormatUsd(status.limit_nanos()));
  return text;
}

std::string PolicyText(const v1::Budget& budget) {
  std::string text = std::format(
      "on_exhausted {}, on_partition {}, on_overrun {}", ExhaustedName(budget.on_exhausted()),
      PartitionName(budget.on_partition()), OverrunName(budget.on_overrun()));
  if (!budget.downgrade_to().empty()) text += ", downgrade to " + Printable(budget.downgrade_to());
  return text;
}

std::string AlertsText(const v1::Budget& budget) {
  std::vector<std::string> parts;
  for (const int percent : budget.alerts()) parts.push_back(std::to_string(percent) + " %");
  const std::string to = budget.notify().empty()
                             ? "all sinks"
                             : Joined({budget.notify().begin(), budget.notify().end()}, ", ");
  return std::format("{} to {}", parts.empty() ? "at the end only" : Joined(parts, ", "),
                     Printable(to));
}

std::string Line(std::string_view name, const std::string& value) {
  return std::format("{:<12}{}\n", name, value);
}

}  // namespace

std::string WindowText(const v1::Budget& budget) {
  std::string text;
  switch (budget.window()) {
    case v1::WINDOW_DAY:
      text = "day";
      break;
    case v1::WINDOW_WEEK:
      text = "week";
      break;
    case v1::WINDOW_ROLLING:
      return std::format("last {} h", budget.rolling_hours());
    case v1::WINDOW_LIFETIME:
      return "lifetime";
    default:
      text = "month";
  }
  return budget.time_zone().empty() ? text : text + " " + budget.time_zone();
}

std::string ResetText(int64_t window_end_ms) {
  return window_end_ms == 0 ? "never" : MomentText(window_end_ms);
}

std::string StateText(const v1::BudgetStatus& status) {
  if (status.budget().frozen()) return "frozen";
  if (!status.refusing().empty()) return status.refusing();
  if (status.accounts_at_limit() == 0) return "open";
  if (status.budget().scope().each().empty()) return "at its limit";
  return std::format("{} of {} at their limit", status.accounts_at_limit(), status.accounts());
}

std::string StateText(const v1::BudgetAccount& account) {
  if (!account.refusing().empty()) return account.refusing();
  return account.remainder_nanos() > 0 ? "open" : "nothing left to lease";
}

std::string HolderText(const v1::BudgetHolder& holder, int64_t now_ms) {
  if (holder.state() != "silent") return holder.state();
  if (holder.last_heard_ms() == 0) return "silent since this control plane started";
  return "silent, last heard " + AgoText(holder.last_heard_ms(), now_ms);
}

std::string HeadText(const v1::BudgetStatus& status) {
  const v1::Budget& budget = status.budget();
  std::string text = Line("budget", Printable(budget.name()));
  text += Line("whose", Printable(ScopeText(budget.scope())));
  text += Line("limit", LimitText(status) + (budget.scope().each().empty() ? "" : " each"));
  text += Line("window", std::format("{}, resets at {}", Printable(WindowText(budget)),
                                     ResetText(status.window_end_ms())));
  text += Line("policies", PolicyText(budget));
  text += Line("alerts", AlertsText(budget));
  text += Line("state", Printable(StateText(status)));
  return text;
}

std::string BoundText(const v1::ShowBudgetResponse& response) {
  const v1::BudgetAccount* worst = nullptr;
  for (const v1::BudgetAccount& account : response.accounts()) {
    if (worst == nullptr || account.overshoot_bound_nanos() > worst->overshoot_bound_nanos())
      worst = &account;
  }
  if (worst == nullptr) return {};
  std::string text =
      std::format("overshoot bound: at most USD {} more than its limit can be spent by one account",
                  FormatUsd(worst->overshoot_bound_nanos()));
  if (!worst->subject().empty()) text += std::format(" ({})", Printable(worst->subject()));
  text += "\n";
  if (!worst->overshoot_bound_why().empty())
    text += "  " + Printable(worst->overshoot_bound_why()) + "\n";
  if (std::ranges::any_of(response.accounts(),
                          [](const auto& a) { return a.stranded_nanos() > 0; }))
    text +=
        "stranded money is held by a data plane that is not heard; it comes back when that "
        "returns, or by `spillway fleet retire INSTANCE --free-leases` when it never will\n";
  return text;
}

}  // namespace spillway::cli
