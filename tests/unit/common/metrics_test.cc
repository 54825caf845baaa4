#include "common/metrics.h"

#include <catch2/catch_all.hpp>
#include <limits>

namespace spillway {

TEST_CASE("a family in Prometheus' text format") {
  MetricsText text;
  text.Family("spillway_requests_total", "counter", "Requests \\ by\nroute");
  text.Sample("spillway_requests_total", {{"route", "a\"b\\c\nd"}, {"status", "200"}}, int64_t{7});
  text.Sample("spillway_seconds", {}, 0.25);
  text.Sample("spillway_streams", {}, 3);
  const std::string out = std::move(text).Take();
  CHECK(out ==
        "# HELP spillway_requests_total Requests \\\\ by\\nroute\n"
        "# TYPE spillway_requests_total counter\n"
        "spillway_requests_total{route=\"a\\\"b\\\\c\\nd\",status=\"200\"} 7\n"
        "spillway_seconds 0.25\n"
        "spillway_streams 3\n");
}

TEST_CASE("integers stay exact and odd numbers have their names") {
  MetricsText text;
  text.Sample("big", {}, std::numeric_limits<int64_t>::max());
  text.Sample("inf", {}, std::numeric_limits<double>::infinity());
  text.Sample("minus", {}, -std::numeric_limits<double>::infinity());
  text.Sample("nan", {}, std::numeric_limits<double>::quiet_NaN());
  const std::string out = std::move(text).Take();
  CHECK(out == "big 9223372036854775807\ninf +Inf\nminus -Inf\nnan NaN\n");
}

TEST_CASE("a scrape asks every source, in their order") {
  MetricsRegistry registry;
  int scrapes = 0;
  registry.Add([](MetricsText& out) { out.Sample("a", {}, 1); });
  registry.Add([&](MetricsText& out) { out.Sample("scrapes", {}, ++scrapes); });
  CHECK(registry.Scrape() == "a 1\nscrapes 1\n");
  CHECK(registry.Scrape() == "a 1\nscrapes 2\n");
}

}  // namespace spillway
