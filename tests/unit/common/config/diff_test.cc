#include <catch2/catch_all.hpp>
#include <format>

#include "common/config/resource.h"
#include "tests/unit/common/config/config_samples.h"

namespace spillway::config {
namespace {

std::vector<std::string> Lines(const v1::Resource& before, const v1::Resource& after) {
  std::vector<std::string> lines;
  for (const v1::FieldChange& change : DiffFields(before, after))
    lines.push_back(std::format("{}: {} -> {}", change.field(), change.before(), change.after()));
  return lines;
}

v1::Resource One(std::string_view text) {
  LoadResult result = LoadText(text);
  REQUIRE(result.config.resources.size() == 1);
  return std::move(result.config.resources[0]);
}

using Want = std::vector<std::string>;

}  // namespace

TEST_CASE("the same differs in nothing") {
  for (const v1::Resource& resource : LoadText(kFullSample).config.resources)
    CHECK(DiffFields(resource, resource).empty());
}

TEST_CASE("fields that changed, came and went") {
  const v1::Resource before =
      One("models: [{name: m, provider: p, upstream_model: x, price: {input: 1, output: 2}}]");
  const v1::Resource after =
      One("models: [{name: m, provider: q, price: {input: 1.5, output: 2, cached_input: 0.1}}]");
  CHECK(Lines(before, after) == Want{"provider: p -> q", "price.input: 1 -> 1.5",
                                     "price.cached_input:  -> 0.1", "upstream_model: x -> "});
}

TEST_CASE("lists and maps of lists") {
  const v1::Resource before =
      One("routes: [{name: r, targets: [{model: a, timeout: 1s}, {model: b}], fallbacks: [c]}]");
  const v1::Resource after =
      One("routes: [{name: r, targets: [{model: a, timeout: 2s}], fallbacks: [c, d], retry: "
          "{attempts: 2}}]");
  CHECK(Lines(before, after) == Want{"targets[0].timeout: 1s -> 2s", "fallbacks: c -> c, d",
                                     "retry.attempts:  -> 2", "targets[1].model: b -> "});
}

TEST_CASE("a created resource shows all its fields") {
  CHECK(Lines(v1::Resource(), One("teams: [{name: t, organization: o}]")) ==
        Want{"name:  -> t", "organization:  -> o"});
}

TEST_CASE("secrets appear as references, and a new value behind the same one is told") {
  v1::Resource before =
      One("providers: [{name: p, credentials: [{name: c, api_key: \"${env:OPENAI_API_KEY}\"}]}]");
  v1::Resource after = before;
  after.mutable_provider()->mutable_credentials(0)->mutable_api_key()->set_plaintext("sk-other");
  CHECK(Lines(before, after) ==
        Want{"credentials[c].api_key: ${env:OPENAI_API_KEY} -> ${env:OPENAI_API_KEY} (new value)"});
  after.mutable_provider()->mutable_credentials(0)->mutable_api_key()->set_reference("${file:/k}");
  CHECK(Lines(before, after) ==
        Want{"credentials[0].api_key: ${env:OPENAI_API_KEY} -> ${file:/k}"});
}

TEST_CASE("a new value behind the reference of an alert sink is told, the value never") {
  const v1::Resource before =
      One("alert_sinks: [{name: s, kind: webhook, url: \"${env:ALERT_URL}\"}]");
  v1::Resource after = before;
  after.mutable_alert_sink()->mutable_url()->set_plaintext("https://other.example");
  CHECK(Lines(before, after) == Want{"url: ${env:ALERT_URL} -> ${env:ALERT_URL} (new value)"});
}

TEST_CASE("what follows from a price book shows in the difference") {
  const v1::Resource before = One("models: [{name: m, provider: p}]");
  v1::Resource after = before;
  v1::ResolvedPrice& resolved = *after.mutable_model()->mutable_resolved_price();
  resolved.set_source("price_book/house");
  resolved.mutable_price()->set_input(250'000'000);
  CHECK(Lines(before, after) ==
        Want{"resolved_price.source:  -> price_book/house", "resolved_price.input:  -> 0.25"});
}

TEST_CASE("tags, alerts and policies of a budget") {
  const v1::Resource before =
      One("budgets: [{name: b, scope: {tags: {a: x}}, limit_usd: 5, window: day, alerts: [50]}]");
  const v1::Resource after = One(
      "budgets: [{name: b, scope: {}, limit_usd: 6, window: 3h, alerts: [50, 80], frozen: true}]");
  CHECK(Lines(before, after) == Want{"scope:  -> {}", "limit_usd: 5 -> 6", "window: day -> 3h",
                                     "alerts: 50 -> 50, 80", "frozen:  -> true",
                                     "scope.tags.a: x -> "});
}

TEST_CASE("secrets of keys appear as public ids, digests never") {
  v1::Resource before;
  before.mutable_key()->set_name("k");
  before.mutable_key()->add_secrets()->set_sha256(std::string(32, 'd'));
  before.mutable_key()->mutable_secrets(0)->set_public_id("aaaaaaaaaaaa");
  v1::Resource after = before;
  after.mutable_key()->add_secrets()->set_public_id("bbbbbbbbbbbb");
  CHECK(Lines(before, after) == Want{"secrets: aaaaaaaaaaaa -> aaaaaaaaaaaa, bbbbbbbbbbbb"});
  after = before;
  after.mutable_key()->mutable_secrets(0)->set_sha256(std::string(32, 'e'));
  CHECK(Lines(before, after) == Want{"secrets: aaaaaaaaaaaa -> aaaaaaaaaaaa (new value)"});
}

}  // namespace spillway::config
