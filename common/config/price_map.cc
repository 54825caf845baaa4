// The widely used price map: one object, a member a model, prices in USD per token under keys such
// as input_cost_per_token_above_200k_tokens_priority.
#include <array>
#include <charconv>
#include <format>
#include <optional>
#include <set>

#include "common/config/price_import_forms.h"

namespace spillway::config {
namespace {

constexpr int kPerToken = 15;  // USD per token to nano-dollars per million
constexpr int kEach = 9;       // USD to nano-dollars

using Setter = void (v1::Price::*)(int64_t);
struct BaseKey {
  std::string_view name;
  Setter set;
  int power;
};
constexpr std::array<BaseKey, 10> kBaseKeys{{
    {"input_cost_per_token", &v1::Price::set_input, kPerToken},
    {"output_cost_per_token", &v1::Price::set_output, kPerToken},
    {"cache_read_input_token_cost", &v1::Price::set_cached_input, kPerToken},
    // Before its own prefix: the longer name is tried first.
    {"cache_creation_input_token_cost_above_1hr", &v1::Price::set_cache_write_1h, kPerToken},
    {"cache_creation_input_token_cost", &v1::Price::set_cache_write_5m, kPerToken},
    {"output_cost_per_reasoning_token", &v1::Price::set_reasoning, kPerToken},
    {"input_cost_per_audio_token", &v1::Price::set_audio_input, kPerToken},
    {"output_cost_per_audio_token", &v1::Price::set_audio_output, kPerToken},
    {"output_cost_per_image", &v1::Price::set_image, kEach},
    {"input_cost_per_request", &v1::Price::set_request, kEach},
}};

constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kTierSuffixes{
    {{"_priority", "priority"}, {"_flex", "flex"}, {"_batches", "batch"}}};

// What a key says: which figure, beyond which length, in which tier.
struct PriceKey {
  const BaseKey* base;
  int64_t above = 0;      // 0: any length
  std::string_view tier;  // empty: standard
};

// "_above_200k_tokens" at the begin of `rest`, taken off; nullopt: it is not there.
std::optional<int64_t> TakeThreshold(std::string_view& rest) {
  constexpr std::string_view kBegin = "_above_";
  constexpr std::string_view kEnd = "k_tokens";
  constexpr int64_t kThousandsMax = 1'000'000;
  if (!rest.starts_with(kBegin)) return std::nullopt;
  const std::string_view number = rest.substr(kBegin.size());
  int64_t thousands = 0;
  const auto [end, failed] =
      std::from_chars(number.data(), number.data() + number.size(), thousands);
  const std::string_view behind = number.substr(static_cast<size_t>(end - number.data()));
  if (failed != std::errc() || thousands <= 0 || thousands > kThousandsMax ||
      !behind.starts_with(kEnd)) {
    return std::nullopt;
  }
  rest = behind.substr(kEnd.size());
  return thousands * 1000;
}

std::optional<PriceKey> ParseKey(std::string_view key) {
  for (const BaseKey& base : kBaseKeys) {
    if (!key.starts_with(base.name)) continue;
    PriceKey parsed{.base = &base, .above = 0, .tier = {}};
    std::string_view rest = key.substr(base.name.size());
    while (!rest.empty()) {
      const size_t before = rest.size();
      if (parsed.above == 0) parsed.above = TakeThreshold(rest).value_or(0);
      for (const auto& [suffix, tier] : kTierSuffixes) {
        if (!parsed.tier.empty() || !rest.starts_with(suffix)) continue;
        parsed.tier = tier;
        rest.remove_prefix(suffix.size());
      }
      if (rest.size() == before) return std::nullopt;
    }
    return parsed;
  }
  return std::nullopt;
}

// Prices of other units. Those by the length of the context decide what tokens cost: such a model
// is not imported without them.
bool IsOtherPrice(std::string_view key) { return key.contains("cost"); }
bool DecidesTokens(std::string_view key) { return key.starts_with("long_context_"); }

v1::Price& TierOf(v1::Price& price, std::string_view tier) {
  if (tier.empty()) return price;
  for (v1::TierPrice& known : *price.mutable_tiers()) {
    if (known.tier() == tier) return *known.mutable_price();
  }
  v1::TierPrice& added = *price.add_tiers();
  added.set_tier(std::string(tier));
  return *added.mutable_price();
}

// One model of the map.
class MapModel {
 public:
  explicit MapModel(Importer& importer) : importer_(importer) {}

  // Why the model cannot be imported; empty: it can.
  std::string Read(const JsonNode& fields);
  v1::Price& price() { return price_; }
  int64_t output_tokens_max() const { return output_tokens_max_; }

 private:
  std::string ReadField(const std::string& key, const JsonNode& value);

  Importer& importer_;
  v1::Price price_;
  int64_t output_tokens_max_ = 0;
};

std::string MapModel::Read(const JsonNode& fields) {
  if (fields.members.size() > kPriceFieldsMax) return "it has too many fields";
  std::set<std::string_view> seen;
  for (const auto& [key, value] : fields.members) {
    if (!seen.insert(key).second) return std::format("it has {} twice", key);
    if (value.type == JsonNode::Type::kNull) continue;
    std::string why = ReadField(key, value);
    if (!why.empty()) return why;
  }
  return price_.has_input() ? std::string() : "it has no input_cost_per_token";
}

std::string MapModel::ReadField(const std::string& key, const JsonNode& value) {
  if (key == "max_output_tokens") {
    constexpr int64_t kTokensMax = 1'000'000'000;
    const auto tokens = ExactFigure(value, 0);
    if (tokens && *tokens <= kTokensMax) output_tokens_max_ = *tokens;
    return {};
  }
  const auto parsed = ParseKey(key);
  if (!parsed) {
    if (DecidesTokens(key)) return std::format("{} is not understood", key);
    if (IsOtherPrice(key)) importer_.LeaveOut(key);
    return {};
  }
  const auto nanos = ExactFigure(value, parsed->base->power);
  if (!nanos) return std::format("{} {}", key, nanos.error().message);
  (StepOf(TierOf(price_, parsed->tier), parsed->above).*parsed->base->set)(*nanos);
  return {};
}

// In a book of one provider, models stand under the names that the provider knows.
std::string_view WithoutPrefix(std::string_view name, std::string_view provider) {
  const bool prefixed = !provider.empty() && name.size() > provider.size() + 1 &&
                        name.starts_with(provider) && name[provider.size()] == '/';
  return prefixed ? name.substr(provider.size() + 1) : name;
}

}  // namespace

void ImportPriceMap(const JsonNode& root, Importer& importer) {
  const std::string& provider = importer.options().provider;
  for (const auto& [name, fields] : root.members) {
    // The map explains itself in an entry of this name.
    if (name == "sample_spec" || fields.type != JsonNode::Type::kObject) continue;
    const JsonNode* const sold_by = fields.Find("litellm_provider");
    const bool other = sold_by == nullptr || sold_by->text != provider;
    if (!provider.empty() && other) continue;
    MapModel model(importer);
    std::string why = model.Read(fields);
    if (why.empty()) {
      importer.Add(WithoutPrefix(name, provider), std::move(model.price()),
                   model.output_tokens_max());
    } else {
      importer.Skip(name, std::move(why));
    }
  }
}

}  // namespace spillway::config
