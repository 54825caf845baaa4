#include "dataplane/budgets/estimator.h"

#include <catch2/catch_all.hpp>
#include <random>
#include <thread>
#include <vector>

namespace spillway {
namespace {

// USD 1 and 2 per million: a token costs 1000 and 2000 nano-dollars.
ModelSpec Model(int64_t output_tokens_max = 0) {
  ModelSpec model;
  model.name = "m";
  model.price = SimplePrice(1'000'000'000, 2'000'000'000);
  model.output_tokens_max = output_tokens_max;
  return model;
}

CallShape Shape(const ModelSpec& model, int64_t bytes, int64_t client_max = 0) {
  return {.route = "r", .model = model, .body_bytes = bytes, .output_tokens_max = client_max};
}

TEST_CASE("before anything is known: four bytes a token and a usual answer, within the maxima") {
  struct Case {
    const char* name;
    int64_t client, model, choices;
    int64_t want;
  };
  const Case kCases[] = {
      {"no maximum", 0, 0, 1, 1024},   {"the client's", 50, 0, 1, 50},
      {"the model's", 0, 200, 1, 200}, {"the smaller", 500, 200, 1, 200},
      {"choices", 50, 0, 3, 150},      {"a large one changes nothing", 100'000, 0, 1, 1024},
  };
  for (const Case& test : kCases) {
    DYNAMIC_SECTION(test.name) {
      const Estimator estimator;
      const ModelSpec model = Model(test.model);
      CallShape shape = Shape(model, 401, test.client);
      shape.choices = test.choices;
      const Estimate estimate = estimator.Of(shape);
      CHECK(estimate.likely.input == 101);
      CHECK(estimate.likely.output == test.want);
      CHECK(estimate.ask.quantile == 101 * 1'000 + test.want * 2'000);
    }
  }
}

TEST_CASE("the ratio and the length are learned, per model and per route") {
  Estimator estimator;
  const ModelSpec model = Model();
  const ModelSpec other = [] {
    ModelSpec named = Model();
    named.name = "other";
    return named;
  }();
  std::mt19937 random(7);
  std::uniform_int_distribution<int64_t> length(1, 1'000);
  for (int i = 0; i < 2'000; ++i)
    estimator.Learn(Shape(model, 3'000), {.input = 1'000, .output = length(random)});
  CHECK(estimator.InputTokens("m", 3'000) >= 995);
  CHECK(estimator.InputTokens("m", 3'000) <= 1'001);
  const int64_t output = estimator.Of(Shape(model, 300)).likely.output;
  CHECK(output >= 870);
  CHECK(output <= 990);  // p90 of 1..1000, within a bucket
  // What is not known yet goes by all that is.
  CHECK(estimator.InputTokens("other", 3'000) >= 995);
  for (int i = 0; i < 100; ++i) {
    CallShape shape = Shape(other, 1'000);
    shape.route = "short";
    estimator.Learn(shape, {.input = 500, .output = 10});
  }
  CHECK(estimator.InputTokens("other", 1'000) >= 490);
  CallShape shape = Shape(other, 1'000);
  shape.route = "short";
  CHECK(estimator.Of(shape).likely.output == 10);
  CHECK(estimator.InputTokens("m", 3'000) <= 1'001);
}

TEST_CASE("the length follows a change, and odd figures teach nothing absurd") {
  Estimator estimator;
  const ModelSpec model = Model();
  for (int i = 0; i < 5'000; ++i) estimator.Learn(Shape(model, 100), {.input = 25, .output = 8});
  for (int i = 0; i < 5'000; ++i) estimator.Learn(Shape(model, 100), {.input = 25, .output = 500});
  CHECK(estimator.Of(Shape(model, 100)).likely.output >= 500);
  estimator.Learn(Shape(model, 0), {.input = INT64_MAX, .output = INT64_MAX});
  estimator.Learn(Shape(model, -5), {.input = -1, .output = -1});
  CallShape media = Shape(model, 1'000'000);
  media.media_parts = 1;
  media.media_bytes = 999'900;
  estimator.Learn(media, {.input = 1'500, .output = 500});
  CHECK(estimator.InputTokens("m", 100) == 25);
  CHECK(estimator.Of(media).likely.input == 25 + 1'000);
}

TEST_CASE("bounds are above every way the provider may bill") {
  PriceTable table;
  table.standard.base = {.input = 1'000'000'000,
                         .output = 2'000'000'000,
                         .cached_input = 100'000'000,
                         .cache_write_5m = 1'250'000'000,
                         .cache_write_1h = 2'000'000'000,
                         .reasoning = 2'000'000'000,
                         .audio_input = 3'000'000'000,
                         .audio_output = 9'000'000'000,
                         .request = 777};
  Rates longer = table.standard.base;
  longer.input *= 2;
  longer.audio_input *= 2;
  table.standard.above.emplace_back(1'000, longer);
  RateSteps priority = table.standard;
  priority.base.output = 20'000'000'000;
  priority.above.clear();
  table.tiers.emplace_back("priority", priority);
  ModelSpec model = Model();
  model.price = std::make_shared<const PriceTable>(table);

  std::mt19937 random(11);
  const Estimator estimator;
  const auto draw = [&random](int64_t most) {
    return std::uniform_int_distribution<int64_t>(0, most)(random);
  };
  for (int i = 0; i < 20'000; ++i) {
    CallShape shape = Shape(model, draw(4'000), 1 + draw(500));
    shape.choices = 1 + draw(3);
    shape.messages = draw(5);
    shape.media_parts = draw(10) == 0 ? 1 : 0;
    const std::string_view tiers[] = {"", "auto", "default", "priority"};
    shape.service_tier = tiers[draw(3)];
    const int64_t input_most =
        shape.body_bytes + 512 + shape.messages * 16 + shape.media_parts * 50'000;
    TokenUsage usage{.input = draw(input_most)};
    usage.cached_input = draw(usage.input);
    usage.cache_write_1h = draw(usage.input - usage.cached_input);
    usage.audio_input = draw(usage.input - usage.cached_input - usage.cache_write_1h);
    const Nanos amount = draw(1) == 0 ? Estimator::CostBound(shape, Estimator::OutputBound(shape))
                                      : draw(20'000'000);
    const int64_t most = Estimator::AffordableMax(shape, amount);
    REQUIRE(most <= Estimator::OutputBound(shape));
    // Affordable even when the input comes to its bound, at whatever tier may be billed.
    if (most > 0) {
      usage.output = draw(most * shape.choices);
      usage.reasoning = draw(usage.output);
      usage.audio_output = draw(usage.output - usage.reasoning);
      const bool any = shape.service_tier.empty() || shape.service_tier == "auto";
      REQUIRE(CostOf(usage, model.price, "") <= amount);
      if (any || shape.service_tier == "priority")
        REQUIRE(CostOf(usage, model.price, "priority") <= amount);
    }
    const Estimate estimate = estimator.Of(shape);
    REQUIRE(estimate.ask.quantile <= estimate.ask.upper_bound);
    REQUIRE(estimate.ask.least <= estimate.ask.upper_bound);
    REQUIRE(estimate.ask.least > 0);
    REQUIRE(Estimator::AffordableMax(shape, estimate.ask.least) >=
            std::min<int64_t>(16, Estimator::OutputBound(shape)));
    REQUIRE(Estimator::AffordableMax(shape, estimate.ask.upper_bound) ==
            Estimator::OutputBound(shape));
  }
}

TEST_CASE("a completion of many prompts is bounded by all its answers") {
  ModelSpec model = Model();
  PriceTable table;
  table.standard.base = {.output = 1'000'000'000};  // 1,000 nano-dollars a token
  model.price = std::make_shared<const PriceTable>(table);
  CallShape shape = Shape(model, 1'000, 50);
  shape.choices = 400;  // 100 prompts, n = 4
  CHECK(Estimator::CostBound(shape, 50) == 400 * 50 * 1'000);
  CHECK(Estimator::AffordableMax(shape, 400 * 20 * 1'000) == 20);
  CHECK(Estimator().Of(shape).likely.output == 400 * 50);
  shape.choices = INT64_MAX;
  CHECK(Estimator().Of(shape).likely.output > 0);
  CHECK(Estimator::CostBound(shape, 50) > 0);
}

TEST_CASE("no price and no output cost nothing to bound") {
  ModelSpec free = Model();
  free.price = nullptr;
  CHECK(Estimator::CostBound(Shape(free, 1'000), 1'000) == 0);
  CHECK(Estimator::AffordableMax(Shape(free, 1'000, 70), 0) == 70);
  const ModelSpec model = Model();
  CallShape embeddings = Shape(model, 1'000);
  embeddings.makes_output = false;
  const Estimator estimator;
  CHECK(estimator.Of(embeddings).likely.output == 0);
  CHECK(Estimator::OutputBound(embeddings) == 0);
  CHECK(estimator.Of(embeddings).ask.upper_bound == (1'000 + 512 + 16) * 1'000);
  CHECK(Estimator::CostBound(Shape(model, INT64_MAX), INT64_MAX) > 0);
}

TEST_CASE("threads may teach and ask at once, with more names than there is room for") {
  Estimator estimator;
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&estimator, t] {
      for (int i = 0; i < 2'000; ++i) {
        ModelSpec model = Model();
        model.name = "model-" + std::to_string((i * 4 + t) % 3'000);
        const std::string route = "route-" + std::to_string(i % 3'000);
        CallShape shape = Shape(model, 400);
        shape.route = route;
        estimator.Learn(shape, {.input = 100, .output = 20});
        (void)estimator.Of(shape);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(estimator.InputTokens("never seen", 400) == 100);
}

}  // namespace
}  // namespace spillway
