#include "common/utc.h"

#include <algorithm>
#include <chrono>
#include <format>

namespace spillway {
namespace {

using std::chrono::day;
using std::chrono::month;
using std::chrono::year;

constexpr int64_t kYear0Ms = -62'167'219'200'000;
constexpr int64_t kYear10000Ms = 253'402'300'800'000;

// Takes fixed-width numbers and single characters off the front of a text.
class Scan {
 public:
  explicit Scan(std::string_view text) : text_(text) {}

  bool Digits(int count, int low, int high, int& value) {
    if (text_.size() < static_cast<size_t>(count)) return false;
    value = 0;
    for (const char c : text_.substr(0, count)) {
      if (c < '0' || c > '9') return false;
      value = value * 10 + (c - '0');
    }
    text_.remove_prefix(count);
    return value >= low && value <= high;
  }
  // One of `choices`; 0 when the next character is none of them.
  char OneOf(std::string_view choices) {
    if (text_.empty() || !choices.contains(text_.front())) return 0;
    const char taken = text_.front();
    text_.remove_prefix(1);
    return taken;
  }
  bool AtEnd() const { return text_.empty(); }

 private:
  std::string_view text_;
};

bool ScanDate(Scan& scan, int64_t& ms) {
  int y = 0;
  int m = 0;
  int d = 0;
  if (!scan.Digits(4, 0, 9999, y) || !scan.OneOf("-") || !scan.Digits(2, 1, 12, m) ||
      !scan.OneOf("-") || !scan.Digits(2, 1, 31, d)) {
    return false;
  }
  const std::chrono::year_month_day date{year{y}, month{static_cast<unsigned>(m)},
                                         day{static_cast<unsigned>(d)}};
  if (!date.ok()) return false;
  ms = std::chrono::sys_days{date}.time_since_epoch().count() * kDayMs;
  return true;
}

bool ScanFraction(Scan& scan, int64_t& ms) {
  if (!scan.OneOf(".")) return true;
  int digits = 0;
  int64_t fraction = 0;
  for (char c = scan.OneOf("0123456789"); c != 0; c = scan.OneOf("0123456789")) {
    if (++digits > 9) return false;
    if (digits <= 3) fraction = fraction * 10 + (c - '0');
  }
  for (int i = digits; i < 3; ++i) fraction *= 10;
  ms += fraction;
  return digits > 0;
}

bool ScanOffset(Scan& scan, int64_t& ms) {
  const char sign = scan.OneOf("Zz+-");
  if (sign == 'Z' || sign == 'z') return true;
  int hours = 0;
  int minutes = 0;
  if (sign == 0 || !scan.Digits(2, 0, 23, hours) || !scan.OneOf(":") ||
      !scan.Digits(2, 0, 59, minutes)) {
    return false;
  }
  const int64_t offset_ms = (hours * 60 + minutes) * int64_t{60'000};
  ms += sign == '+' ? -offset_ms : offset_ms;
  return true;
}

bool ScanTime(Scan& scan, int64_t& ms) {
  int hours = 0;
  int minutes = 0;
  int seconds = 0;
  if (!scan.OneOf("Tt ") || !scan.Digits(2, 0, 23, hours) || !scan.OneOf(":") ||
      !scan.Digits(2, 0, 59, minutes) || !scan.OneOf(":") || !scan.Digits(2, 0, 60, seconds)) {
    return false;
  }
  ms += ((hours * 60 + minutes) * int64_t{60} + seconds) * 1000;
  return ScanFraction(scan, ms) && ScanOffset(scan, ms);
}

}  // namespace

std::string FormatUtc(int64_t unix_ms) {
  const std::chrono::sys_time<std::chrono::milliseconds> time{
      std::chrono::milliseconds{std::clamp(unix_ms, kYear0Ms, kYear10000Ms - 1)}};
  const auto days = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date{days};
  const std::chrono::hh_mm_ss clock{time - days};
  return std::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count(),
                     clock.subseconds().count());
}

Result<int64_t> ParseUtc(std::string_view text) {
  Scan scan(text);
  int64_t ms = 0;
  if (ScanDate(scan, ms) && (scan.AtEnd() || (ScanTime(scan, ms) && scan.AtEnd()))) return ms;
  return Fail(ErrorCode::kInvalidConfig,
              "must be a date (2027-01-01, UTC) or a time (2027-01-01T00:00:00Z)");
}

}  // namespace spillway
