#include "common/utc.h"

#include <catch2/catch_all.hpp>
#include <limits>
#include <random>

namespace spillway {

TEST_CASE("times are shown in UTC") {
  struct Row {
    int64_t input;
    std::string want;
  };
  const auto row = GENERATE(values<Row>({
      {0, "1970-01-01T00:00:00.000Z"},
      {1, "1970-01-01T00:00:00.001Z"},
      {-1, "1969-12-31T23:59:59.999Z"},
      {1'798'761'600'000, "2027-01-01T00:00:00.000Z"},
      {951'782'400'000, "2000-02-29T00:00:00.000Z"},
      {std::numeric_limits<int64_t>::max(), "9999-12-31T23:59:59.999Z"},
      {std::numeric_limits<int64_t>::min(), "0000-01-01T00:00:00.000Z"},
  }));
  CHECK(FormatUtc(row.input) == row.want);
}

TEST_CASE("dates and times are read") {
  struct Row {
    std::string input;
    int64_t want;
  };
  const auto row = GENERATE(values<Row>({
      {"2027-01-01", 1'798'761'600'000},
      {"2027-01-01T00:00:00Z", 1'798'761'600'000},
      {"2027-01-01t00:00:00z", 1'798'761'600'000},
      {"2027-01-01 02:00:00+02:00", 1'798'761'600'000},
      {"2026-12-31T19:30:00-04:30", 1'798'761'600'000},
      {"2027-01-01T00:00:00.5Z", 1'798'761'600'500},
      {"2027-01-01T00:00:00.123456789Z", 1'798'761'600'123},
      {"2026-12-31T23:59:60Z", 1'798'761'600'000},
      {"2000-02-29", 951'782'400'000},
  }));
  CAPTURE(row.input);
  CHECK(ParseUtc(row.input) == row.want);
}

TEST_CASE("other texts are no times") {
  const auto text = GENERATE(values<std::string>(
      {"", "2027", "2027-1-1", "2027-13-01", "2027-00-01", "2027-02-29", "2027-01-32",
       "2027-01-01T", "2027-01-01T00:00:00", "2027-01-01T24:00:00Z", "2027-01-01T00:60:00Z",
       "2027-01-01T00:00Z", "2027-01-01T00:00:00.Z", "2027-01-01T00:00:00.1234567890Z",
       "2027-01-01T00:00:00+0200", "2027-01-01T00:00:00Z ", "20270101", "01/01/2027", "never"}));
  CAPTURE(text);
  CHECK_FALSE(ParseUtc(text));
}

TEST_CASE("a time that is shown is read back to the same") {
  std::mt19937_64 random(5);
  for (int i = 0; i < 10'000; ++i) {
    const auto ms = static_cast<int64_t>(random() % 253'402'300'800'000);
    REQUIRE(ParseUtc(FormatUtc(ms)) == ms);
  }
}

}  // namespace spillway
