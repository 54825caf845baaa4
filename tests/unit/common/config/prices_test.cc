#include "common/config/prices.h"

#include <catch2/catch_all.hpp>
#include <cmath>

#include "common/config/load.h"
#include "common/config/resource.h"
#include "common/config/validate.h"

namespace spillway::config {
namespace {

// USD per million tokens in nano-dollars.
Nanos Usd(double usd) { return std::llround(usd * 1'000'000'000); }

std::vector<v1::Resource> Load(const std::string& yaml) {
  LoadResult loaded = LoadYaml(yaml, "test.yaml", {});
  INFO(Describe(loaded.violations));
  REQUIRE(loaded.violations.empty());
  return std::move(loaded.config.resources);
}

v1::Price Written(const std::string& fields) {
  return Load("models: [{name: m, provider: p, price: {" + fields + "}}]").at(0).model().price();
}

Rates RatesOf(const Price& price, int64_t input = 0, std::string_view tier = {}) {
  return RatesFor(*price, input, tier);
}

TEST_CASE("what a price leaves out costs what its absence says") {
  const Rates plain = RatesOf(CompilePrice(Written("input: 2")));
  CHECK(plain == Rates{.input = Usd(2),
                       .output = 0,
                       .cached_input = Usd(2),
                       .cache_write_5m = Usd(2),
                       .cache_write_1h = Usd(2),
                       .reasoning = 0,
                       .audio_input = Usd(2),
                       .audio_output = 0,
                       .image = 0,
                       .request = 0});
  const Rates some =
      RatesOf(CompilePrice(Written("input: 2, output: 8, cache_write_5m: 2.5, image: 0.04")));
  CHECK(some.cache_write_1h == Usd(2.5));
  CHECK(some.reasoning == Usd(8));
  CHECK(some.audio_output == Usd(8));
  CHECK(some.image == 40'000'000);
  const Rates all = RatesOf(CompilePrice(
      Written("input: 1, output: 2, cached_input: 0, cache_write_5m: 4, cache_write_1h: 5, "
              "reasoning: 6, audio_input: 7, audio_output: 8, image: 9, request: 10")));
  CHECK(all == Rates{.input = Usd(1),
                     .output = Usd(2),
                     .cached_input = 0,
                     .cache_write_5m = Usd(4),
                     .cache_write_1h = Usd(5),
                     .reasoning = Usd(6),
                     .audio_input = Usd(7),
                     .audio_output = Usd(8),
                     .image = Usd(9),
                     .request = Usd(10)});
}

TEST_CASE("steps and tiers take from the price around them what they do not name") {
  const Price price = CompilePrice(
      Written("input: 2, output: 12, cached_input: 0.2, request: 0.01, "
              "long_context: [{above: 200000, input: 4, output: 18}, {above: 400000, output: 20}], "
              "tiers: {batch: {percent: 50}, priority: {input: 3.6, long_context: [{above: 100000, "
              "output: 30}]}, fast: {output: 24}}"));
  const Rates longer = RatesOf(price, 200'001);
  CHECK(longer.input == Usd(4));
  CHECK(longer.cached_input == Usd(0.2));  // named by the price around it
  CHECK(longer.cache_write_5m == Usd(4));  // named by nobody: as the input there
  CHECK(longer.reasoning == Usd(18));
  CHECK(longer.request == Usd(0.01));
  CHECK(RatesOf(price, 200'000).input == Usd(2));
  // The last step says the output alone; the rest is as at the beginning, not as one step below.
  CHECK(RatesOf(price, 400'001).input == Usd(2));
  CHECK(RatesOf(price, 400'001).output == Usd(20));

  CHECK(RatesOf(price, 1, "batch").output == Usd(6));
  CHECK(RatesOf(price, 1, "batch").request == Usd(0.005));
  CHECK(RatesOf(price, 200'001, "batch").output == Usd(9));

  CHECK(RatesOf(price, 1, "priority").input == Usd(3.6));
  CHECK(RatesOf(price, 1, "priority").output == Usd(12));
  CHECK(RatesOf(price, 100'001, "priority").output == Usd(30));
  CHECK(RatesOf(price, 100'001, "priority").input == Usd(3.6));
  CHECK(RatesOf(price, 200'001, "priority").input == Usd(3.6));  // its own steps alone

  CHECK(RatesOf(price, 1, "fast").output == Usd(24));
  CHECK(RatesOf(price, 200'001, "fast").output == Usd(18));  // the steps around it
  CHECK(RatesOf(price, 1, "flex") == RatesOf(price, 1));
}

TEST_CASE("a percent rounds each rate half up and saturates") {
  v1::Price price;
  price.set_input(1);
  price.set_output(3);
  price.set_request(std::numeric_limits<int64_t>::max());
  v1::TierPrice& tier = *price.add_tiers();
  tier.set_tier("x");
  tier.set_percent(150);
  const Rates rates = RatesOf(CompilePrice(price), 0, "x");
  CHECK(rates.input == 2);   // 1.5
  CHECK(rates.output == 5);  // 4.5
  CHECK(rates.request == std::numeric_limits<int64_t>::max());
}

const v1::Model& ModelNamed(const std::vector<v1::Resource>& state, std::string_view name) {
  for (const v1::Resource& resource : state) {
    if (resource.has_model() && resource.model().name() == name) return resource.model();
  }
  FAIL("no model " << name);
  std::abort();
}

constexpr const char* kState = R"(
price_books:
  - {name: zeta, models: {a: {input: 9}, b: {input: 8}}}
  - {name: house, dated: 2026-11-01, models: {a: {input: 1, output_tokens_max: 500},
     gpt-5-mini: {input: 7, output: 7}}}
models:
  - {name: a, provider: p}
  - {name: other, provider: p, upstream_model: b}
  - {name: mini, provider: p, upstream_model: gpt-5-mini}
  - {name: nano, provider: p, upstream_model: gpt-5-nano}
  - {name: dated, provider: p, upstream_model: gpt-5-nano-2025-08-07}
  - {name: own, provider: p, upstream_model: gpt-5-nano, price: {input: 3}}
  - {name: guess, provider: p, upstream_model: gpt-5-nano-preview}
  - {name: prefixed, provider: p, upstream_model: openai/gpt-5-nano}
)";

TEST_CASE(
    "models find their price by exact name: books in order of their names, then the catalogue") {
  std::vector<v1::Resource> state = Load(kState);
  ResolvePrices(state);
  const auto resolved = [&](std::string_view name) {
    return ModelNamed(state, name).resolved_price();
  };
  CHECK(resolved("a").source() == "price_book/house");
  CHECK(resolved("a").price().input() == Usd(1));
  CHECK(ModelNamed(state, "a").output_tokens_max() == 500);
  CHECK(resolved("other").source() == "price_book/zeta");
  CHECK(resolved("mini").source() == "price_book/house");
  CHECK(ModelNamed(state, "mini").output_tokens_max() == 0);
  CHECK(resolved("nano").source() == CatalogueSource());
  CHECK(resolved("nano").price().input() == Usd(0.05));
  CHECK(ModelNamed(state, "nano").output_tokens_max() == 128'000);
  CHECK(resolved("dated").price().input() == Usd(0.05));
  CHECK_FALSE(ModelNamed(state, "guess").has_resolved_price());
  CHECK_FALSE(ModelNamed(state, "prefixed").has_resolved_price());
  CHECK(PriceOf(ModelNamed(state, "guess")) == nullptr);

  const v1::Model& own = ModelNamed(state, "own");
  CHECK_FALSE(own.resolved_price().has_price());
  CHECK(own.output_tokens_max() == 128'000);
  CHECK(RatesOf(PriceOf(own)).input == Usd(3));
}

TEST_CASE("unknown prices are refused, given a default, or allowed and marked") {
  const std::string models = "models: [{name: m, provider: p, upstream_model: nobody-knows}]\n";
  std::vector<v1::Resource> refused = Load(models + "price_books: [{name: b, unknown: refuse}]");
  ResolvePrices(refused);
  CHECK_FALSE(ModelNamed(refused, "m").has_resolved_price());

  std::vector<v1::Resource> guessed =
      Load(models + "price_books: [{name: b, unknown: {default: {input: 5, output: 10}}}]");
  ResolvePrices(guessed);
  CHECK(ModelNamed(guessed, "m").resolved_price().source() == "price_book/b default");
  CHECK(RatesOf(PriceOf(ModelNamed(guessed, "m"))).output == Usd(10));

  std::vector<v1::Resource> allowed = Load(models + "price_books: [{name: b, unknown: allow}]");
  ResolvePrices(allowed);
  CHECK(ModelNamed(allowed, "m").resolved_price().unpriced());
  CHECK(PriceOf(ModelNamed(allowed, "m")) == nullptr);
}

TEST_CASE("a price without input is a mistake, and not mixed with what is known") {
  std::vector<v1::Resource> state =
      Load("models: [{name: gpt-5-mini, provider: p, price: {output: 3}}]");
  ResolvePrices(state);
  CHECK_FALSE(state[0].model().resolved_price().has_price());
  CHECK(PriceOf(state[0].model()) == nullptr);
}

std::string BytesOf(const std::vector<v1::Resource>& state) {
  std::string bytes;
  for (const v1::Resource& resource : state) bytes += ToEntry(resource).bytes();
  return bytes;
}

TEST_CASE("the same state always resolves to the same bytes") {
  std::vector<v1::Resource> once = Load(kState);
  ResolvePrices(once);
  std::vector<v1::Resource> twice = once;
  ResolvePrices(twice);
  CHECK(BytesOf(twice) == BytesOf(once));
  std::vector<v1::Resource> again = Load(kState);
  ResolvePrices(again);
  CHECK(BytesOf(again) == BytesOf(once));
}

TEST_CASE("what an earlier price book filled in goes with it, what was written stays") {
  std::vector<v1::Resource> state = Load(
      "price_books: [{name: b, models: {x: {input: 1, output_tokens_max: 10}}}]\n"
      "models: [{name: filled, provider: p, upstream_model: x},\n"
      "         {name: written, provider: p, upstream_model: x, output_tokens_max: 99}]");
  ResolvePrices(state);
  CHECK(ModelNamed(state, "filled").output_tokens_max() == 10);
  CHECK(ModelNamed(state, "written").output_tokens_max() == 99);
  std::erase_if(state, [](const v1::Resource& resource) { return resource.has_price_book(); });
  ResolvePrices(state);
  CHECK(ModelNamed(state, "filled").output_tokens_max() == 0);
  CHECK_FALSE(ModelNamed(state, "filled").has_resolved_price());
  CHECK(ModelNamed(state, "written").output_tokens_max() == 99);
}

}  // namespace
}  // namespace spillway::config
