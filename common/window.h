#pragma once

#include <cstdint>
#include <limits>
#include <string_view>

#include "common/error.h"

namespace spillway {

// The windows that budgets count in. The numbers are those of v1::Window, so that a value of the
// proto casts to one of these.
enum class WindowKind : uint8_t { kDay = 1, kWeek = 2, kMonth = 3, kRolling = 4, kLifetime = 5 };

inline constexpr int kRollingHoursMax = 744;

// [start, end) in Unix seconds. The start names the window in an account's key.
struct WindowSpan {
  int64_t start_s = 0;
  int64_t end_s = std::numeric_limits<int64_t>::max();
  friend bool operator==(const WindowSpan&, const WindowSpan&) = default;
};

// The window that holds `time_ms` (Unix milliseconds, before 1970 too). Days, weeks (from Monday)
// and months begin at the first moment of their first date in `zone` (IANA name; empty: UTC), so
// that they last 23 or 25 hours where clocks change. Rolling: the bucket of one hour since the
// epoch, in any zone; the budget counts the last `rolling_hours` buckets, this one included
// (RollingFrom). Lifetime: from 0 without end. A zone that this machine does not know counts as
// UTC: validation and snapshots refuse it first (CheckTimeZone).
//
// Cost: rolling and lifetime a few ns, UTC under 50 ns, another zone 1 to 3 us: per request, keep
// the span and ask again when the time has left it.
WindowSpan WindowAt(WindowKind kind, int rolling_hours, std::string_view zone, int64_t time_ms);

// The start of the oldest bucket that still counts while the bucket at `bucket_start_s` is current.
constexpr int64_t RollingFrom(int64_t bucket_start_s, int rolling_hours) {
  return bucket_start_s - (static_cast<int64_t>(rolling_hours) - 1) * 3600;
}

// When money spent in `window` counts no more: its end, or for a rolling one the end of the last
// window that includes its bucket. Unix seconds.
int64_t CountsUntil(WindowKind kind, int rolling_hours, const WindowSpan& window);

// Both planes check this: kInvalidConfig when the zone is unknown, kUnavailable when this machine
// has no zone database (package tzdata). Empty and "UTC" need none.
Result<void> CheckTimeZone(std::string_view zone);

}  // namespace spillway
