#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/error.h"

namespace spillway {

// Money is int64 nano-dollars: USD 1 = 1,000,000,000. No floating point touches it.
using Nanos = int64_t;

// Nano-dollars per million tokens; exact for every published price.
struct Price {
  Nanos input = 0;
  Nanos output = 0;
  Nanos cached_input = 0;
  bool known = false;  // false: the model has no price
};

// Tokens of one attempt. cached_input is part of input, reasoning part of output.
struct TokenUsage {
  int64_t input = 0;
  int64_t output = 0;
  int64_t cached_input = 0;
  int64_t reasoning = 0;
  friend bool operator==(const TokenUsage&, const TokenUsage&) = default;
};

// The attempt's cost: (input - cached) * input price + cached * cached price + output * output
// price, summed exactly in 128 bits, divided by a million once, rounded half up. Saturates at
// INT64_MAX; negative counts and cached > input are clamped.
Nanos CostOf(const TokenUsage& usage, const Price& price);

// "0.25" USD (per million tokens) -> nano-dollars. At most 9 decimals, no sign, no exponent.
Result<Nanos> ParseUsd(std::string_view text);
// The shortest exact decimal: 1500000 -> "0.0015".
std::string FormatUsd(Nanos nanos);

}  // namespace spillway
