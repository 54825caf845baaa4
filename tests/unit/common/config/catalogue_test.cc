#include <catch2/catch_all.hpp>
#include <set>

#include "common/config/load.h"
#include "common/config/prices.h"
#include "common/config/validate.h"

namespace spillway::config {
namespace {

constexpr int64_t kMillion = 1'000'000;

TEST_CASE("the catalogue is a valid, dated price book") {
  v1::Resource resource;
  *resource.mutable_price_book() = Catalogue();
  const Validation validation = Validate({resource});
  INFO(Describe(validation.violations));
  CHECK(validation.ok());
  CHECK(CatalogueSource() == "catalogue 2026-11-20");
  CHECK(Catalogue().models_size() >= 60);
  CHECK(Catalogue().unknown() == v1::UNKNOWN_PRICE_UNSPECIFIED);
}

TEST_CASE("every model of the catalogue can be called under its name alone") {
  std::vector<v1::Resource> state;
  v1::Resource provider;
  provider.mutable_provider()->set_name("p");
  provider.mutable_provider()->set_dialect(v1::DIALECT_OPENAI);
  provider.mutable_provider()->set_base_url("https://example.com/v1");
  state.push_back(provider);
  std::set<std::string> names;
  for (const v1::PriceBookEntry& entry : Catalogue().models()) {
    CAPTURE(entry.model());
    CHECK(names.insert(entry.model()).second);
    v1::Resource model;
    model.mutable_model()->set_name("m" + std::to_string(names.size()));
    model.mutable_model()->set_provider("p");
    model.mutable_model()->set_upstream_model(entry.model());
    state.push_back(model);
  }
  ResolvePrices(state);
  const Validation validation = Validate(state);
  INFO(Describe(validation.violations));
  CHECK(validation.ok());
}

// No figure that was mistyped by a power of ten: cached input is cheaper than input, writes and
// audio are dearer, a longer context never costs less.
TEST_CASE("the catalogue's figures make sense") {
  for (const v1::PriceBookEntry& entry : Catalogue().models()) {
    CAPTURE(entry.model());
    const Price price = CompilePrice(entry.price());
    const Rates& base = price->standard.base;
    CHECK(base.input >= 20'000'000);
    CHECK(base.input <= 30'000'000'000);
    CHECK((base.output == 0 || base.output >= base.input));
    CHECK(base.output <= 20 * base.input);
    CHECK(base.cached_input <= base.input);
    CHECK(base.cache_write_5m >= base.input);
    CHECK(base.cache_write_1h >= base.cache_write_5m);
    CHECK(base.audio_input >= base.input);
    for (const auto& [above, rates] : price->standard.above) {
      CHECK(above >= 128'000);
      CHECK(rates.input > base.input);
      CHECK(rates.output > base.output);
      CHECK(rates.cached_input > base.cached_input);
      CHECK(rates.cache_write_5m >= rates.input);
    }
  }
}

TEST_CASE("spot figures of the catalogue") {
  struct Row {
    std::string model;
    TokenUsage usage;
    std::string tier;
    std::string want;  // USD
  };
  const TokenUsage million_in{.input = kMillion};
  const TokenUsage million_out{.output = kMillion};
  const TokenUsage short_in{.input = 100'000};
  const TokenUsage written{.input = 100'000, .cache_write_5m = 100'000};
  const TokenUsage written_1h{.input = 100'000, .cache_write_1h = 100'000};
  const TokenUsage cached{.input = 100'000, .cached_input = 100'000};
  const TokenUsage audio{.input = 100'000, .audio_input = 100'000};
  const auto row = GENERATE_COPY(values<Row>({
      {"gpt-5-mini", million_in, "", "0.25"},
      {"gpt-5-mini", million_out, "", "2"},
      {"gpt-5-mini", cached, "", "0.0025"},
      {"gpt-5-mini", million_in, "batch", "0.125"},
      {"gpt-5-mini", million_in, "flex", "0.125"},
      {"gpt-5-mini", million_out, "priority", "3.6"},
      {"gpt-5.6", short_in, "", "0.5"},
      {"gpt-5.6", {.input = 272'000}, "", "1.36"},
      {"gpt-5.6", {.input = 272'001}, "", "2.72001"},
      {"gpt-5.6", written, "", "0.625"},
      {"gpt-5.6", {.input = 300'000, .output = 1000}, "flex", "1.5225"},
      {"gpt-5.5-pro", million_out, "", "180"},
      {"gpt-4o-mini", short_in, "priority", "0.025"},
      {"o4-mini", million_out, "", "4.4"},
      {"text-embedding-3-small", million_in, "", "0.02"},
      {"claude-opus-5", written, "", "0.625"},
      {"claude-opus-5", written_1h, "", "1"},
      {"claude-sonnet-4-6", million_out, "", "15"},
      {"claude-sonnet-4-6", million_out, "batch", "7.5"},
      {"claude-sonnet-4-5", {.input = 200'001}, "", "1.200006"},
      {"claude-sonnet-4-5-20250929", short_in, "", "0.3"},
      {"claude-haiku-4-5", cached, "", "0.01"},
      {"gemini-3-pro-preview", {.input = 200'001, .output = 1000}, "", "0.818004"},
      {"gemini-3-flash-preview", audio, "", "0.1"},
      {"gemini-2.5-flash-lite", million_out, "", "0.4"},
      {"amazon.nova-micro-v1:0", cached, "", "0.000875"},
      {"us.anthropic.claude-opus-4-8-v1:0", million_out, "", "27.5"},
      {"mistral-large-2512", million_out, "", "1.5"},
      {"command-r7b", million_in, "", "0.0375"},
      {"deepseek-v4-flash", cached, "", "0.00028"},
      {"grok-4.5", million_out, "", "6"},
      {"meta-llama/llama-4-maverick-17b-128e-instruct", million_out, "", "0.6"},
      {"minimax-m3", {.input = 512'001}, "", "0.3072006"},
  }));
  CAPTURE(row.model, row.tier);
  const v1::PriceBookEntry* const entry = FindPrice(Catalogue(), row.model);
  REQUIRE(entry != nullptr);
  CHECK(FormatUsd(CostOf(row.usage, CompilePrice(entry->price()), row.tier)) == row.want);
}

TEST_CASE("names that the catalogue must not guess at") {
  for (const char* name : {"gpt-6", "gpt-5-mini-latest", "openai/gpt-5-mini", "GPT-5-mini", "",
                           "deepseek-chat", "claude-opus-5-5"}) {
    CAPTURE(name);
    CHECK(FindPrice(Catalogue(), name) == nullptr);
  }
}

TEST_CASE("the most output tokens of a call come from the catalogue") {
  CHECK(FindPrice(Catalogue(), "gpt-4.1")->output_tokens_max() == 32'768);
  CHECK(FindPrice(Catalogue(), "claude-opus-4-1")->output_tokens_max() == 32'000);
  CHECK(FindPrice(Catalogue(), "gemini-2.5-pro")->output_tokens_max() == 65'535);
  CHECK(FindPrice(Catalogue(), "command-a")->output_tokens_max() == 0);
}

}  // namespace
}  // namespace spillway::config
