#include "common/money.h"

#include <catch2/catch_all.hpp>
#include <limits>
#include <random>

namespace spillway {
namespace {

constexpr Nanos kUsd = 1'000'000'000;
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kMin = std::numeric_limits<int64_t>::min();

// Each kind of token at a rate of its own.
constexpr Rates kDistinct{.input = 1 * kUsd,
                          .output = 10 * kUsd,
                          .cached_input = kUsd / 10,
                          .cache_write_5m = kUsd * 5 / 4,
                          .cache_write_1h = 2 * kUsd,
                          .reasoning = 12 * kUsd,
                          .audio_input = 4 * kUsd,
                          .audio_output = 20 * kUsd,
                          .image = 40'000'000,
                          .request = 5'000'000};

Price PriceOf(PriceTable table) { return std::make_shared<const PriceTable>(std::move(table)); }
Price PriceOf(const Rates& rates) { return PriceOf(PriceTable{.standard = {.base = rates}}); }

struct Row {
  std::string name;
  TokenUsage usage;
  Price price;
  Nanos want;
};

}  // namespace

TEST_CASE("the cost of an attempt") {
  const auto row = GENERATE(values<Row>({
      {"nothing", {}, SimplePrice(kUsd, kUsd, kUsd), 0},
      {"no price", {.input = kMax, .output = kMax}, nullptr, 0},
      {"a million input tokens cost the price",
       {.input = 1'000'000},
       SimplePrice(kUsd / 4, 0),
       kUsd / 4},
      {"input and output",
       {.input = 1000, .output = 500},
       SimplePrice(250'000'000, 2 * kUsd),
       1'250'000},
      {"cached is part of input",
       {.input = 1000, .cached_input = 400},
       SimplePrice(250'000'000, 0, 25'000'000),
       160'000},
      {"cached costs as input when nothing is said",
       {.input = 1000, .cached_input = 400},
       SimplePrice(250'000'000, 0),
       250'000},
      {"reasoning is part of output", {.output = 10, .reasoning = 9}, SimplePrice(0, kUsd), 10'000},
      {"cached above input is clamped",
       {.input = 10, .cached_input = 99},
       SimplePrice(kUsd, 0, kUsd / 10),
       1'000},
      {"negative counts are nothing",
       {.input = -5, .output = -1, .cached_input = -9},
       SimplePrice(kUsd, kUsd, kUsd),
       0},
      {"half a nano rounds up", {.input = 1}, SimplePrice(500'000, 0), 1},
      {"below half rounds down", {.input = 1}, SimplePrice(499'999, 0), 0},
      {"rounded once, not per part", {.input = 1, .output = 1}, SimplePrice(250'000, 250'000), 1},
      {"saturates", {.input = kMax, .output = kMax}, SimplePrice(kMax, kMax, kMax), kMax},
      {"saturates just above", {.input = 1'000'001}, SimplePrice(kMax, 0), kMax},
      {"the largest exact one", {.input = 1'000'000}, SimplePrice(kMax, 0), kMax},
      {"negative prices are nothing", {.input = 1'000'000}, SimplePrice(-kUsd, 0), 0},
  }));
  CAPTURE(row.name);
  CHECK(CostOf(row.usage, row.price) == row.want);
}

TEST_CASE("every kind of token has its rate, and parts never exceed their whole") {
  constexpr Nanos kCall = 5'000'000;  // the request itself
  const auto row = GENERATE(values<Row>({
      {"the call alone", {}, PriceOf(kDistinct), kCall},
      {"one of each",
       {.input = 5,
        .output = 3,
        .cached_input = 1,
        .reasoning = 1,
        .cache_write_5m = 1,
        .cache_write_1h = 1,
        .audio_input = 1,
        .audio_output = 1},
       PriceOf(kDistinct),
       kCall + 100 + 1250 + 2000 + 4000 + 1000 + 12'000 + 20'000 + 10'000},
      {"images are whole", {.images = 3}, PriceOf(kDistinct), kCall + 120'000'000},
      {"cached before all else",
       {.input = 10, .cached_input = 10, .cache_write_5m = 10, .cache_write_1h = 10},
       PriceOf(kDistinct),
       kCall + 1000},
      {"then writes for an hour",
       {.input = 10, .cache_write_5m = 10, .cache_write_1h = 7},
       PriceOf(kDistinct),
       kCall + int64_t{7} * 2000 + int64_t{3} * 1250},
      {"then writes for five minutes, then audio",
       {.input = 10, .cache_write_5m = 8, .audio_input = 8},
       PriceOf(kDistinct),
       kCall + int64_t{8} * 1250 + int64_t{2} * 4000},
      {"reasoning before audio",
       {.output = 10, .reasoning = 9, .audio_output = 9},
       PriceOf(kDistinct),
       kCall + int64_t{9} * 12'000 + 20'000},
      {"negative parts are nothing",
       {.input = 2,
        .output = 1,
        .cached_input = -1,
        .reasoning = kMin,
        .cache_write_5m = -1,
        .cache_write_1h = kMin,
        .audio_input = -7,
        .audio_output = -7,
        .images = -2},
       PriceOf(kDistinct),
       kCall + 2000 + 10'000},
  }));
  CAPTURE(row.name);
  CHECK(CostOf(row.usage, row.price) == row.want);
}

TEST_CASE("the input's length and the service tier choose the rates") {
  const Price price = PriceOf(PriceTable{
      .standard = {.base = {.input = kUsd},
                   .above = {{200, {.input = 2 * kUsd}}, {1000, {.input = 5 * kUsd}}}},
      .tiers = {{"flex", {.base = {.input = kUsd / 2}, .above = {{200, {.input = kUsd}}}}}}});
  struct Step {
    int64_t input;
    std::string tier;
    Nanos want;
  };
  const auto row = GENERATE(values<Step>({{200, "", 200'000},
                                          {201, "", 402'000},
                                          {1000, "", 2'000'000},
                                          {1001, "", 5'005'000},
                                          {200, "flex", 100'000},
                                          {201, "flex", 201'000},
                                          {1001, "flex", 1'001'000},
                                          {200, "standard", 200'000},
                                          {200, "FLEX", 200'000},
                                          {200, "batch", 200'000},
                                          {-1, "flex", 0}}));
  CAPTURE(row.input, row.tier);
  CHECK(CostOf({.input = row.input}, price, row.tier) == row.want);
}

namespace {

// Figures by hand, in base a million: dividing by a million drops the last digit.
class Figure {
 public:
  Figure() = default;
  explicit Figure(int64_t value) {
    for (; value > 0; value /= kBase) digits_.push_back(value % kBase);
  }
  void AddProduct(const Figure& a, const Figure& b) {
    for (size_t i = 0; i < a.digits_.size(); ++i) {
      for (size_t j = 0; j < b.digits_.size(); ++j) AddAt(i + j, a.digits_[i] * b.digits_[j]);
    }
  }
  // Rounded half up, and at most INT64_MAX.
  Nanos Millionth() const {
    Figure rounded = *this;
    rounded.AddAt(0, kBase / 2);
    __int128 value = 0;
    for (size_t i = rounded.digits_.size(); i-- > 1;) {
      value = value * kBase + rounded.digits_[i];
      if (value > kMax) return kMax;
    }
    return static_cast<Nanos>(value);
  }

 private:
  static constexpr int64_t kBase = 1'000'000;
  void AddAt(size_t place, int64_t value) {
    for (; value > 0; ++place) {
      if (digits_.size() <= place) digits_.resize(place + 1);
      value += digits_[place];
      digits_[place] = value % kBase;
      value /= kBase;
    }
  }
  std::vector<int64_t> digits_;
};

// The rule of the header, once more and plainly.
Nanos Reference(const TokenUsage& usage, const Rates& rates) {
  const auto plain = [](int64_t value) { return std::max<int64_t>(value, 0); };
  Figure sum;
  const auto add = [&](int64_t count, int64_t rate) {
    sum.AddProduct(Figure(plain(count)), Figure(plain(rate)));
  };
  const auto split = [&](int64_t whole, const std::vector<std::pair<int64_t, int64_t>>& parts,
                         int64_t rate) {
    int64_t left = plain(whole);
    for (const auto& [count, part_rate] : parts) {
      const int64_t part = plain(count) < left ? plain(count) : left;
      add(part, part_rate);
      left -= part;
    }
    add(left, rate);
  };
  split(usage.input,
        {{usage.cached_input, rates.cached_input},
         {usage.cache_write_1h, rates.cache_write_1h},
         {usage.cache_write_5m, rates.cache_write_5m},
         {usage.audio_input, rates.audio_input}},
        rates.input);
  split(usage.output,
        {{usage.reasoning, rates.reasoning}, {usage.audio_output, rates.audio_output}},
        rates.output);
  // Whole nano-dollars, in millionths like the rest.
  add(1'000'000, rates.request);
  Figure images;
  images.AddProduct(Figure(plain(usage.images)), Figure(plain(rates.image)));
  sum.AddProduct(images, Figure(1'000'000));
  return sum.Millionth();
}

// Counts and rates of every size, some of them nonsense. The seed is printed with the test run.
class Random {
 public:
  Random() : random_(Catch::getSeed()) {}

  int64_t Any() {
    if (random_() % 16 == 0) return random_() % 2 == 0 ? kMax : kMin;
    const auto value = static_cast<int64_t>(random_() >> (1 + random_() % 63));
    return random_() % 16 == 0 ? -value : value;
  }
  int64_t Below(int64_t bound) {
    return static_cast<int64_t>(random_() % static_cast<uint64_t>(bound));
  }
  template <typename Get>
  static TokenUsage UsageOf(Get get) {
    return {.input = get(),
            .output = get(),
            .cached_input = get(),
            .reasoning = get(),
            .cache_write_5m = get(),
            .cache_write_1h = get(),
            .audio_input = get(),
            .audio_output = get(),
            .images = get()};
  }
  template <typename Get>
  static Rates RatesOf(Get get) {
    return {.input = get(),
            .output = get(),
            .cached_input = get(),
            .cache_write_5m = get(),
            .cache_write_1h = get(),
            .reasoning = get(),
            .audio_input = get(),
            .audio_output = get(),
            .image = get(),
            .request = get()};
  }
  TokenUsage UsualUsage() {
    TokenUsage usage = UsageOf([this] { return Below(3) == 0 ? 0 : Below(400'000); });
    usage.input += Below(1'000'000);
    usage.images = Below(3);
    return usage;
  }
  Rates UsualRates() {
    return RatesOf([this] { return Below(300 * kUsd); });
  }

 private:
  std::mt19937_64 random_;
};

constexpr int kRounds = 20'000;

}  // namespace

TEST_CASE("costs agree with figures worked out by hand") {
  Random random;
  CAPTURE(Catch::getSeed());
  for (int i = 0; i < kRounds; ++i) {
    const TokenUsage usual = random.UsualUsage();
    const Rates rates = random.UsualRates();
    REQUIRE(CostOf(usual, PriceOf(rates)) == Reference(usual, rates));
    const TokenUsage odd = Random::UsageOf([&] { return random.Any(); });
    const Rates odd_rates = Random::RatesOf([&] { return random.Any(); });
    REQUIRE(CostOf(odd, PriceOf(odd_rates)) == Reference(odd, odd_rates));
  }
}

TEST_CASE("more tokens, images and higher rates never cost less") {
  Random random;
  CAPTURE(Catch::getSeed());
  for (int i = 0; i < kRounds; ++i) {
    TokenUsage usage = Random::UsageOf([&] { return random.Any(); });
    Rates rates = Random::RatesOf([&] { return random.Any(); });
    const Nanos before = CostOf(usage, PriceOf(rates));
    REQUIRE(before >= 0);
    for (int64_t TokenUsage::* count :
         {&TokenUsage::input, &TokenUsage::output, &TokenUsage::images}) {
      TokenUsage more = usage;
      more.*count += more.*count < kMax ? 1 : 0;
      REQUIRE(CostOf(more, PriceOf(rates)) >= before);
    }
    Nanos Rates::* const rate = &Rates::cache_write_5m;
    rates.*rate += rates.*rate < kMax ? 1 : 0;
    REQUIRE(CostOf(usage, PriceOf(rates)) >= before);
  }
}

TEST_CASE("calls together cost what one call of all their tokens costs, but for rounding") {
  Random random;
  CAPTURE(Catch::getSeed());
  constexpr int kCalls = 8;
  for (int i = 0; i < kRounds / 10; ++i) {
    Rates rates = random.UsualRates();
    rates.request = 0;
    const Price price = PriceOf(rates);
    TokenUsage all;
    Nanos apart = 0;
    for (int call = 0; call < kCalls; ++call) {
      // Parts that fit their whole: what is clamped away in one call would count in the sum.
      TokenUsage usage = random.UsualUsage();
      usage.input +=
          usage.cached_input + usage.cache_write_5m + usage.cache_write_1h + usage.audio_input;
      usage.output += usage.reasoning + usage.audio_output;
      apart += CostOf(usage, price);
      for (int64_t TokenUsage::* count :
           {&TokenUsage::input, &TokenUsage::output, &TokenUsage::cached_input,
            &TokenUsage::reasoning, &TokenUsage::cache_write_5m, &TokenUsage::cache_write_1h,
            &TokenUsage::audio_input, &TokenUsage::audio_output, &TokenUsage::images}) {
        all.*count += usage.*count;
      }
    }
    const Nanos together = CostOf(all, price);
    REQUIRE(2 * std::abs(apart - together) <= kCalls + 1);
  }
}

// Hidden: run with [.benchmark]. The figures stand in money.h.
TEST_CASE("how long a cost takes", "[.benchmark]") {
  const Price price = PriceOf(kDistinct);
  BENCHMARK_ADVANCED("input and output")(Catch::Benchmark::Chronometer meter) {
    TokenUsage usage{.input = 1200, .output = 300};
    meter.measure([&](int i) {
      usage.input += i & 1;
      return CostOf(usage, price);
    });
  };
  BENCHMARK_ADVANCED("every kind, a tier")(Catch::Benchmark::Chronometer meter) {
    TokenUsage usage{1200, 300, 100, 50, 20, 20, 10, 10, 1};
    meter.measure([&](int i) {
      usage.input += i & 1;
      return CostOf(usage, price, "priority");
    });
  };
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
