#include "common/money.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

namespace spillway {
namespace {

using Wide = unsigned __int128;

constexpr int kDecimals = 9;
constexpr uint64_t kNanosPerUsd = 1'000'000'000;
constexpr Nanos kNanosMax = std::numeric_limits<Nanos>::max();

Wide NotNegative(int64_t value) { return value < 0 ? 0 : static_cast<Wide>(value); }

bool AreDigits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

Nanos CostOf(const TokenUsage& usage, const Price& price) {
  constexpr Wide kTokensPerPrice = 1'000'000;
  const Wide input = NotNegative(usage.input);
  const Wide cached = std::min(NotNegative(usage.cached_input), input);
  // Each product is below 2^126 and the first two share `input`, so the sum fits 128 bits.
  const Wide sum = (input - cached) * NotNegative(price.input) +
                   cached * NotNegative(price.cached_input) +
                   NotNegative(usage.output) * NotNegative(price.output);
  const Wide cost = (sum + kTokensPerPrice / 2) / kTokensPerPrice;
  return cost > static_cast<Wide>(kNanosMax) ? kNanosMax : static_cast<Nanos>(cost);
}

Result<Nanos> ParseUsd(std::string_view text) {
  const size_t dot = text.find('.');
  const std::string_view whole = text.substr(0, dot);
  std::string fraction(dot == std::string_view::npos ? "0" : text.substr(dot + 1));
  if (!AreDigits(whole) || !AreDigits(fraction) || fraction.size() > kDecimals ||
      (whole.size() > 1 && whole.front() == '0')) {
    return Fail(ErrorCode::kInvalidConfig,
                "must be a decimal number of USD such as 0.25, with at most 9 decimals");
  }
  fraction.append(kDecimals - fraction.size(), '0');
  const std::string digits = std::string(whole) + fraction;
  Nanos nanos = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), nanos);
  if (parsed.ec != std::errc{}) {
    return Fail(ErrorCode::kInvalidConfig, "must be at most " + FormatUsd(kNanosMax) + " USD");
  }
  return nanos;
}

std::string FormatUsd(Nanos nanos) {
  const bool negative = nanos < 0;
  const uint64_t magnitude = negative ? 0 - static_cast<uint64_t>(nanos) : nanos;
  std::string text = (negative ? "-" : "") + std::to_string(magnitude / kNanosPerUsd);
  std::string fraction = std::to_string(magnitude % kNanosPerUsd);
  fraction.insert(0, kDecimals - fraction.size(), '0');
  fraction.erase(fraction.find_last_not_of('0') + 1);
  if (!fraction.empty()) text.append(".").append(fraction);
  return text;
}

}  // namespace spillway
