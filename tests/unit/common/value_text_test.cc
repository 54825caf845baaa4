#include <catch2/catch_all.hpp>
#include <random>

#include "common/settings.h"

namespace spillway {

TEST_CASE("durations") {
  struct Row {
    std::string input;
    std::optional<int64_t> want;
  };
  const auto row = GENERATE(values<Row>({
      {"500ms", 500},
      {"10s", 10'000},
      {"10m", 600'000},
      {"2h", 7'200'000},
      {"0s", 0},
      {"", {}},
      {"10", {}},
      {"s", {}},
      {"-1s", {}},
      {"+1s", {}},
      {"1.5s", {}},
      {"10 s", {}},
      {"10S", {}},
      {"1d", {}},
      {"9223372036854775807h", {}},
      {"99999999999999999999s", {}},
  }));
  CAPTURE(row.input);
  const auto result = ParseDurationMs(row.input);
  CHECK((result ? std::optional(*result) : std::nullopt) == row.want);
}

TEST_CASE("sizes") {
  struct Row {
    std::string input;
    std::optional<int64_t> want;
  };
  const auto row = GENERATE(values<Row>({{"0", 0},
                                         {"1000", 1000},
                                         {"7B", 7},
                                         {"64KiB", 65'536},
                                         {"32MiB", 33'554'432},
                                         {"1GiB", 1'073'741'824},
                                         {"64KB", {}},
                                         {"64k", {}},
                                         {"-1", {}},
                                         {"", {}},
                                         {"KiB", {}},
                                         {"9223372036854775807KiB", {}}}));
  CAPTURE(row.input);
  const auto result = ParseBytes(row.input);
  CHECK((result ? std::optional(*result) : std::nullopt) == row.want);
}

TEST_CASE("durations and sizes are shown shortest and read back to the same") {
  CHECK(FormatDurationMs(90'000) == "90s");
  CHECK(FormatDurationMs(7'200'000) == "2h");
  CHECK(FormatDurationMs(0) == "0ms");
  CHECK(FormatDurationMs(1'001) == "1001ms");
  CHECK(FormatBytes(65'536) == "64KiB");
  CHECK(FormatBytes(1'000) == "1000B");
  std::mt19937_64 random(9);
  for (int i = 0; i < 1'000; ++i) {
    const auto value = static_cast<int64_t>(random() >> (1 + random() % 63));
    REQUIRE(ParseDurationMs(FormatDurationMs(value)) == value);
    REQUIRE(ParseBytes(FormatBytes(value)) == value);
  }
}

TEST_CASE("addresses to listen on") {
  struct Row {
    std::string input;
    std::string host;
    int port;  // -1: refused
  };
  const auto row = GENERATE(values<Row>({{"127.0.0.1:8080", "127.0.0.1", 8080},
                                         {"[::1]:0", "::1", 0},
                                         {"localhost:65535", "localhost", 65535},
                                         {"127.0.0.1", "", -1},
                                         {":8080", "", -1},
                                         {"a:", "", -1},
                                         {"a:65536", "", -1},
                                         {"a:-1", "", -1},
                                         {"a:80x", "", -1},
                                         {"::1:80", "", -1},
                                         {"[]:80", "", -1},
                                         {"[::1]80", "", -1},
                                         {"", "", -1}}));
  CAPTURE(row.input);
  const auto result = ParseHostPort(row.input);
  REQUIRE(result.has_value() == (row.port >= 0));
  if (!result) return;
  CHECK(result->host == row.host);
  CHECK(result->port == row.port);
}

}  // namespace spillway
