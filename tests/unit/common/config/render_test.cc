#include <google/protobuf/util/message_differencer.h>

#include <catch2/catch_all.hpp>

#include "common/config/load.h"
#include "common/config/resource.h"
#include "common/config/validate.h"
#include "tests/unit/common/config/config_samples.h"

namespace spillway::config {
namespace {

using google::protobuf::util::MessageDifferencer;

void CheckRoundTrip(const std::vector<v1::Resource>& resources, bool standalone = false) {
  const std::string yaml = RenderYaml(resources);
  CAPTURE(yaml);
  const LoadResult again = LoadYaml(yaml, "rendered.yaml", {.standalone = standalone});
  CAPTURE(Describe(again.violations));
  REQUIRE(again.violations.empty());
  REQUIRE(again.config.resources.size() == resources.size());
  for (size_t i = 0; i < resources.size(); ++i) {
    CAPTURE(NameOf(resources[i]));
    CHECK(MessageDifferencer::Equals(Redacted(again.config.resources[i]), Redacted(resources[i])));
  }
  CHECK(RenderYaml(again.config.resources) == yaml);
}

}  // namespace

TEST_CASE("every field survives being written and read") {
  const LoadResult loaded = LoadText(kFullSample);
  REQUIRE(loaded.violations.empty());
  CheckRoundTrip(loaded.config.resources);
}

TEST_CASE("the written form is what a person would write") {
  const LoadResult loaded = LoadText(
      "models: [{name: gpt-5, provider: openai, price: {input: 0.250, output: 2.0}}]\n"
      "keys: [{name: bot, routes: [a, \"0\"], expires: 2027-01-01}]");
  CHECK(RenderYaml(loaded.config.resources) ==
        "models:\n"
        "  - name: gpt-5\n"
        "    provider: openai\n"
        "    price:\n"
        "      input: 0.25\n"
        "      output: 2\n"
        "keys:\n"
        "  - name: bot\n"
        "    routes: [a, \"0\"]\n"
        "    expires: 2027-01-01\n");
}

TEST_CASE("no secret is written") {
  LoadResult loaded = LoadText(kFullSample);
  const std::string yaml = RenderYaml(loaded.config.resources);
  CHECK(yaml.contains("api_key: \"${env:OPENAI_API_KEY}\""));
  CHECK_FALSE(yaml.contains("sk-from-env"));
  CHECK_FALSE(yaml.contains("sk-literal"));
  CHECK(yaml.contains("url: \"${env:ALERT_URL}\""));
  for (const char* secret : {"t0ken", "literal-secret", "hooks.example"}) {
    CAPTURE(secret);
    CHECK_FALSE(yaml.contains(secret));
  }
}

TEST_CASE("a stored secret that came from elsewhere does not become its own description") {
  v1::Resource resource;
  v1::Provider& provider = *resource.mutable_provider();
  provider.set_name("p");
  provider.set_dialect(v1::DIALECT_OPENAI);
  provider.set_base_url("https://a.example");
  provider.add_credentials()->set_name("c");
  provider.mutable_credentials(0)->mutable_api_key()->set_reference("set by ann on 2026-11-21");
  CheckRoundTrip({resource});
}

TEST_CASE("texts that look like something else are quoted") {
  const auto text = GENERATE(values<std::string>({"true",
                                                  "No",
                                                  "null",
                                                  "~",
                                                  "0",
                                                  "1e3",
                                                  "2027-01-01",
                                                  "- a",
                                                  "a: b",
                                                  "a #b",
                                                  "{x}",
                                                  "[x]",
                                                  "*a",
                                                  "&a",
                                                  "!a",
                                                  "%a",
                                                  "@a",
                                                  "`a",
                                                  "|",
                                                  ">",
                                                  "'q'",
                                                  "\"q\"",
                                                  "a\\b",
                                                  " a",
                                                  "a ",
                                                  "\xC3\xA9",
                                                  "a,b",
                                                  "?",
                                                  ":",
                                                  "a:",
                                                  "<<",
                                                  "${env:X}",
                                                  "\xE2\x80\xA8",
                                                  "y",
                                                  "\xF0\x9F\x98\x80"}));
  CAPTURE(text);
  v1::Resource resource;
  resource.mutable_key()->set_name("k");
  resource.mutable_key()->set_declared(true);
  resource.mutable_key()->set_feature(text);
  CheckRoundTrip({resource});
}

TEST_CASE("budgets, limits and prices are written as a person would") {
  const LoadResult loaded = LoadText(
      "budgets: [{name: b, scope: {each: user}, limit_usd: 5.50, window: 24h, alerts: [50, 80], "
      "on_exhausted: {downgrade: cheap}}, {name: all, scope: {}, limit_usd: 1, window: day}]\n"
      "rate_limits: [{name: r, scope: {team: t}, requests: 5, per: minute}]\n"
      "price_books: [{name: p, unknown: allow, models: {\"a b\": {input: 1, tiers: {flex: "
      "{percent: 50}}}}}]");
  REQUIRE(loaded.violations.empty());
  CHECK(RenderYaml(loaded.config.resources) ==
        "budgets:\n"
        "  - name: b\n"
        "    scope:\n"
        "      each: user\n"
        "    limit_usd: 5.5\n"
        "    window: 24h\n"
        "    alerts: [50, 80]\n"
        "    on_exhausted:\n"
        "      downgrade: cheap\n"
        "  - name: all\n"
        "    scope: {}\n"
        "    limit_usd: 1\n"
        "    window: day\n"
        "rate_limits:\n"
        "  - name: r\n"
        "    scope:\n"
        "      team: t\n"
        "    requests: 5\n"
        "    per: minute\n"
        "price_books:\n"
        "  - name: p\n"
        "    unknown: allow\n"
        "    models:\n"
        "      \"a b\":\n"
        "        input: 1\n"
        "        tiers:\n"
        "          flex:\n"
        "            percent: 50\n");
}

TEST_CASE("what the catalogue filled in is not written") {
  v1::Resource resource;
  v1::Model& model = *resource.mutable_model();
  model.set_name("m");
  model.set_output_tokens_max(4096);
  model.mutable_resolved_price()->set_output_tokens_max(4096);
  model.mutable_resolved_price()->mutable_price()->set_input(1);
  CHECK(RenderYaml({resource}) == "models:\n  - name: m\n");
  model.set_output_tokens_max(100);
  CHECK(RenderYaml({resource}).contains("output_tokens_max: 100"));
}

TEST_CASE("standalone keys show their reference") {
  const LoadResult loaded = LoadText("keys: [{name: a, secret: \"${env:CLIENT_KEY}\"}]", true);
  CHECK(RenderYaml(loaded.config.resources) ==
        "keys:\n  - name: a\n    secret: \"${env:CLIENT_KEY}\"\n");
}

TEST_CASE("nothing is written as nothing") { CHECK(RenderYaml({}).empty()); }

}  // namespace spillway::config
