#include "common/config/field_check.h"

#include <algorithm>
#include <format>
#include <set>

#include "common/config/references.h"
#include "common/ids.h"
#include "common/money.h"
#include "common/settings.h"
#include "common/utf8.h"

namespace spillway::config {
namespace {

constexpr int64_t kTimeoutMsMax = 86'400'000;
constexpr Nanos kPriceMax = Nanos{1'000'000} * Nanos{1'000'000'000};
constexpr int64_t kInputTokensMax = 1'000'000'000;
constexpr int kStepsMax = 8;
constexpr int kTiersMax = 8;
constexpr size_t kTierBytesMax = 32;
constexpr int32_t kTierPercentMax = 1000;

}  // namespace

bool IsCleanText(std::string_view text, size_t bytes_max) {
  return text.size() <= bytes_max && IsUtf8(text) &&
         std::ranges::all_of(text, [](unsigned char c) { return c >= 0x20 && c != 0x7F; });
}

void FieldCheck::Name(std::string field, std::string_view name) {
  if (IsResourceName(name)) return;
  Refuse(std::move(field), name,
         "must be 1 to 128 letters, digits and ._:/- that begin with a letter or digit");
}

void FieldCheck::Text(std::string field, std::string_view text, size_t bytes_max) {
  if (IsCleanText(text, bytes_max)) return;
  Refuse(std::move(field), "",
         std::format("must be at most {} bytes of UTF-8 without control characters", bytes_max));
}

void FieldCheck::Timeout(std::string field, int64_t ms) {
  if (ms >= 0 && ms <= kTimeoutMsMax) return;
  Refuse(std::move(field), FormatDurationMs(ms), "must be from 1ms to 24h");
}

void FieldCheck::AtMost(std::string field, int count, int count_max) {
  if (count > count_max)
    Refuse(std::move(field), std::to_string(count), std::format("must be at most {}", count_max));
}

void FieldCheck::Range(std::string field, int64_t value, int64_t min, int64_t max) {
  if (value >= min && value <= max) return;
  Refuse(std::move(field), std::to_string(value), std::format("must be from {} to {}", min, max));
}

void FieldCheck::CheckSecret(const std::string& field, const v1::Secret& secret) {
  if (secret.plaintext().empty() && !secret.has_sealed() && secret.reference().empty()) {
    Refuse(field, "", "must not be empty");
    return;
  }
  Text(field + ".reference", secret.reference(), 4096 + 16);
  if (secret.plaintext().empty()) return;
  if (const auto good = CheckCredentialText(secret.plaintext()); !good)
    Refuse(field, secret.reference(), good.error().message);
}

void FieldCheck::CheckRates(const std::string& field, const v1::Price& price) {
  const auto usd = [&](std::string_view name, int64_t nanos) {
    if (nanos >= 0 && nanos <= kPriceMax) return;
    Refuse(std::format("{}.{}", field, name), FormatUsd(nanos), "must be from 0 to 1000000 USD");
  };
  usd("input", price.input());
  usd("output", price.output());
  usd("cached_input", price.cached_input());
  usd("cache_write_5m", price.cache_write_5m());
  usd("cache_write_1h", price.cache_write_1h());
  usd("reasoning", price.reasoning());
  usd("audio_input", price.audio_input());
  usd("audio_output", price.audio_output());
  usd("image", price.image());
  usd("request", price.request());
}

void FieldCheck::CheckSteps(const std::string& field, const v1::Price& price) {
  CheckRates(field, price);
  AtMost(field + ".long_context", price.long_context_size(), kStepsMax);
  int64_t last = 0;
  for (int i = 0; i < price.long_context_size(); ++i) {
    const v1::LongContextPrice& step = price.long_context(i);
    const std::string place = std::format("{}.long_context[{}]", field, i);
    const int64_t above = step.above_input_tokens();
    Range(place + ".above", above, 1, kInputTokensMax);
    if (above <= last && last > 0)
      Refuse(place + ".above", std::to_string(above), "must be more than the one before it");
    last = above;
    CheckRates(place, step.price());
    if (step.price().long_context_size() + step.price().tiers_size() > 0)
      Refuse(place, "", "must have no long_context and no tiers of its own");
  }
}

void FieldCheck::CheckTier(const std::string& field, const v1::TierPrice& tier) {
  if (tier.tier().size() > kTierBytesMax || !IsResourceName(tier.tier()))
    Refuse(field, tier.tier(), "must be the name of a service tier, such as batch, flex, priority");
  if (tier.has_percent() == tier.has_price()) {
    Refuse(field, "", "must be either a percent of the other prices or prices of its own");
  } else if (tier.has_percent()) {
    Range(field + ".percent", tier.percent(), 1, kTierPercentMax);
  } else {
    CheckSteps(field, tier.price());
    if (!tier.price().tiers().empty()) Refuse(field, "", "must have no tiers of its own");
  }
}

void FieldCheck::CheckPrice(const std::string& field, const v1::Price& price) {
  if (!price.has_input()) {
    Refuse(field + ".input", "",
           "is required: USD per million tokens, 0 for a model that costs nothing");
  }
  CheckSteps(field, price);
  AtMost(field + ".tiers", price.tiers_size(), kTiersMax);
  std::set<std::string_view> seen;
  for (const v1::TierPrice& tier : price.tiers()) {
    const std::string place = std::format("{}.tiers.{}", field, tier.tier());
    if (!seen.insert(tier.tier()).second) Refuse(place, "", "must not be given twice");
    CheckTier(place, tier);
  }
}

}  // namespace spillway::config
