#include "controlplane/cli/time_text.h"

#include <algorithm>
#include <format>

#include "common/settings.h"
#include "common/utc.h"

namespace spillway::cli {
namespace {

constexpr int64_t kSpanMsMax = kDayMs * 36'600;

Result<int64_t> Days(std::string_view text) {
  const int64_t factor = text.ends_with('w') ? 7 : 1;
  std::string hours(text.substr(0, text.size() - 1));
  hours += 'h';
  SW_TRY(const int64_t ms, ParseDurationMs(hours));
  if (ms > kSpanMsMax / (24 * factor)) return Fail(ErrorCode::kInvalidConfig, "too long");
  return ms * 24 * factor;
}

// Begins as a date does, right or wrong.
bool IsDay(std::string_view text) { return text.size() > 4 && text[4] == '-'; }

}  // namespace

Answer<int64_t> ParseSpan(std::string_view text) {
  const bool days = text.ends_with('d') || text.ends_with('w');
  const Result<int64_t> ms = days ? Days(text) : ParseDurationMs(text);
  if (ms && *ms <= kSpanMsMax) return *ms;
  return FailUsage(std::format("\"{}\" is no span of time: write 30s, 15m, 24h, 7d or 2w", text));
}

Answer<int64_t> ParseMoment(std::string_view text, int64_t now_ms) {
  if (!IsDay(text)) {
    SW_TRY(const int64_t span, ParseSpan(text));
    return std::max<int64_t>(now_ms - span, 0);
  }
  if (const Result<int64_t> ms = ParseUtc(text)) return *ms;
  return FailUsage(
      std::format("\"{}\" is no date: write 2026-11-01 or 2026-11-01T09:30:00Z", text));
}

Answer<int64_t> ParseExpiry(std::string_view text, int64_t now_ms) {
  if (IsDay(text)) return ParseMoment(text, now_ms);
  SW_TRY(const int64_t span, ParseSpan(text));
  return now_ms + span;
}

std::string MomentText(int64_t ms) {
  if (ms == 0) return "-";
  std::string text = FormatUtc(ms).substr(0, 19);
  text[10] = ' ';
  return text + "Z";
}

std::string SpanText(int64_t us) {
  us = std::max<int64_t>(us, 0);
  if (us < 10'000) return std::format("{}.{} ms", us / 1000, us % 1000 / 100);
  if (us < 1'000'000) return std::format("{} ms", us / 1000);
  if (us < 60'000'000) return std::format("{}.{} s", us / 1'000'000, us % 1'000'000 / 100'000);
  return std::format("{} m {} s", us / 60'000'000, us % 60'000'000 / 1'000'000);
}

std::string AgoText(int64_t ms, int64_t now_ms) {
  if (ms == 0) return "-";
  const int64_t s = std::max<int64_t>(now_ms - ms, 0) / 1000;
  if (s < 120) return std::format("{} s ago", s);
  if (s < 7200) return std::format("{} m ago", s / 60);
  if (s < 172'800) return std::format("{} h ago", s / 3600);
  return std::format("{} d ago", s / 86'400);
}

}  // namespace spillway::cli
