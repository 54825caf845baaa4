#include <catch2/catch_all.hpp>

#include "common/config/load.h"
#include "common/config/validate.h"
#include "tests/unit/common/config/config_samples.h"

namespace spillway::config {
namespace {

// A provider, a model or a key with one field replaced by `extra`.
std::string Provider(const std::string& extra) {
  return "providers:\n  - name: p\n    dialect: openai\n    base_url: https://a.example\n    " +
         extra + "\n";
}
std::string Model(const std::string& extra) {
  return "models:\n  - name: m\n    provider: p\n    " + extra + "\n";
}
std::string Key(const std::string& extra) { return "keys:\n  - name: k\n    " + extra + "\n"; }

struct Row {
  std::string name;
  std::string text;
  std::string want;  // the first violation, as far as it must agree
};

void CheckRow(const Row& row, bool standalone = false) {
  CAPTURE(row.name);
  const LoadResult result = LoadText(row.text, standalone);
  REQUIRE_FALSE(result.violations.empty());
  const std::string said = Describe(result.violations);
  CAPTURE(said);
  CHECK(said.contains(row.want));
}

}  // namespace

TEST_CASE("wrong shapes are refused with resource, field and line") {
  CheckRow(GENERATE(values<Row>({
      {"no map", "- a\n", "gateway.yaml: must be a map of sections"},
      {"a scalar", "hello\n", "gateway.yaml: must be a map of sections"},
      {"section no list", "models: {name: a}\n",
       "gateway.yaml models: must be a list (gateway.yaml:1)"},
      {"entry no map", "models: [a]\n", "models[0]: must be a map of fields (gateway.yaml:1)"},
      {"no name", "models: [{provider: p}]\n", "models[0] name: is required"},
      {"bad name", "models: [{name: \"a b\"}]\n", "models[0] name = a b: is required"},
      {"name no text", "models: [{name: [a]}]\n", "models[0] name: must be a single value"},
      {"no YAML", "models: [\n", "gateway.yaml: line 2: this is no YAML"},
      {"field given twice", Model("provider: q"), "model/m provider: must not be given twice"},
      {"null", Model("upstream_model:"), "model/m upstream_model: must be a single value"},
      {"control character", Model("upstream_model: \"a\\0b\""), "without control characters"},
      {"price no map", Model("price: 3"), "model/m price: must be a map of fields"},
      {"key of a map is a list", Model("? [a]\n    : b"), "field names must be plain texts"},
      {"routes no list", Key("routes: a"), "key/k routes: must be a list of texts"},
      {"routes of maps", Key("routes: [{a: b}]"), "key/k routes: must be a list of texts"},
      {"empty list means everything", Key("routes: []"),
       "key/k routes = []: must name at least one"},
      {"empty models", Key("models: []"), "key/k models = []: must name at least one"},
      {"twice in one file", "users: [{name: u}, {name: u}]", "user/u name: is declared twice"},
  })));
}

TEST_CASE("unknown fields are refused with what is known and a guess") {
  CheckRow(GENERATE(values<Row>({
      {"typo in a section", "model: []\n",
       "gateway.yaml model: this version does not know this field (did you mean models?)"},
      {"a later capability", "cache_policies: [{name: b}]\n",
       "it knows providers, models, routes, organizations, teams, users, keys, budgets, "
       "rate_limits, alert_sinks, price_books"},
      {"guardrails", "guardrails: []\n", "gateway.yaml guardrails: this version does not know"},
      {"typo in a model", Model("upstrem_model: x"),
       "model/m upstrem_model: this version does not know this field (did you mean "
       "upstream_model?); it knows name, provider, upstream_model, price, output_tokens_max "
       "(gateway.yaml:4)"},
      {"typo in a price", Model("price: {inputs: 1}"),
       "model/m price.inputs: this version does not know this field (did you mean input?)"},
      {"typo in a credential", Provider("credentials: [{name: c, apikey: sk-x}]"),
       "provider/p credentials[0].apikey: this version does not know this field (did you mean "
       "api_key?)"},
      {"merge key", Model("<<: {a: b}"), "model/m <<: this version does not know"},
      {"weight of a later strategy", "routes: [{name: r, targets: [{model: m, weight: 9}]}]",
       "route/r targets[0].weight: this version does not know"},
      {"no guess for something else", Model("zzzzzz: 1"),
       "model/m zzzzzz: this version does not know this field; it knows"},
  })));
}

TEST_CASE("wrong values are refused with what is allowed") {
  CheckRow(GENERATE(values<Row>({
      {"dialect", "providers: [{name: p, dialect: anthropic}]",
       "provider/p dialect = anthropic: this version knows openai"},
      {"strategy", "routes: [{name: r, strategy: weighted}]",
       "route/r strategy = weighted: this version knows priority"},
      {"duration without unit", Provider("timeouts: {connect: 2}"),
       "provider/p timeouts.connect = 2: must be a whole number with ms, s, m or h"},
      {"zero duration", Provider("timeouts: {idle: 0s}"),
       "provider/p timeouts.idle = 0: must be at least 1ms"},
      {"duration of a list", Provider("timeouts: {idle: [1s]}"),
       "provider/p timeouts.idle: must be a single value"},
      {"negative price", Model("price: {input: -1}"),
       "model/m price.input = -1: must be a decimal number of USD"},
      {"exponent", Model("price: {input: 1e-3}"), "model/m price.input = 1e-3: must be a decimal"},
      {"too many decimals", Model("price: {input: 0.0000000001}"), "must be a decimal"},
      {"hex", Model("price: {output: 0x10}"), "price.output = 0x10: must be a decimal"},
      {"attempts", "routes: [{name: r, retry: {attempts: two}}]",
       "route/r retry.attempts = two: must be a whole number"},
      {"attempts zero", "routes: [{name: r, retry: {attempts: 0}}]",
       "route/r retry.attempts = 0: must be from 1 to 10"},
      {"attempts huge", "routes: [{name: r, retry: {attempts: 99999999999}}]",
       "must be from 1 to 10"},
      {"date", Key("expires: tomorrow"),
       "key/k expires = tomorrow: must be a date (2027-01-01, UTC)"},
      {"date out of range", Key("expires: 2027-02-30"),
       "key/k expires = 2027-02-30: must be a date"},
      {"date before 1970", Key("expires: 1969-01-01"), "key/k expires: must be after 1970-01-01"},
      {"boolean", Key("revoked: yes"), "key/k revoked = yes: must be true or false"},
      {"base_url reference", "providers: [{name: p, base_url: \"http://${env:NOPE}\"}]",
       "provider/p base_url = http://${env:NOPE}: the environment variable is not set"},
  })));
}

TEST_CASE("what a base_url's references stand for is never shown, nor a password beside them") {
  CheckRow(GENERATE(values<Row>({
      {"the wrong variable", "providers: [{name: p, base_url: \"${env:OPENAI_API_KEY}\"}]",
       "provider/p base_url = ${env:OPENAI_API_KEY}: must begin with http:// or https://"},
      {"a password beside one that is not set",
       "providers: [{name: p, base_url: \"https://bob:hunter2@${env:NOPE}/v1\"}]",
       "provider/p base_url: the environment variable is not set"},
      {"a query", "providers: [{name: p, base_url: \"https://${env:HOST}/v1?key=hunter2\"}]",
       "provider/p base_url: must have no query"},
  })));
}

TEST_CASE("bad secrets are refused and never repeated") {
  const auto row = GENERATE(values<Row>({
      {"no api_key", Provider("credentials: [{name: c}]"), "credentials[0].api_key: is required"},
      {"null", Provider("credentials: [{name: c, api_key: }]"),
       "credentials[0].api_key: must not be empty"},
      {"empty", Provider("credentials: [{name: c, api_key: \"\"}]"),
       "credentials[0].api_key = (literal): must not be empty"},
      {"a list", Provider("credentials: [{name: c, api_key: [sk-hidden]}]"),
       "credentials[0].api_key: must not be empty"},
      {"unset variable", Provider("credentials: [{name: c, api_key: \"${env:NOPE}\"}]"),
       "api_key = ${env:NOPE}: the environment variable is not set"},
      {"empty variable", Provider("credentials: [{name: c, api_key: \"${env:EMPTY}\"}]"),
       "api_key = ${env:EMPTY}: must not be empty"},
      {"two lines", Provider("credentials: [{name: c, api_key: \"${env:TWO_LINES}\"}]"),
       "api_key = ${env:TWO_LINES}: must be printable ASCII"},
      {"unknown scheme", Provider("credentials: [{name: c, api_key: \"${vault:sk-hidden}\"}]"),
       "must be the whole value: ${env:NAME} or ${file:PATH}"},
      {"reference inside a text",
       Provider("credentials: [{name: c, api_key: \"sk-hidden${env:X}\"}]"),
       "must be the whole value"},
      {"spaces", Provider("credentials: [{name: c, api_key: sk hidden}]"),
       "must be printable ASCII"},
      {"under a wrong name",
       Provider("credentials: [{name: c, apikey: sk-hidden, api_key: \"${env:NOPE}\"}]"),
       "apikey: this version"},
      {"in a wrong map", Provider("credentials: [{name: c, api_key: {value: sk-hidden}}]"),
       "api_key.value: this version"},
      {"no credentials", Provider("timeouts: {}"), "provider/p credentials: is required; []"},
      {"null credentials", Provider("credentials:"), "provider/p credentials: must be a list"},
  }));
  CheckRow(row);
  const std::string said = Describe(LoadText(row.text).violations);
  CHECK_FALSE(said.contains("hidden"));
  CHECK_FALSE(said.contains("x-evil"));
}

TEST_CASE("secrets of keys are for standalone only") {
  for (const char* field :
       {"secret: local-dev-key", "secret: \"${env:CLIENT_KEY}\"", "secret_sha256: 00"}) {
    const LoadResult result = LoadText(Key(field));
    CAPTURE(Describe(result.violations));
    REQUIRE(result.violations.size() == 1);
    CHECK(result.violations[0].allowed().contains("spillway keys create"));
    CHECK_FALSE(Describe(result.violations).contains("local-dev-key"));
    CHECK(result.config.resources.at(0).key().secrets().empty());
  }
}

TEST_CASE("bad standalone secrets are refused") {
  CheckRow(
      GENERATE(values<Row>({
          {"short", Key("secret: abc"), "key/k secret = (literal): must be at least 8 characters"},
          {"short variable", Key("secret: \"${env:SHORT}\""),
           "secret = ${env:SHORT}: must be at least 8"},
          {"longer than what is ever looked up", Key("secret: " + std::string(513, 'a')),
           "key/k secret = (literal): must be at most 512 characters"},
          {"empty", Key("secret: \"\""), "must not be empty"},
          {"short digest", Key("secret_sha256: abcd"),
           "key/k secret_sha256: must be 64 hex digits"},
          {"no hex", Key("secret_sha256: " + std::string(64, 'g')), "must be 64 hex digits"},
          {"both", Key("secret: local-dev-key\n    secret_sha256: " + std::string(64, 'a')),
           "give either secret or secret_sha256"},
      })),
      /*standalone=*/true);
}

TEST_CASE("every violation is reported, not only the first") {
  const LoadResult result = LoadText(
      "models:\n"
      "  - {name: a, price: {input: x, output: y}, nope: 1}\n"
      "  - {provider: p}\n"
      "  - {name: b, price: {input: 1}}\n"
      "nonsense: 1\n");
  CHECK(result.violations.size() == 5);
  CHECK(result.config.resources.size() == 2);
}

TEST_CASE("a flood of violations is counted, not listed") {
  std::string text = "models:\n";
  for (int i = 0; i < 3'000; ++i) text += "  - {name: m" + std::to_string(i) + ", nope: 1}\n";
  const LoadResult result = LoadText(text);
  REQUIRE(result.violations.size() == 1'001);
  CHECK(result.violations.back().allowed() == "2000 more violations are not shown");
}

TEST_CASE("unknown fields by the hundred thousand are counted, in a time that grows with them") {
  std::string text = "models:\n  - name: m\n";
  for (int i = 0; i < 200'000; ++i) text += "    nope" + std::to_string(i) + ": 1\n";
  const LoadResult result = LoadText(text);
  REQUIRE(result.violations.size() == 1'001);
  CHECK(result.violations.front().allowed().ends_with("(gateway.yaml:3)"));
  CHECK(result.violations[999].allowed().ends_with("(gateway.yaml:1002)"));
  CHECK(result.violations.back().allowed() == "199000 more violations are not shown");
}

TEST_CASE("shown values are one bounded printable line") {
  const LoadResult result = LoadText(Model("price: {input: \"" + std::string(5'000, 'x') + "\"}"));
  REQUIRE(result.violations.size() == 1);
  CHECK(result.violations[0].value().size() < 110);
}

}  // namespace spillway::config
