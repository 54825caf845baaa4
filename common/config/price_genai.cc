// genai-prices: providers with models, prices in USD per million tokens; a price may change with
// the length of the input ({"base", "tiers"}) and with the day (a list of {"constraint",
// "prices"}).
#include <array>
#include <format>
#include <set>

#include "common/config/price_import_forms.h"

namespace spillway::config {
namespace {

constexpr int kPerMillion = 9;  // USD per million to nano-dollars per million

using Setter = void (v1::Price::*)(int64_t);
struct PriceField {
  std::string_view name;
  Setter set;
  int power;
};
constexpr std::array<PriceField, 7> kFields{{
    {"input_mtok", &v1::Price::set_input, kPerMillion},
    {"output_mtok", &v1::Price::set_output, kPerMillion},
    {"cache_read_mtok", &v1::Price::set_cached_input, kPerMillion},
    {"cache_write_mtok", &v1::Price::set_cache_write_5m, kPerMillion},
    {"input_audio_mtok", &v1::Price::set_audio_input, kPerMillion},
    {"output_audio_mtok", &v1::Price::set_audio_output, kPerMillion},
    {"requests_kcount", &v1::Price::set_request, kPerMillion - 3},
}};

std::string TextOf(const JsonNode* node) {
  return node != nullptr && node->type == JsonNode::Type::kString ? node->text : std::string();
}

// One model of the list. Every reader answers why it cannot be imported; empty: it can.
class GenaiModel {
 public:
  explicit GenaiModel(Importer& importer) : importer_(importer) {}

  std::string Read(const JsonNode& prices);
  v1::Price& price() { return price_; }

 private:
  std::string ReadDated(const JsonNode& list);
  std::string ReadFields(const JsonNode& fields);
  std::string ReadFigure(const PriceField& field, const JsonNode& value);
  std::string ReadSteps(const PriceField& field, const JsonNode& tiers);

  Importer& importer_;
  v1::Price price_;
};

std::string GenaiModel::Read(const JsonNode& prices) {
  std::string why = prices.type == JsonNode::Type::kArray ? ReadDated(prices) : ReadFields(prices);
  if (why.empty() && !price_.has_input()) why = "it has no input_mtok";
  return why;
}

// The last price whose day has come holds. Prices by the time of day cannot be: one price a model.
std::string GenaiModel::ReadDated(const JsonNode& list) {
  const JsonNode* current = nullptr;
  for (const JsonNode& dated : list.items) {
    const JsonNode* const prices = dated.Find("prices");
    if (prices == nullptr) return "a dated price has no prices";
    const JsonNode* const constraint = dated.Find("constraint");
    const bool always = constraint == nullptr || constraint->type == JsonNode::Type::kNull;
    const std::string from = always ? "" : TextOf(constraint->Find("start_date"));
    if (!always && from.empty()) return "its price depends on more than the day";
    if (!always && importer_.options().today.empty()) return "its price depends on the day";
    if (always || from <= importer_.options().today) current = prices;
  }
  return current == nullptr ? "it has no price for today" : ReadFields(*current);
}

std::string GenaiModel::ReadFields(const JsonNode& fields) {
  if (fields.type != JsonNode::Type::kObject) return "its prices are no object";
  if (fields.members.size() > kPriceFieldsMax) return "it has too many fields";
  std::set<std::string_view> seen;
  for (const auto& [key, value] : fields.members) {
    if (!seen.insert(key).second) return std::format("it has {} twice", key);
    if (value.type == JsonNode::Type::kNull) continue;
    const PriceField* field = nullptr;
    for (const PriceField& known : kFields) {
      if (known.name == key) field = &known;
    }
    if (field == nullptr) {
      importer_.LeaveOut(key);
      continue;
    }
    std::string why = ReadFigure(*field, value);
    if (!why.empty()) return why;
  }
  return {};
}

std::string GenaiModel::ReadFigure(const PriceField& field, const JsonNode& value) {
  const JsonNode* base = &value;
  if (value.type == JsonNode::Type::kObject) {
    base = value.Find("base");
    const JsonNode* const tiers = value.Find("tiers");
    if (base == nullptr || tiers == nullptr)
      return std::format("{} has no base or tiers", field.name);
    std::string why = ReadSteps(field, *tiers);
    if (!why.empty()) return why;
  }
  const auto nanos = ExactFigure(*base, field.power);
  if (!nanos) return std::format("{} {}", field.name, nanos.error().message);
  (price_.*field.set)(*nanos);
  return {};
}

std::string GenaiModel::ReadSteps(const PriceField& field, const JsonNode& tiers) {
  constexpr size_t kStepsMax = 16;
  if (tiers.items.size() > kStepsMax) return std::format("{} has too many tiers", field.name);
  for (const JsonNode& tier : tiers.items) {
    const JsonNode* const start = tier.Find("start");
    const JsonNode* const price = tier.Find("price");
    if (start == nullptr || price == nullptr) {
      return std::format("{} has a tier without start or price", field.name);
    }
    const auto above = ExactFigure(*start, 0);
    const auto nanos = ExactFigure(*price, field.power);
    if (!above || *above <= 0) return std::format("{} has a tier without a start", field.name);
    if (!nanos) return std::format("{} {}", field.name, nanos.error().message);
    (StepOf(price_, *above).*field.set)(*nanos);
  }
  return {};
}

// The names that a model is known by exactly; patterns are for others to guess with.
void CollectNames(const JsonNode& match, std::set<std::string>& names, int depth) {
  constexpr int kDepthMax = 8;
  if (depth > kDepthMax) return;
  if (std::string name = TextOf(match.Find("equals")); !name.empty()) names.insert(std::move(name));
  if (const JsonNode* const any = match.Find("or")) {
    for (const JsonNode& inner : any->items) CollectNames(inner, names, depth + 1);
  }
}

void ImportModel(const JsonNode& model, Importer& importer) {
  const std::string id = TextOf(model.Find("id"));
  const JsonNode* const prices = model.Find("prices");
  if (prices == nullptr) return importer.Skip(id, "it has no prices");
  GenaiModel read(importer);
  std::string why = read.Read(*prices);
  if (!why.empty()) return importer.Skip(id, std::move(why));
  std::set<std::string> names;
  if (const JsonNode* const match = model.Find("match")) CollectNames(*match, names, 0);
  names.erase(id);
  importer.Add(id, read.price(), 0);
  for (const std::string& name : names) importer.Add(name, read.price(), 0);
}

}  // namespace

void ImportGenaiPrices(const JsonNode& root, Importer& importer) {
  const std::string& wanted = importer.options().provider;
  for (const JsonNode& provider : root.items) {
    if (!wanted.empty() && TextOf(provider.Find("id")) != wanted) continue;
    const JsonNode* const models = provider.Find("models");
    if (models == nullptr) continue;
    for (const JsonNode& model : models->items) ImportModel(model, importer);
  }
}

}  // namespace spillway::config
