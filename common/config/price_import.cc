#include "common/config/price_import.h"

#include <algorithm>
#include <format>

#include "common/config/exact_decimal.h"
#include "common/config/price_import_forms.h"

namespace spillway::config {
namespace {

constexpr size_t kModelsMax = 100'000;
constexpr size_t kNameBytesMax = 256;
constexpr int kStepsMax = 8;  // what a configuration takes

bool IsModelName(std::string_view name) {
  return !name.empty() && name.size() <= kNameBytesMax &&
         std::ranges::all_of(name, [](char c) { return c > ' ' && c <= '~'; });
}

int StepsOf(const v1::Price& price) {
  int steps = price.long_context_size();
  for (const v1::TierPrice& tier : price.tiers()) {
    steps = std::max(steps, tier.price().long_context_size());
  }
  return steps;
}

Result<void> CheckModelCount(size_t models) {
  if (models <= kModelsMax) return {};
  return Fail(ErrorCode::kInvalidConfig, "the list has more than 100,000 models");
}

Result<void> ImportForm(const JsonNode& root, Importer& importer) {
  if (root.type == JsonNode::Type::kObject) {
    SW_CHECK(CheckModelCount(root.members.size()));
    ImportPriceMap(root, importer);
    return {};
  }
  if (root.type != JsonNode::Type::kArray) {
    return Fail(
        ErrorCode::kInvalidConfig,
        "this is no price list: it must be a JSON object of models, or a list of providers");
  }
  size_t models = 0;
  for (const JsonNode& provider : root.items) {
    const JsonNode* const list = provider.Find("models");
    models += list == nullptr ? 0 : list->items.size();
  }
  SW_CHECK(CheckModelCount(models));
  ImportGenaiPrices(root, importer);
  return {};
}

}  // namespace

void Importer::Add(std::string_view model, v1::Price price, int64_t output_tokens_max) {
  if (!IsModelName(model)) return Skip(model, "its name is not 1 to 256 printable characters");
  if (!names_.emplace(model).second) return Skip(model, "it has a price already");
  if (StepsOf(price) > kStepsMax) return Skip(model, "it has prices for over 8 lengths of input");
  v1::PriceBookEntry& entry = *import_.book.add_models();
  entry.set_model(std::string(model));
  *entry.mutable_price() = std::move(price);
  entry.set_output_tokens_max(output_tokens_max);
}

Result<int64_t> ExactFigure(const JsonNode& value, int power) {
  const bool number =
      value.type == JsonNode::Type::kNumber || value.type == JsonNode::Type::kString;
  if (!number) return Fail(ErrorCode::kInvalidConfig, "is no number");
  SW_TRY(const int64_t nanos, ScaledExactly(value.text, power));
  if (nanos <= kImportedNanosMax) return nanos;
  return Fail(ErrorCode::kInvalidConfig, "is above 1,000,000 USD per million tokens");
}

v1::Price& StepOf(v1::Price& price, int64_t above) {
  if (above == 0) return price;
  auto& steps = *price.mutable_long_context();
  for (v1::LongContextPrice& step : steps) {
    if (step.above_input_tokens() == above) return *step.mutable_price();
  }
  steps.Add()->set_above_input_tokens(above);
  int at = steps.size() - 1;
  for (; at > 0 && steps[at - 1].above_input_tokens() > above; --at) steps.SwapElements(at - 1, at);
  return *steps[at].mutable_price();
}

Result<PriceImport> ImportPrices(std::string_view json, const ImportOptions& options) {
  SW_TRY(const JsonNode root, ParseJson(json));
  PriceImport import;
  import.book.set_name(options.book);
  import.book.set_dated(options.today);
  Importer importer(options, import);
  SW_CHECK(ImportForm(root, importer));
  auto& models = *import.book.mutable_models();
  std::ranges::sort(models, {}, [](const auto& entry) { return entry.model(); });
  if (!models.empty()) return import;
  const std::string of =
      options.provider.empty() ? "" : std::format(" of provider {}", options.provider);
  return Fail(ErrorCode::kInvalidConfig,
              import.skipped.empty()
                  ? std::format("the list has no priced model{}", of)
                  : std::format("no model{} can be imported: {}: {}", of,
                                import.skipped.front().model, import.skipped.front().why));
}

}  // namespace spillway::config
