#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/money.h"
#include "spillway/v1/admin.pb.h"

namespace spillway::alerts {

inline constexpr std::string_view kThreshold = "budget_threshold";
inline constexpr std::string_view kExhausted = "budget_exhausted";
inline constexpr std::string_view kFrozen = "budget_frozen";
inline constexpr std::string_view kTest = "test";

// What one account of a budget has spent: all that is needed to decide on alerts. A value.
struct AccountSpend {
  std::string budget_id;
  std::string budget;   // its name
  std::string subject;  // of an `each` budget
  // Names the window: alerts come once for each.
  int64_t window_start_ms = 0;
  int64_t window_end_ms = 0;  // 0: never ends
  Nanos settled = 0;
  Nanos limit = 0;                  // a raise that has not expired included
  std::vector<int> thresholds;      // percent of the limit
  std::vector<std::string> notify;  // sinks; empty: all
  bool frozen = false;
};

// Every alert whose condition holds now, lowest threshold first, without id, time and deliveries:
// the thresholds that are reached, `exhausted` at the whole limit (in place of a threshold of 100),
// `frozen` when it is. Whether they were sent before is the book's to know.
std::vector<v1::Alert> Conditions(const AccountSpend& account);

// Where an alert is kept, and what it must not be sent twice for: (budget id, subject, window, type
// and threshold). A frozen budget's is about the budget alone.
std::string KeyOf(const v1::Alert& alert);
std::string FrozenKey(std::string_view budget_id);

// The alert's id: 32 hex digits of its key and the moment it was decided.
std::string IdOf(const v1::Alert& alert);

}  // namespace spillway::alerts
