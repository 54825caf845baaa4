// Any text as a price list: importing it must end, without a crash; what is imported must be a
// price book that a configuration takes, that reads back to the same from YAML, and whose figures
// are exactly those of the text.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <print>
#include <string>
#include <string_view>

#include "common/config/exact_decimal.h"
#include "common/config/json_tree.h"
#include "common/config/load.h"
#include "common/config/price_import.h"
#include "common/config/prices.h"
#include "common/config/validate.h"

namespace {

namespace config = spillway::config;
namespace v1 = spillway::v1;
using spillway::Price;
using spillway::TokenUsage;

void Require(bool good, const char* what, const std::string& text = {}) {
  if (good) return;
  std::println(stderr, "{}\n{}", what, text);
  std::abort();
}

// Of the price map: does some model of that name say just this, times 10^15?
bool SaysInput(const config::JsonNode& root, const v1::PriceBookEntry& entry) {
  for (const auto& [name, fields] : root.members) {
    const config::JsonNode* const input = fields.Find("input_cost_per_token");
    if (name != entry.model() || input == nullptr) continue;
    const auto nanos = config::ScaledExactly(input->text, 15);
    if (nanos && *nanos == entry.price().input()) return true;
  }
  return false;
}

void CheckInputs(const config::JsonNode& root, const v1::PriceBook& book) {
  if (root.type != config::JsonNode::Type::kObject) return;
  for (const v1::PriceBookEntry& entry : book.models()) {
    Require(SaysInput(root, entry), "an input price from nowhere", entry.model());
  }
}

void CheckPrices(const v1::PriceBook& book) {
  const TokenUsage usage{.input = 300'000, .output = 1000, .cached_input = 10, .reasoning = 5};
  for (const v1::PriceBookEntry& entry : book.models()) {
    const Price price = config::CompilePrice(entry.price());
    Require(CostOf(usage, price) >= 0, "a negative cost", entry.model());
    for (const auto& [tier, steps] : price->tiers) {
      Require(CostOf(usage, price, tier) >= 0, "a negative cost", entry.model());
    }
  }
}

void CheckRoundTrip(const v1::PriceBook& book) {
  v1::Resource resource;
  *resource.mutable_price_book() = book;
  const config::Validation validation = config::Validate({resource});
  Require(validation.ok(), "not valid", config::Describe(validation.violations));
  const std::string yaml = config::RenderYaml({resource});
  const config::LoadResult again = config::LoadYaml(yaml, "again.yaml", {});
  Require(again.violations.empty(), "not readable", config::Describe(again.violations) + yaml);
  Require(again.config.resources.size() == 1, "another number of books", yaml);
  Require(again.config.resources[0].SerializeAsString() == resource.SerializeAsString(),
          "changed on the way", yaml);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const char* provider : {"", "openai"}) {
    const auto import =
        config::ImportPrices(text, {.book = "fuzzed", .provider = provider, .today = "2026-11-20"});
    if (!import) {
      Require(!import.error().message.empty(), "a refusal without a word");
      continue;
    }
    for (const config::SkippedModel& skipped : import->skipped) {
      Require(!skipped.why.empty(), "skipped without a word");
    }
    const auto root = config::ParseJson(text);
    Require(root.has_value(), "imported what cannot be parsed");
    if (*provider == '\0') CheckInputs(*root, import->book);
    CheckPrices(import->book);
    CheckRoundTrip(import->book);
  }
  return 0;
}
