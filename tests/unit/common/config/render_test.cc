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

TEST_CASE("standalone keys show their reference") {
  const LoadResult loaded = LoadText("keys: [{name: a, secret: \"${env:CLIENT_KEY}\"}]", true);
  CHECK(RenderYaml(loaded.config.resources) ==
        "keys:\n  - name: a\n    secret: \"${env:CLIENT_KEY}\"\n");
}

TEST_CASE("nothing is written as nothing") { CHECK(RenderYaml({}).empty()); }

}  // namespace spillway::config
