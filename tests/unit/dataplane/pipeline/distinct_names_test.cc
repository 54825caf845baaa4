#include "dataplane/pipeline/distinct_names.h"

#include <catch2/catch_all.hpp>
#include <string>
#include <thread>
#include <vector>

namespace spillway {
namespace {

using Kind = DistinctNames::Kind;

std::string Scrape(const DistinctNames& names) {
  MetricsText text;
  names.Append(text);
  return std::move(text).Take();
}

TEST_CASE("a team's names beyond its bound are attributed to (overflow), and counted") {
  ManualClock clock;
  DistinctNames names(clock, 2);
  CHECK(names.Admit("t", Kind::kUser, "", "u1") == "u1");
  CHECK(names.Admit("t", Kind::kUser, "", "u2") == "u2");
  CHECK(names.Admit("t", Kind::kUser, "", "u3") == "(overflow)");
  CHECK(names.Admit("t", Kind::kUser, "", "u1") == "u1");  // known today
  CHECK(names.overflowed(Kind::kUser) == 1);

  SECTION("other kinds and teams have room of their own") {
    CHECK(names.Admit("t", Kind::kFeature, "", "u3") == "u3");
    CHECK(names.Admit("other", Kind::kUser, "", "u3") == "u3");
    CHECK(names.Admit("t", Kind::kTag, "a", "x") == "x");
    CHECK(names.Admit("t", Kind::kTag, "b", "x") == "x");
    CHECK(names.Admit("t", Kind::kTag, "c", "x") == "(overflow)");
  }
  SECTION("no name is no name, and the overflow's own is admitted") {
    CHECK(names.Admit("t", Kind::kUser, "", "").empty());
    CHECK(names.Admit("t", Kind::kUser, "", "(overflow)") == "(overflow)");
    CHECK(names.overflowed(Kind::kUser) == 1);
  }
  SECTION("a new day begins with room") {
    clock.AdvanceMs(24 * 3'600'000);
    CHECK(names.Admit("t", Kind::kUser, "", "u3") == "u3");
    CHECK(Scrape(names).find("spillway_attribution_names 1\n") != std::string::npos);
  }
  SECTION("operators see it") {
    const std::string text = Scrape(names);
    CAPTURE(text);
    CHECK(text.find("spillway_attribution_names 2\n") != std::string::npos);
    CHECK(text.find("spillway_attribution_overflow_total{kind=\"user\"} 1\n") != std::string::npos);
    CHECK(text.find("spillway_attribution_overflow_total{kind=\"tag\"} 0\n") != std::string::npos);
  }
}

TEST_CASE("the bound holds when every thread brings names of one team") {
  ManualClock clock;
  DistinctNames names(clock, 1'000);
  std::atomic<int64_t> admitted = 0;
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 1'000; ++i) {
        const std::string name = std::to_string(t) + "-" + std::to_string(i);
        admitted += names.Admit("t", Kind::kUser, "", name) == name ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(admitted == 1'000);
  CHECK(names.overflowed(Kind::kUser) == 3'000);
}

}  // namespace
}  // namespace spillway
