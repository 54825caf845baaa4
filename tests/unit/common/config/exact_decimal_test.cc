#include "common/config/exact_decimal.h"

#include <catch2/catch_all.hpp>
#include <random>

#include "common/money.h"

namespace spillway::config {
namespace {

TEST_CASE("decimals are scaled exactly") {
  struct Row {
    std::string text;
    int power;
    int64_t want;
  };
  const auto row = GENERATE(values<Row>({
      {"0", 15, 0},
      {"0.0", 15, 0},
      {"-0", 15, 0},
      {"0e999999999999", 15, 0},
      {"2.5e-07", 15, 250'000'000},
      {"2.5E-7", 15, 250'000'000},
      {"0.00000025", 15, 250'000'000},
      {"2.500000000e-07", 15, 250'000'000},
      {"3.625e-09", 15, 3'625'000},
      {"1e-15", 15, 1},
      {"1", 15, 1'000'000'000'000'000},
      {"1e+0", 0, 1},
      {"0.25", 9, 250'000'000},
      {"1e3", 0, 1000},
      {"9223372036854775807", 0, 9'223'372'036'854'775'807},
      {"922337203685477580.70e1", 0, 9'223'372'036'854'775'807},
      {"128000", 0, 128'000},
      {"128000.0", 0, 128'000},
  }));
  CAPTURE(row.text);
  CHECK(ScaledExactly(row.text, row.power) == row.want);
}

TEST_CASE("what is not exact, not positive or no number is refused and said") {
  struct Row {
    std::string text;
    std::string want;
  };
  const auto row = GENERATE(values<Row>({
      {"1e-16", "is too fine to be exact"},
      {"8.333333333333334e-08", "is too fine to be exact"},
      {"1e-999999999999999999999", "is too fine to be exact"},
      {"-1", "is negative"},
      {"-1e-20", "is negative"},
      {"1e5", "is too large"},
      {"1e999999999999999999999", "is too large"},
      {"9223.372036854775808", "is too large"},
      {"", "is no number"},
      {"-", "is no number"},
      {".5", "is no number"},
      {"5.", "is no number"},
      {"1e", "is no number"},
      {"1e-", "is no number"},
      {"1e+-5", "is no number"},
      {"1 ", "is no number"},
      {"0x10", "is no number"},
      {"nan", "is no number"},
      {"1e5x", "is no number"},
      {std::string(2000, '1'), "is no number"},
  }));
  CAPTURE(row.text);
  const auto value = ScaledExactly(row.text, 15);
  REQUIRE_FALSE(value);
  CHECK(value.error().message == row.want);
}

TEST_CASE("every price that is shown is read back to the same") {
  std::mt19937_64 random(Catch::getSeed());
  CAPTURE(Catch::getSeed());
  for (int i = 0; i < 10'000; ++i) {
    const auto nanos = static_cast<int64_t>(random() >> (1 + random() % 63));
    REQUIRE(ScaledExactly(FormatUsd(nanos), 9) == nanos);
    REQUIRE(ScaledExactly(std::to_string(nanos) + "e-15", 15) == nanos);
  }
}

}  // namespace
}  // namespace spillway::config
