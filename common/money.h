#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/error.h"

namespace spillway {

// Money is int64 nano-dollars: USD 1 = 1,000,000,000. No floating point touches it.
using Nanos = int64_t;

// What tokens cost, complete: nothing is absent any more. Nano-dollars per million tokens, exact
// for every published price; image and request: nano-dollars each.
struct Rates {
  Nanos input = 0;
  Nanos output = 0;
  Nanos cached_input = 0;
  Nanos cache_write_5m = 0;
  Nanos cache_write_1h = 0;
  Nanos reasoning = 0;
  Nanos audio_input = 0;
  Nanos audio_output = 0;
  Nanos image = 0;
  Nanos request = 0;
  friend bool operator==(const Rates&, const Rates&) = default;
};

// The rates of one tier by the length of the input: the whole call is priced by the last step whose
// threshold its input exceeds.
struct RateSteps {
  Rates base;
  std::vector<std::pair<int64_t, Rates>> above;  // ascending (input tokens, rates)
};

// Immutable once made; shared by everything that bills by it.
struct PriceTable {
  RateSteps standard;
  std::vector<std::pair<std::string, RateSteps>>
      tiers;  // by service tier; an unknown one: standard
};
// nullptr: no price is known; costs 0.
using Price = std::shared_ptr<const PriceTable>;

// Tokens of one attempt. Cached input, cache writes and audio input are part of input; reasoning
// and audio output part of output.
struct TokenUsage {
  int64_t input = 0;
  int64_t output = 0;
  int64_t cached_input = 0;
  int64_t reasoning = 0;
  int64_t cache_write_5m = 0;
  int64_t cache_write_1h = 0;
  int64_t audio_input = 0;
  int64_t audio_output = 0;
  int64_t images = 0;
  friend bool operator==(const TokenUsage&, const TokenUsage&) = default;
};

// The rates that a call with so much input is billed by. A tier that the table does not know is
// billed as standard.
const Rates& RatesFor(const PriceTable& table, int64_t input_tokens, std::string_view service_tier);

// The attempt's cost: every kind of token times its rate, summed exactly in 128 bits, divided by a
// million once, rounded half up; then images and the request itself, which are whole nano-dollars.
// So an attempt's cost is at most half a nano-dollar away from the exact figure, and the sum of n
// attempts' costs at most n halves.
//
// The length of the whole input chooses the long-context step. Of the input, cached tokens are
// taken first, then 1 h cache writes, 5 min cache writes and audio, each at most what is left; the
// rest is plain input. Of the output: reasoning, then audio, then the rest. Negative counts and
// rates are 0. Saturates at INT64_MAX. Without a price: 0. About 8 ns for plain input and output,
// 13 ns for every kind in a tier.
Nanos CostOf(const TokenUsage& usage, const Price& price, std::string_view service_tier = {});

// A price of input and output alone (nano-dollars per million tokens), the rest as its absence
// says. cached_input < 0: as input.
Price SimplePrice(Nanos input, Nanos output, Nanos cached_input = -1);

// "0.25" USD (per million tokens) -> nano-dollars. At most 9 decimals, no sign, no exponent.
Result<Nanos> ParseUsd(std::string_view text);
// The shortest exact decimal: 1500000 -> "0.0015".
std::string FormatUsd(Nanos nanos);

}  // namespace spillway
