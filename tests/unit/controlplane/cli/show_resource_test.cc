#include "controlplane/cli/show_resource.h"

#include <catch2/catch_all.hpp>

#include "common/config/load.h"

namespace spillway::cli {
namespace {

constexpr int64_t kNowMs = 1'795'132'800'000;  // 2026-11-20

std::string Shown(v1::Kind kind, std::string_view yaml) {
  const config::LoadResult loaded = config::LoadYaml(yaml, "test.yaml", {});
  REQUIRE(loaded.violations.empty());
  return TableOf(kind, loaded.config.resources, kNowMs).Text();
}

}  // namespace

TEST_CASE("budgets as a table") {
  CHECK(Shown(v1::KIND_BUDGET, R"(
budgets:
  - {name: user-day, scope: {each: user}, limit_usd: 5, window: day, time_zone: Europe/Berlin}
  - {name: month, scope: {team: support, tags: {stage: prod}}, limit_usd: 500.5, window: month,
     on_exhausted: {downgrade: cheap}, on_partition: leased, frozen: true}
  - {name: all, scope: {}, limit_usd: 1, window: 24h, on_exhausted: warn, raise: {usd: 2, until: 2026-12-01}}
)") == "NAME      SCOPE                         LIMIT USD  WINDOW             ON EXHAUSTED        "
       "ON PARTITION  STATE\n"
       "user-day  each user                             5  day Europe/Berlin  reject              "
       "open          active\n"
       "month     team=support, tag:stage=prod      500.5  month              downgrade to cheap  "
       "leased        frozen\n"
       "all       everything                            1  last 24 h          warn                "
       "open          raised by 2 until 2026-12-01 00:00:00Z\n");
}

TEST_CASE("rate limits, alert sinks and price books as tables") {
  CHECK(
      Shown(
          v1::KIND_RATE_LIMIT,
          "rate_limits: [{name: a, scope: {each: key}, requests: 1000, tokens: 20000, token_kind: "
          "output, per: hour}, {name: b, scope: {}, concurrent: 9}]") ==
      "NAME  SCOPE       REQUESTS         TOKENS  CONCURRENT  PER\n"
      "a     each key       1,000  20,000 output           -  hour\n"
      "b     everything         -              -           9  -\n");
  CHECK(Shown(v1::KIND_ALERT_SINK,
              "alert_sinks: [{name: ops, kind: slack, url: \"${env:URL}\"}, {name: hook, kind: "
              "webhook, url: \"https://t0ken.example\", signing_secret: s3cret}]") ==
        "NAME  KIND     URL         SIGNED\n"
        "ops   slack    ${env:URL}  no\n"
        "hook  webhook  (literal)   yes\n");
  CHECK(Shown(v1::KIND_PRICE_BOOK,
              "price_books: [{name: a, dated: 2026-11-20, unknown: {default: {input: 1, output: "
              "2.5}}, models: {x: {input: 1}}}, {name: b}]") ==
        "NAME  DATED       MODELS  UNKNOWN MODELS\n"
        "a     2026-11-20       1  default: 1 in, 2.5 out\n"
        "b     -                0  -\n");
}

TEST_CASE("a model shows the price it is billed by and where it is from") {
  v1::Resource resource;
  resource.mutable_model()->set_name("m");
  resource.mutable_model()->mutable_resolved_price()->set_source("catalogue 2026-11-20");
  resource.mutable_model()->mutable_resolved_price()->mutable_price()->set_input(250'000'000);
  const std::string text = TableOf(v1::KIND_MODEL, {resource}, kNowMs).Text();
  CHECK(text.contains("0.25"));
  CHECK(text.contains("catalogue 2026-11-20"));
}

TEST_CASE("tags are a map in JSON, sorted") {
  v1::Scope scope;
  (*scope.mutable_tags())["b"] = "2";
  (*scope.mutable_tags())["a"] = "1";
  CHECK(ValueOf(scope).ToJson().contains("\"tags\": {\n    \"a\": \"1\",\n    \"b\": \"2\"\n  }"));
  CHECK(ValueOf(v1::Scope()).ToJson().contains("\"tags\": {}"));
}

}  // namespace spillway::cli
