#include "common/window.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <string>

namespace spillway {
namespace {

using std::chrono::days;
using std::chrono::floor;
using std::chrono::local_days;
using std::chrono::local_seconds;
using std::chrono::months;
using std::chrono::seconds;
using std::chrono::sys_seconds;
using std::chrono::time_zone;
using std::chrono::year_month_day;

// The calendar's years 1 to 9998: what lies outside counts as the nearest end.
constexpr int64_t kFirstSecond = -62'135'596'800;
constexpr int64_t kLastSecond = 253'370'764'799;

constexpr int64_t FloorDivide(int64_t value, int64_t by) {
  return value / by - static_cast<int64_t>(value % by < 0);
}

// nullptr: UTC.
const time_zone* FindZone(std::string_view name) {
  if (name.empty() || name == "UTC") return nullptr;
  try {
    return std::chrono::locate_zone(name);
  } catch (const std::exception&) {
    return nullptr;
  }
}

struct Dates {
  local_days first;
  local_days next;
};

Dates DatesAround(WindowKind kind, local_days today) {
  if (kind == WindowKind::kDay) return {today, today + days(1)};
  if (kind == WindowKind::kWeek) {
    const auto since_monday = std::chrono::weekday(today) - std::chrono::Monday;
    return {today - since_monday, today - since_monday + days(7)};
  }
  const year_month_day date{today};
  const auto month = date.year() / date.month();
  return {local_days(month / 1), local_days((month + months(1)) / 1)};
}

// The first moment of a date. Where midnight is skipped, the moment of the skip; where it comes
// twice, the first: so dates stay in order and leave no gap.
int64_t StartOf(local_days date, const time_zone* zone) {
  if (zone == nullptr) return seconds(date.time_since_epoch()).count();
  return zone->to_sys(local_seconds(date), std::chrono::choose::earliest)
      .time_since_epoch()
      .count();
}

}  // namespace

WindowSpan WindowAt(WindowKind kind, int /*rolling_hours*/, std::string_view zone,
                    int64_t time_ms) {
  const int64_t now_s = std::clamp(FloorDivide(time_ms, 1000), kFirstSecond, kLastSecond);
  if (kind == WindowKind::kLifetime) return {};
  if (kind == WindowKind::kRolling) {
    const int64_t start_s = FloorDivide(now_s, 3600) * 3600;
    return {.start_s = start_s, .end_s = start_s + 3600};
  }
  const time_zone* where = FindZone(zone);
  const sys_seconds now{seconds(now_s)};
  const local_seconds local =
      where == nullptr ? local_seconds(now.time_since_epoch()) : where->to_local(now);
  const Dates dates = DatesAround(kind, floor<days>(local));
  return {.start_s = StartOf(dates.first, where), .end_s = StartOf(dates.next, where)};
}

int64_t CountsUntil(WindowKind kind, int rolling_hours, const WindowSpan& window) {
  if (kind != WindowKind::kRolling) return window.end_s;
  return window.start_s + static_cast<int64_t>(std::max(rolling_hours, 1)) * 3600;
}

Result<void> CheckTimeZone(std::string_view zone) {
  if (zone.empty() || zone == "UTC") return {};
  try {
    std::chrono::get_tzdb();
  } catch (const std::exception&) {
    return Fail(ErrorCode::kUnavailable,
                "this machine has no time zone database (package tzdata); only UTC can be used");
  }
  try {
    std::chrono::locate_zone(zone);
  } catch (const std::exception&) {
    return Fail(ErrorCode::kInvalidConfig,
                "unknown time zone \"" + std::string(zone.substr(0, 64)) +
                    "\": an IANA name such as Europe/Berlin or America/New_York, or UTC");
  }
  return {};
}

}  // namespace spillway
