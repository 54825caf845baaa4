#include "common/config/exact_decimal.h"

#include <algorithm>
#include <charconv>
#include <string>

namespace spillway::config {
namespace {

constexpr size_t kDecimalBytesMax = 1000;
// Far beyond what 19 digits reach, so that no sum of exponents overflows.
constexpr int64_t kExponentMax = 1'000'000;

// The digits of a number and the power of ten of the last one.
struct Decimal {
  std::string digits;
  int64_t exponent = 0;
};

size_t DigitsAt(std::string_view text) {
  return std::min(text.find_first_not_of("0123456789"), text.size());
}

std::unexpected<Error> Wrong(std::string_view why) {
  return Fail(ErrorCode::kInvalidConfig, std::string(why));
}

Result<int64_t> ReadExponent(std::string_view text) {
  const bool has_sign = text.starts_with('+') || text.starts_with('-');
  const std::string_view digits = text.substr(has_sign ? 1 : 0);
  if (text.starts_with('+')) text = digits;
  if (digits.empty() || DigitsAt(digits) != digits.size()) return Wrong("is no number");
  int64_t exponent = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), exponent);
  if (failed != std::errc()) return text.starts_with('-') ? -kExponentMax : kExponentMax;
  return std::clamp(exponent, -kExponentMax, kExponentMax);
}

Result<Decimal> Read(std::string_view text) {
  if (text.size() > kDecimalBytesMax) return Wrong("is no number");
  Decimal decimal;
  const size_t whole = DigitsAt(text);
  if (whole == 0) return Wrong("is no number");
  decimal.digits = text.substr(0, whole);
  text.remove_prefix(whole);
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    const size_t fraction = DigitsAt(text);
    if (fraction == 0) return Wrong("is no number");
    decimal.digits += text.substr(0, fraction);
    decimal.exponent = -static_cast<int64_t>(fraction);
    text.remove_prefix(fraction);
  }
  if (text.starts_with('e') || text.starts_with('E')) {
    SW_TRY(const int64_t exponent, ReadExponent(text.substr(1)));
    decimal.exponent += exponent;
    text = {};
  }
  if (!text.empty()) return Wrong("is no number");
  return decimal;
}

}  // namespace

Result<int64_t> ScaledExactly(std::string_view number, int power) {
  const bool negative = number.starts_with('-');
  SW_TRY(Decimal decimal, Read(number.substr(negative ? 1 : 0)));
  std::string& digits = decimal.digits;
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
  if (digits.empty()) return 0;
  if (negative) return Wrong("is negative");
  const size_t kept = digits.find_last_not_of('0') + 1;
  const int64_t exponent =
      decimal.exponent + static_cast<int64_t>(digits.size() - kept) + int64_t{power};
  digits.resize(kept);
  // The last digit is no zero: below the unit, something would be lost.
  if (exponent < 0) return Wrong("is too fine to be exact");
  constexpr int64_t kDigitsMax = 19;
  if (static_cast<int64_t>(digits.size()) + exponent > kDigitsMax) return Wrong("is too large");
  digits.append(static_cast<size_t>(exponent), '0');
  int64_t value = 0;
  const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (failed != std::errc()) return Wrong("is too large");
  return value;
}

}  // namespace spillway::config
