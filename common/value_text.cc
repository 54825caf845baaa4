// The values of flags and configuration files as people write them: "10s", "32MiB", "[::1]:0".
#include <array>
#include <charconv>
#include <format>
#include <limits>

#include "common/settings.h"

namespace spillway {
namespace {

struct Unit {
  std::string_view suffix;
  int64_t factor;
};
// Largest first: the formatter takes the first that divides.
constexpr std::array kDurations = {Unit{"h", 3'600'000}, Unit{"m", 60'000}, Unit{"s", 1000},
                                   Unit{"ms", 1}};
constexpr std::array kSizes = {Unit{"GiB", int64_t{1} << 30}, Unit{"MiB", 1 << 20},
                               Unit{"KiB", 1 << 10}, Unit{"B", 1}, Unit{"", 1}};

template <size_t N>
Result<int64_t> ParseUnits(std::string_view text, const std::array<Unit, N>& units,
                           std::string_view allowed) {
  int64_t number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view suffix = text.substr(static_cast<size_t>(rest - text.data()));
  if (error == std::errc{} && number >= 0 && !text.starts_with('-')) {
    for (const Unit& unit : units) {
      if (unit.suffix != suffix) continue;
      if (number > std::numeric_limits<int64_t>::max() / unit.factor) break;
      return number * unit.factor;
    }
  }
  return Fail(ErrorCode::kInvalidConfig, "must be " + std::string(allowed));
}

template <size_t N>
std::string FormatUnits(int64_t value, const std::array<Unit, N>& units) {
  for (const Unit& unit : units) {
    if (value % unit.factor == 0 && (value != 0 || unit.factor == 1))
      return std::format("{}{}", value / unit.factor, unit.suffix);
  }
  return std::to_string(value);
}

}  // namespace

Result<int64_t> ParseDurationMs(std::string_view text) {
  return ParseUnits(text, kDurations, "a whole number with ms, s, m or h, such as 500ms or 10s");
}

Result<int64_t> ParseBytes(std::string_view text) {
  return ParseUnits(text, kSizes, "a whole number of bytes, or with KiB, MiB or GiB");
}

std::string FormatDurationMs(int64_t ms) { return FormatUnits(ms, kDurations); }
std::string FormatBytes(int64_t bytes) { return FormatUnits(bytes, kSizes); }

Result<HostPort> ParseHostPort(std::string_view text) {
  const auto fail = [&] {
    return Fail(ErrorCode::kInvalidConfig,
                std::format("\"{}\": must be HOST:PORT or [IPV6]:PORT", text));
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return fail();
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.contains(':')) {
    return fail();  // an IPv6 address without brackets: where the port begins is a guess
  }
  HostPort result;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), result.port);
  if (host.empty() || port.empty() || error != std::errc{} || end != port.data() + port.size())
    return fail();
  result.host = host;
  return result;
}

}  // namespace spillway
