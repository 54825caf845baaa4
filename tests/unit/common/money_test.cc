#include "common/money.h"

#include <catch2/catch_all.hpp>
#include <limits>
#include <random>

namespace spillway {
namespace {

constexpr Nanos kUsd = 1'000'000'000;
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

Price PriceOf(Nanos input, Nanos output, Nanos cached) {
  return {.input = input, .output = output, .cached_input = cached, .known = true};
}

}  // namespace

TEST_CASE("the cost of an attempt") {
  struct Row {
    std::string name;
    TokenUsage usage;
    Price price;
    Nanos want;
  };
  const auto row = GENERATE(values<Row>({
      {"nothing", {}, PriceOf(kUsd, kUsd, kUsd), 0},
      {"a million input tokens cost the price",
       {.input = 1'000'000},
       PriceOf(kUsd / 4, 0, 0),
       kUsd / 4},
      {"input and output",
       {.input = 1000, .output = 500},
       PriceOf(250'000'000, 2 * kUsd, 0),
       1'250'000},
      {"cached is part of input",
       {.input = 1000, .cached_input = 400},
       PriceOf(250'000'000, 0, 25'000'000),
       160'000},
      {"reasoning is part of output", {.output = 10, .reasoning = 9}, PriceOf(0, kUsd, 0), 10'000},
      {"cached above input is clamped",
       {.input = 10, .cached_input = 99},
       PriceOf(kUsd, 0, kUsd / 10),
       1'000},
      {"negative counts are nothing",
       {.input = -5, .output = -1, .cached_input = -9},
       PriceOf(kUsd, kUsd, kUsd),
       0},
      {"half a nano rounds up", {.input = 1}, PriceOf(500'000, 0, 0), 1},
      {"below half rounds down", {.input = 1}, PriceOf(499'999, 0, 0), 0},
      {"rounded once, not per part", {.input = 1, .output = 1}, PriceOf(250'000, 250'000, 0), 1},
      {"saturates", {.input = kMax, .output = kMax}, PriceOf(kMax, kMax, kMax), kMax},
      {"saturates just above", {.input = 1'000'001}, PriceOf(kMax, 0, 0), kMax},
      {"the largest exact one", {.input = 1'000'000}, PriceOf(kMax, 0, 0), kMax},
      {"negative prices are nothing", {.input = 1'000'000}, PriceOf(-kUsd, 0, 0), 0},
  }));
  CAPTURE(row.name);
  CHECK(CostOf(row.usage, row.price) == row.want);
}

TEST_CASE("costs agree with a sum in long arithmetic") {
  std::mt19937_64 random(7);
  const auto below = [&](int64_t bound) {
    return static_cast<int64_t>(random() % static_cast<uint64_t>(bound));
  };
  for (int i = 0; i < 10'000; ++i) {
    const TokenUsage usage{
        .input = below(5'000'000), .output = below(500'000), .cached_input = below(6'000'000)};
    const Price price = PriceOf(below(100 * kUsd), below(300 * kUsd), below(10 * kUsd));
    const int64_t cached = std::min(usage.cached_input, usage.input);
    // Whole millions and the rest apart: no product leaves 64 bits.
    __int128 sum = 0;
    for (const auto& [tokens, nanos] :
         {std::pair{usage.input - cached, price.input}, std::pair{cached, price.cached_input},
          std::pair{usage.output, price.output}}) {
      sum += static_cast<__int128>(tokens / 1000) * nanos * 1000;
      sum += static_cast<__int128>(tokens % 1000) * nanos;
    }
    const Nanos cost = CostOf(usage, price);
    const __int128 twice_error = 2 * (static_cast<__int128>(cost) * 1'000'000 - sum);
    REQUIRE(twice_error <= 1'000'000);  // at most half a nano up, reached only by a tie
    REQUIRE(twice_error > -1'000'000);
  }
}

TEST_CASE("more tokens never cost less") {
  std::mt19937_64 random(11);
  for (int i = 0; i < 10'000; ++i) {
    TokenUsage usage{.input = static_cast<int64_t>(random() >> 1),
                     .output = static_cast<int64_t>(random() >> (random() % 63 + 1))};
    const Price price = PriceOf(static_cast<Nanos>(random() >> (random() % 63 + 1)),
                                static_cast<Nanos>(random() >> (random() % 63 + 1)), 0);
    const Nanos before = CostOf(usage, price);
    REQUIRE(before >= 0);
    if (usage.output < kMax) ++usage.output;
    REQUIRE(CostOf(usage, price) >= before);
  }
}

TEST_CASE("USD texts are read exactly") {
  struct Row {
    std::string input;
    Nanos want;
  };
  const auto row = GENERATE(values<Row>({{"0", 0},
                                         {"0.25", 250'000'000},
                                         {"2.0", 2 * kUsd},
                                         {"3", 3 * kUsd},
                                         {"0.025", 25'000'000},
                                         {"0.000000001", 1},
                                         {"0.1", 100'000'000},
                                         {"9223372036.854775807", kMax}}));
  CAPTURE(row.input);
  CHECK(ParseUsd(row.input) == row.want);
}

TEST_CASE("other texts are no USD") {
  const auto text = GENERATE(values<std::string>({"",
                                                  ".",
                                                  "1.",
                                                  ".5",
                                                  "-1",
                                                  "+1",
                                                  "1e3",
                                                  "1E3",
                                                  "0x10",
                                                  "1,5",
                                                  " 1",
                                                  "1 ",
                                                  "1.0000000001",
                                                  "9223372036.854775808",
                                                  "99999999999",
                                                  "99999999999999999999999999",
                                                  "NaN",
                                                  "inf",
                                                  "1.2.3",
                                                  "$1",
                                                  "007",
                                                  "1_000",
                                                  std::string("1\0", 2),
                                                  "\xD9\xA3"}));
  CAPTURE(text);
  const auto result = ParseUsd(text);
  REQUIRE_FALSE(result);
  CHECK(result.error().message.starts_with("must be"));
}

TEST_CASE("money is shown exactly and shortest") {
  struct Row {
    Nanos input;
    std::string want;
  };
  const auto row =
      GENERATE(values<Row>({{0, "0"},
                            {1, "0.000000001"},
                            {1'500'000, "0.0015"},
                            {kUsd, "1"},
                            {10 * kUsd, "10"},
                            {-1'500'000, "-0.0015"},
                            {kMax, "9223372036.854775807"},
                            {std::numeric_limits<int64_t>::min(), "-9223372036.854775808"}}));
  CHECK(FormatUsd(row.input) == row.want);
}

TEST_CASE("USD that is shown is read back to the same") {
  std::mt19937_64 random(3);
  for (int i = 0; i < 10'000; ++i) {
    const auto nanos = static_cast<Nanos>(random() >> (1 + random() % 63));
    REQUIRE(ParseUsd(FormatUsd(nanos)) == nanos);
  }
}

}  // namespace spillway
