// Prices, as models and price books have them.
#include <format>

#include "common/config/money_words.h"
#include "common/config/read_kinds.h"
#include "common/money.h"

namespace spillway::config {
namespace {

constexpr int64_t kPriceInt32Max = 0x7FFFFFFF;

void ReadRates(Section& section, v1::Price& price) {
  if (auto nanos = section.Parsed("input", &ParseUsd)) price.set_input(*nanos);
  if (auto nanos = section.Parsed("output", &ParseUsd)) price.set_output(*nanos);
  if (auto nanos = section.Parsed("cached_input", &ParseUsd)) price.set_cached_input(*nanos);
  if (auto nanos = section.Parsed("cache_write_5m", &ParseUsd)) price.set_cache_write_5m(*nanos);
  if (auto nanos = section.Parsed("cache_write_1h", &ParseUsd)) price.set_cache_write_1h(*nanos);
  if (auto nanos = section.Parsed("reasoning", &ParseUsd)) price.set_reasoning(*nanos);
  if (auto nanos = section.Parsed("audio_input", &ParseUsd)) price.set_audio_input(*nanos);
  if (auto nanos = section.Parsed("audio_output", &ParseUsd)) price.set_audio_output(*nanos);
  if (auto nanos = section.Parsed("image", &ParseUsd)) price.set_image(*nanos);
  if (auto nanos = section.Parsed("request", &ParseUsd)) price.set_request(*nanos);
}

void ReadSteps(Section& section, v1::Price& price) {
  ReadRates(section, price);
  section.Each("long_context", [&](Section& step) {
    v1::LongContextPrice& from = *price.add_long_context();
    if (!step.Has("above")) step.Refuse("above", "", "is required: a number of input tokens");
    if (auto tokens = ReadCount(step, "above")) from.set_above_input_tokens(*tokens);
    ReadRates(step, *from.mutable_price());
  });
}

void ReadTier(Section& section, v1::TierPrice& tier) {
  if (auto percent = section.Integer("percent")) {
    if (*percent < 1 || *percent > kPriceInt32Max) {
      section.Refuse("percent", std::to_string(*percent), "must be from 1 to 1000");
    } else {
      tier.set_percent(static_cast<int32_t>(*percent));
    }
  }
  v1::Price price;
  ReadSteps(section, price);
  if (price.ByteSizeLong() > 0) *tier.mutable_price() = std::move(price);
}

void ReadUnknown(Section& section, v1::PriceBook& book) {
  constexpr std::string_view kField = "unknown";
  const YamlNode* node = section.Find(kField);
  if (node == nullptr) return;
  if (node->type == YamlNode::Type::kMap) {
    book.set_unknown(v1::UNKNOWN_PRICE_DEFAULT);
    section.Inner(kField, [&](Section& inner) {
      if (!inner.Has("default"))
        inner.Refuse("default", "", "is required: {input: ..., output: ...}");
      inner.Inner("default", [&](Section& s) { ReadPrice(s, *book.mutable_default_price()); });
    });
    return;
  }
  for (const auto& [word, value] : kUnknownPriceWords) {
    if (node->type == YamlNode::Type::kScalar && node->text == word) return book.set_unknown(value);
  }
  section.Refuse(kField, node->text,
                 std::format("must be {}, or {{default: {{input: ..., output: ...}}}}",
                             Choices(kUnknownPriceWords)));
}

}  // namespace

void ReadPrice(Section& section, v1::Price& price) {
  ReadSteps(section, price);
  section.EachNamed("tiers", [&](const std::string& name, Section& tier) {
    v1::TierPrice& read = *price.add_tiers();
    read.set_tier(name);
    ReadTier(tier, read);
  });
}

void Read(Section& section, v1::PriceBook& book) {
  if (auto dated = section.Text("dated")) book.set_dated(*std::move(dated));
  ReadUnknown(section, book);
  section.EachNamed("models", [&](const std::string& name, Section& entry) {
    v1::PriceBookEntry& read = *book.add_models();
    read.set_model(name);
    ReadPrice(entry, *read.mutable_price());
    if (auto tokens = ReadCount(entry, "output_tokens_max")) read.set_output_tokens_max(*tokens);
  });
}

std::optional<int64_t> ReadCount(Section& section, std::string_view field) {
  const auto count = section.Integer(field);
  if (!count || *count > 0) return count;
  section.Refuse(field, std::to_string(*count), "must be a whole number from 1 on");
  return std::nullopt;
}

}  // namespace spillway::config
