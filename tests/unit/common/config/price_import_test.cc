#include "common/config/price_import.h"

#include <catch2/catch_all.hpp>

#include "common/config/load.h"
#include "common/config/prices.h"
#include "common/config/validate.h"

namespace spillway::config {
namespace {

PriceImport Import(const std::string& json, const ImportOptions& options = {}) {
  auto import = ImportPrices(json, options);
  INFO((import ? std::string() : import.error().message));
  REQUIRE(import);
  return *std::move(import);
}

// A map of one model with these fields besides the required ones.
std::string Map(const std::string& fields) {
  return R"({"m": {"input_cost_per_token": 2.5e-07, "output_cost_per_token": 2e-06, )" + fields +
         R"("mode": "chat"}})";
}

v1::Price PriceIn(const PriceImport& import, std::string_view model = "m") {
  const v1::PriceBookEntry* const entry = FindPrice(import.book, model);
  REQUIRE(entry != nullptr);
  return entry->price();
}

TEST_CASE("every key of the price map becomes its figure, exactly") {
  const PriceImport import = Import(Map(R"(
    "cache_read_input_token_cost": 2.5e-08,
    "cache_creation_input_token_cost": 3.125e-07,
    "cache_creation_input_token_cost_above_1hr": 5e-07,
    "output_cost_per_reasoning_token": "3e-06",
    "input_cost_per_audio_token": 1E-6,
    "output_cost_per_audio_token": 0.000004,
    "output_cost_per_image": 0.04,
    "input_cost_per_request": 0.001,
    "max_output_tokens": 128000,
    "litellm_provider": "openai",
    "supports_vision": true,
    "input_cost_per_second": null, )"));
  const v1::Price price = PriceIn(import);
  CHECK(price.input() == 250'000'000);
  CHECK(price.output() == 2'000'000'000);
  CHECK(price.cached_input() == 25'000'000);
  CHECK(price.cache_write_5m() == 312'500'000);
  CHECK(price.cache_write_1h() == 500'000'000);
  CHECK(price.reasoning() == 3'000'000'000);
  CHECK(price.audio_input() == 1'000'000'000);
  CHECK(price.audio_output() == 4'000'000'000);
  CHECK(price.image() == 40'000'000);
  CHECK(price.request() == 1'000'000);
  CHECK(import.book.models(0).output_tokens_max() == 128'000);
  CHECK(import.skipped.empty());
  CHECK(import.left_out.empty());
}

TEST_CASE("lengths of input and service tiers are read in any order") {
  const PriceImport import = Import(Map(R"(
    "input_cost_per_token_above_272k_tokens": 5e-07,
    "output_cost_per_token_above_272k_tokens": 3e-06,
    "input_cost_per_token_above_128k_tokens": 4e-07,
    "cache_creation_input_token_cost_above_1hr_above_200k_tokens": 1.2e-05,
    "input_cost_per_token_flex": 1.25e-07,
    "input_cost_per_token_batches": 1.25e-07,
    "output_cost_per_token_priority": 3.6e-06,
    "output_cost_per_token_above_272k_tokens_flex": 1.5e-06,
    "cache_read_input_token_cost_priority_above_272k_tokens": 9e-08, )"));
  const v1::Price price = PriceIn(import);
  REQUIRE(price.long_context_size() == 3);
  CHECK(price.long_context(0).above_input_tokens() == 128'000);
  CHECK(price.long_context(1).above_input_tokens() == 200'000);
  CHECK(price.long_context(1).price().cache_write_1h() == 12'000'000'000);
  CHECK(price.long_context(2).above_input_tokens() == 272'000);
  CHECK(price.long_context(2).price().output() == 3'000'000'000);
  REQUIRE(price.tiers_size() == 3);
  const Price compiled = CompilePrice(price);
  CHECK(RatesFor(*compiled, 1, "batch").input == 125'000'000);
  CHECK(RatesFor(*compiled, 1, "flex").output == 2'000'000'000);
  CHECK(RatesFor(*compiled, 272'001, "flex").output == 1'500'000'000);
  CHECK(RatesFor(*compiled, 1, "priority").output == 3'600'000'000);
  CHECK(RatesFor(*compiled, 272'001, "priority").cached_input == 90'000'000);
}

TEST_CASE("a model that cannot be converted exactly is skipped whole, and named") {
  struct Row {
    std::string fields;
    std::string want;
  };
  const auto row = GENERATE(values<Row>({
      {R"("cache_read_input_token_cost": 8.333333333333334e-09, )",
       "cache_read_input_token_cost is too fine to be exact"},
      {R"("output_cost_per_token_flex": -1, )", "output_cost_per_token_flex is negative"},
      {R"("input_cost_per_audio_token": "free", )", "input_cost_per_audio_token is no number"},
      {R"("input_cost_per_audio_token": [], )", "input_cost_per_audio_token is no number"},
      {R"("input_cost_per_token_above_200k_tokens": 2, )",
       "input_cost_per_token_above_200k_tokens is above 1,000,000 USD per million tokens"},
      {R"("input_cost_per_token_above_200k_tokens": 1e300, )",
       "input_cost_per_token_above_200k_tokens is too large"},
      {R"("output_cost_per_token": 1, )", "it has output_cost_per_token twice"},
      {R"("long_context_input_cost_multiplier": 2.0, )",
       "long_context_input_cost_multiplier is not understood"},
  }));
  CAPTURE(row.fields);
  const PriceImport import =
      Import(R"({"good": {"input_cost_per_token": 0},)" + Map(row.fields).substr(1));
  CHECK(import.book.models_size() == 1);
  REQUIRE(import.skipped.size() == 1);
  CHECK(import.skipped[0].model == "m");
  CHECK(import.skipped[0].why == row.want);
}

TEST_CASE("prices of other units are left out and counted") {
  const PriceImport import = Import(Map(R"(
    "input_cost_per_second": 0.1, "input_cost_per_token_cache_hit": 1e-08,
    "search_context_cost_per_query": {"search_context_size_low": 0.01},
    "output_cost_per_image_token": 1e-05, "input_cost_per_token_above_xk_tokens": 1, )"));
  CHECK(import.book.models_size() == 1);
  CHECK(import.left_out.size() == 5);
  CHECK(import.left_out.at("input_cost_per_second") == 1);
  CHECK(PriceIn(import).long_context_size() == 0);
}

TEST_CASE("models without a price for tokens, doubled ones and explanations are not imported") {
  const PriceImport import = Import(R"({
    "sample_spec": {"input_cost_per_token": "nonsense"},
    "note": "text",
    "b": {"input_cost_per_token": 1e-06},
    "a": {"input_cost_per_token": 1e-06},
    "speech": {"input_cost_per_second": 0.1},
    "b": {"input_cost_per_token": 9e-06},
    "sp ace": {"input_cost_per_token": 1e-06}})");
  REQUIRE(import.book.models_size() == 2);
  CHECK(import.book.models(0).model() == "a");
  CHECK(PriceIn(import, "b").input() == 1'000'000'000);
  REQUIRE(import.skipped.size() == 3);
  CHECK(import.skipped[0].why == "it has no input_cost_per_token");
  CHECK(import.skipped[1].why == "it has a price already");
  CHECK(import.skipped[2].why.contains("printable"));
}

TEST_CASE("one provider's models stand under the names that it knows") {
  const PriceImport import = Import(R"({
    "groq/llama": {"input_cost_per_token": 1e-06, "litellm_provider": "groq"},
    "groq/": {"input_cost_per_token": 1e-06, "litellm_provider": "groq"},
    "gpt": {"input_cost_per_token": 1e-06, "litellm_provider": "openai"},
    "bare": {"input_cost_per_token": 1e-06}})",
                                    {.book = "groq-prices", .provider = "groq"});
  REQUIRE(import.book.models_size() == 2);
  CHECK(import.book.name() == "groq-prices");
  CHECK(FindPrice(import.book, "llama") != nullptr);
}

constexpr const char* kGenai = R"([
  {"id": "openai", "models": [
    {"id": "gpt-5-mini", "match": {"or": [{"equals": "gpt-5-mini"}, {"equals": "gpt-5-mini-x"},
      {"starts_with": "gpt-5-mini-"}]},
     "prices": {"input_mtok": 0.25, "output_mtok": 2, "cache_read_mtok": 0.025,
       "input_audio_mtok": 1.5, "cache_write_mtok": 0.3125, "requests_kcount": 5,
       "cache_audio_read_mtok": 0.1}},
    {"id": "long", "prices": {"input_mtok": {"base": 2, "tiers": [{"start": 200000, "price": 4}]},
       "output_mtok": {"base": 12, "tiers": [{"start": 200000, "price": 18}]}}},
    {"id": "dated", "prices": [
      {"prices": {"input_mtok": 2}},
      {"constraint": {"start_date": "2026-09-01"}, "prices": {"input_mtok": 3}},
      {"constraint": {"start_date": "2027-01-01"}, "prices": {"input_mtok": 4}}]},
    {"id": "nightly", "prices": [
      {"constraint": {"start_time": "00:30:00Z", "end_time": "16:30:00Z"},
       "prices": {"input_mtok": 2}}]},
    {"id": "free", "prices": {}}]},
  {"id": "other", "models": [{"id": "x", "prices": {"input_mtok": 1}}]}])";

TEST_CASE("genai-prices are read with their steps, days and exact names") {
  const PriceImport import = Import(kGenai, {.provider = "openai", .today = "2026-11-20"});
  const v1::Price mini = PriceIn(import, "gpt-5-mini");
  CHECK(mini.input() == 250'000'000);
  CHECK(mini.cache_write_5m() == 312'500'000);
  CHECK(mini.audio_input() == 1'500'000'000);
  CHECK(mini.request() == 5'000'000);
  CHECK(PriceIn(import, "gpt-5-mini-x").input() == 250'000'000);
  const v1::Price longer = PriceIn(import, "long");
  REQUIRE(longer.long_context_size() == 1);
  CHECK(longer.long_context(0).price().output() == 18'000'000'000);
  CHECK(PriceIn(import, "dated").input() == 3'000'000'000);
  CHECK(FindPrice(import.book, "x") == nullptr);
  REQUIRE(import.skipped.size() == 2);
  CHECK(import.skipped[0].why == "its price depends on more than the day");
  CHECK(import.skipped[1].why == "it has no input_mtok");
  CHECK(import.left_out.at("cache_audio_read_mtok") == 1);
  CHECK(import.book.dated() == "2026-11-20");
}

TEST_CASE("what is no price list is refused") {
  struct Row {
    std::string text;
    std::string want;
  };
  const auto row = GENERATE(values<Row>({
      {"", "line 1"},
      {"3", "this is no price list"},
      {"{}", "the list has no priced model"},
      {"[]", "the list has no priced model"},
      {R"([{"models": 3}, 4, {"id": 1}])", "the list has no priced model"},
      {R"({"m": {"input_cost_per_token": 1e-20}})", "m: input_cost_per_token is too fine"},
      {R"([{"models": [{"id": "q", "prices": [{}]}]}])", "q: a dated price has no prices"},
  }));
  CAPTURE(row.text);
  const auto import = ImportPrices(row.text, {});
  REQUIRE_FALSE(import);
  CHECK_THAT(import.error().message, Catch::Matchers::ContainsSubstring(row.want));
}

TEST_CASE("too many models are refused") {
  std::string json = "{";
  for (int i = 0; i <= 100'000; ++i) json += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":{}";
  CHECK_FALSE(ImportPrices(json + "}", {}));
}

TEST_CASE("an imported book is what a configuration takes, and reads back to the same") {
  const PriceImport import = Import(kGenai, {.book = "house", .today = "2026-11-20"});
  v1::Resource resource;
  *resource.mutable_price_book() = import.book;
  const Validation validation = Validate({resource});
  INFO(Describe(validation.violations));
  CHECK(validation.ok());
  const std::string yaml = RenderYaml({resource});
  INFO(yaml);
  const LoadResult again = LoadYaml(yaml, "again.yaml", {});
  INFO(Describe(again.violations));
  REQUIRE(again.violations.empty());
  CHECK(again.config.resources.at(0).SerializeAsString() == resource.SerializeAsString());
}

}  // namespace
}  // namespace spillway::config
