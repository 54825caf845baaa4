#include "controlplane/cli/time_text.h"

#include <catch2/catch_all.hpp>

namespace spillway::cli {
namespace {

constexpr int64_t kNow = 1'767'225'600'000;  // 2026-01-01
constexpr int64_t kHour = 3'600'000;
constexpr int64_t kDay = int64_t{24} * kHour;

TEST_CASE("moments as people write them") {
  struct Row {
    const char* text;
    int64_t want;
  };
  const auto row = GENERATE(values<Row>({{"24h", kNow - 24 * kHour},
                                         {"90m", kNow - kHour - kHour / 2},
                                         {"7d", kNow - 7 * kDay},
                                         {"2w", kNow - 14 * kDay},
                                         {"2026-01-01", kNow},
                                         {"2026-01-01T02:00:00+02:00", kNow}}));
  INFO(row.text);
  const auto moment = ParseMoment(row.text, kNow);
  REQUIRE(moment.has_value());
  CHECK(*moment == row.want);
}

TEST_CASE("what is no moment is refused as a usage error") {
  const auto text = GENERATE("", "yesterday", "24", "d", "-3h", "1.5h", "2026-13-01", "2026-01-01x",
                             "99999999999d", "5y");
  INFO(text);
  const auto moment = ParseMoment(text, kNow);
  REQUIRE_FALSE(moment.has_value());
  CHECK(moment.error().exit == kUsage);
}

TEST_CASE("an expiry lies ahead") {
  CHECK(*ParseExpiry("90d", kNow) == kNow + 90 * kDay);
  CHECK(*ParseExpiry("2026-01-01", 0) == kNow);
}

TEST_CASE("times for people") {
  CHECK(MomentText(kNow) == "2026-01-01 00:00:00Z");
  CHECK(MomentText(0) == "-");
  CHECK(SpanText(400) == "0.4 ms");
  CHECK(SpanText(12'300) == "12 ms");
  CHECK(SpanText(1'450'000) == "1.4 s");
  CHECK(SpanText(200'000'000) == "3 m 20 s");
  CHECK(AgoText(kNow - 3000, kNow) == "3 s ago");
  CHECK(AgoText(0, kNow) == "-");
}

}  // namespace
}  // namespace spillway::cli
