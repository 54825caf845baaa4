#include "common/money.h"

#include <algorithm>
#include <charconv>
#include <limits>

namespace spillway {
namespace {

using Wide = unsigned __int128;

constexpr int kDecimals = 9;
constexpr uint64_t kNanosPerUsd = 1'000'000'000;
constexpr Nanos kNanosMax = std::numeric_limits<Nanos>::max();

constexpr uint64_t kTokensPerPrice = 1'000'000;

uint64_t NotNegative(int64_t value) { return value < 0 ? 0 : static_cast<uint64_t>(value); }

Wide Times(uint64_t count, Nanos rate) { return Wide{count} * NotNegative(rate); }

// Takes `count` tokens, at most what is left, out of `left`.
uint64_t Take(int64_t count, uint64_t& left) {
  const uint64_t taken = std::min(NotNegative(count), left);
  left -= taken;
  return taken;
}

Wide InputCost(const TokenUsage& usage, const Rates& rates) {
  uint64_t left = NotNegative(usage.input);
  Wide sum = Times(Take(usage.cached_input, left), rates.cached_input);
  // Most calls have none of these.
  if ((usage.cache_write_5m | usage.cache_write_1h | usage.audio_input) != 0) [[unlikely]] {
    sum += Times(Take(usage.cache_write_1h, left), rates.cache_write_1h);
    sum += Times(Take(usage.cache_write_5m, left), rates.cache_write_5m);
    sum += Times(Take(usage.audio_input, left), rates.audio_input);
  }
  return sum + Times(left, rates.input);
}

Wide OutputCost(const TokenUsage& usage, const Rates& rates) {
  uint64_t left = NotNegative(usage.output);
  Wide sum = Times(Take(usage.reasoning, left), rates.reasoning);
  if (usage.audio_output != 0) [[unlikely]] {
    sum += Times(Take(usage.audio_output, left), rates.audio_output);
  }
  return sum + Times(left, rates.output);
}

// `sum` is in millionths of a nano-dollar. It is below 2^127: the parts of the input add up to less
// than 2^63 tokens, and so do those of the output. A division of 128 bits is slow, and one of 64
// holds what all but absurd calls cost.
Nanos Total(Wide sum, const TokenUsage& usage, const Rates& rates) {
  sum += kTokensPerPrice / 2;
  Wide cost =
      sum >> 64 == 0 ? Wide{static_cast<uint64_t>(sum) / kTokensPerPrice} : sum / kTokensPerPrice;
  cost += NotNegative(rates.request);
  if (usage.images > 0) [[unlikely]]
    cost += Times(NotNegative(usage.images), rates.image);
  return cost > static_cast<Wide>(kNanosMax) ? kNanosMax : static_cast<Nanos>(cost);
}

const RateSteps* TierNamed(const PriceTable& table, std::string_view service_tier) {
  for (const auto& [tier, steps] : table.tiers) {
    if (tier == service_tier) return &steps;
  }
  return nullptr;
}

bool AreDigits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

const Rates& RatesFor(const PriceTable& table, int64_t input_tokens,
                      std::string_view service_tier) {
  const RateSteps* steps = &table.standard;
  if (!service_tier.empty()) [[unlikely]] {
    if (const RateSteps* const tier = TierNamed(table, service_tier)) steps = tier;
  }
  const Rates* rates = &steps->base;
  for (const auto& [above, dearer] : steps->above) {
    if (input_tokens > above) rates = &dearer;
  }
  return *rates;
}

Nanos CostOf(const TokenUsage& usage, const Price& price, std::string_view service_tier) {
  if (price == nullptr) return 0;
  const Rates& rates = RatesFor(*price, usage.input, service_tier);
  return Total(InputCost(usage, rates) + OutputCost(usage, rates), usage, rates);
}

Price SimplePrice(Nanos input, Nanos output, Nanos cached_input) {
  const Rates rates{.input = input,
                    .output = output,
                    .cached_input = cached_input < 0 ? input : cached_input,
                    .cache_write_5m = input,
                    .cache_write_1h = input,
                    .reasoning = output,
                    .audio_input = input,
                    .audio_output = output};
  return std::make_shared<const PriceTable>(
      PriceTable{.standard = {.base = rates, .above = {}}, .tiers = {}});
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
