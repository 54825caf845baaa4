#include "common/config/validate.h"

#include <catch2/catch_all.hpp>
#include <chrono>
#include <format>

#include "common/config/compile.h"
#include "common/config/resource.h"
#include "common/crypto/sha256.h"
#include "tests/unit/common/config/config_samples.h"

namespace spillway::config {
namespace {

constexpr std::string_view kBase = R"(
providers: [{name: p, dialect: openai, base_url: "https://a.example/v1", credentials: []}]
models: [{name: m, provider: p, price: {input: 1}}, {name: n, provider: p, price: {input: 1}}]
organizations: [{name: o}, {name: o2}]
teams: [{name: t, organization: o}, {name: t2}]
users: [{name: u, team: t}]
)";

std::vector<v1::Resource> Loaded(std::string_view text) {
  LoadResult result = LoadText(text);
  CAPTURE(Describe(result.violations));
  REQUIRE(result.violations.empty());
  return std::move(result.config.resources);
}

// The base with more sections behind it.
std::vector<v1::Resource> With(std::string_view text) {
  return Loaded(std::string(kBase) + "---\n" + std::string(text));
}

std::string Said(std::vector<v1::Resource> resources) {
  return Describe(Validate(std::move(resources)).violations);
}

v1::Resource KeyWith(const std::string& name, const std::string& digest) {
  v1::Resource resource;
  resource.mutable_key()->set_name(name);
  resource.mutable_key()->add_secrets()->set_sha256(digest);
  return resource;
}

}  // namespace

TEST_CASE("a good configuration is validated and compiled in a fixed order") {
  Validation validation = Validate(Loaded(kFullSample));
  CAPTURE(Describe(validation.violations));
  REQUIRE(validation.ok());
  CHECK(validation.validated.resources().size() == kFullResources);
  const std::vector<v1::Entry> entries = ToEntries(validation.validated);
  REQUIRE(entries.size() == kFullResources);
  std::vector<v1::Resource> reversed = Loaded(kFullSample);
  std::ranges::reverse(reversed);
  const std::vector<v1::Entry> again = ToEntries(Validate(std::move(reversed)).validated);
  for (size_t i = 0; i < entries.size(); ++i)
    CHECK(entries[i].SerializeAsString() == again[i].SerializeAsString());
}

TEST_CASE("an empty configuration is good") { CHECK(Validate({}).ok()); }

TEST_CASE("what does not hold together is refused") {
  struct Row {
    std::string name;
    std::string text;
    std::string want;
  };
  const auto row = GENERATE(values<Row>({
      {"unknown provider", "models: [{name: x, provider: nope, price: {input: 1}}]",
       "model/x provider = nope: must name a declared provider"},
      {"no provider", "models: [{name: x, price: {input: 1}}]", "model/x provider: is required"},
      {"no price", "models: [{name: x, provider: p}]", "model/x price.input: is required"},
      {"no input price", "models: [{name: x, provider: p, price: {output: 1}}]",
       "model/x price.input: is required"},
      {"a price out of range", "models: [{name: x, provider: p, price: {input: 1000001}}]",
       "model/x price.input = 1000001: must be from 0 to 1000000"},
      {"no targets", "routes: [{name: r}]", "route/r targets: must name at least one model"},
      {"empty target", "routes: [{name: r, targets: [{}]}]",
       "route/r targets[0].model: is required"},
      {"unknown target", "routes: [{name: r, targets: [{model: m}, {model: x}]}]",
       "route/r targets[1].model = x: must name a declared model"},
      {"unknown fallback", "routes: [{name: r, targets: [{model: m}], fallbacks: [x]}]",
       "route/r fallbacks[0] = x: must name a declared model or route"},
      {"a target is no route", "routes: [{name: r, targets: [{model: r}]}]",
       "route/r targets[0].model = r"},
      {"attempts", "routes: [{name: r, targets: [{model: m}], retry: {attempts: 11}}]",
       "route/r retry.attempts = 11: must be from 1 to 10"},
      {"timeout", "routes: [{name: r, targets: [{model: m, timeout: 25h}]}]",
       "route/r targets[0].timeout = 25h: must be from 1ms to 24h"},
      {"unknown organization", "teams: [{name: x, organization: nope}]",
       "team/x organization = nope"},
      {"unknown team", "users: [{name: x, team: nope}]", "user/x team = nope"},
      {"key: unknown team", "keys: [{name: k, team: nope}]", "key/k team = nope"},
      {"key: unknown user", "keys: [{name: k, user: nope}]", "key/k user = nope"},
      {"key: unknown organization", "keys: [{name: k, organization: nope}]",
       "key/k organization = nope"},
      {"key: unknown route", "keys: [{name: k, routes: [m]}]",
       "key/k routes[0] = m: must name a declared route"},
      {"key: unknown model", "keys: [{name: k, models: [m, x]}]",
       "key/k models[1] = x: must name a declared model"},
      {"key: user of another team", "keys: [{name: k, team: t2, user: u}]",
       "key/k user = u: belongs to team t, not to t2"},
      {"key: team of another organization", "keys: [{name: k, team: t, organization: o2}]",
       "key/k team = t: belongs to organization o, not to o2"},
      {"key: user of another organization", "keys: [{name: k, user: u, organization: o2}]",
       "key/k user = u: belongs to organization o, not to o2"},
      {"key: long feature", "keys: [{name: k, feature: \"" + std::string(129, 'x') + "\"}]",
       "key/k feature: must be at most 128 bytes"},
      {"no dialect", "providers: [{name: x, base_url: \"https://a.example\", credentials: []}]",
       "provider/x dialect: is required"},
      {"no base_url", "providers: [{name: x, dialect: openai, credentials: []}]",
       "provider/x base_url: is required"},
      {"metadata service",
       "providers: [{name: x, dialect: openai, base_url: \"http://169.254.169.254\", credentials: "
       "[]}]",
       "provider/x base_url = http://169.254.169.254: must not be a link-local"},
      {"password in a URL",
       "providers: [{name: x, dialect: openai, base_url: \"https://me:hunter2@a.example\", "
       "credentials: []}]",
       "provider/x base_url: must have no user or password"},
      {"tls without https",
       "providers: [{name: x, dialect: openai, base_url: \"http://a.example\", credentials: [], "
       "tls: {ca_file: /x}}]",
       "provider/x tls: needs a base_url that begins with https://"},
      {"bad server name",
       "providers: [{name: x, dialect: openai, base_url: \"https://a.example\", credentials: [], "
       "tls: {server_name: \"a b\"}}]",
       "provider/x tls.server_name = a b"},
      {"credential without a name",
       "providers: [{name: x, dialect: openai, base_url: \"https://a.example\", credentials: "
       "[{api_key: k}]}]",
       "provider/x credentials[0].name: must be 1 to 128"},
      {"credential named twice",
       "providers: [{name: x, dialect: openai, base_url: \"https://a.example\", credentials: "
       "[{name: c, api_key: k}, {name: c, api_key: l}]}]",
       "provider/x credentials[1].name = c: must not be used twice"},
      {"output tokens",
       "models: [{name: x, provider: p, price: {input: 1}, output_tokens_max: 2000000000}]",
       "model/x output_tokens_max = 2000000000: must be from 0 to 1000000000"},
      {"timeouts",
       "providers: [{name: x, dialect: openai, base_url: \"https://a.example\", credentials: [], "
       "timeouts: {total: 48h}}]",
       "provider/x timeouts.total = 48h: must be from 1ms to 24h"},
  }));
  CAPTURE(row.name);
  const std::string said = Said(With(row.text));
  CAPTURE(said);
  CHECK(said.contains(row.want));
  CHECK_FALSE(said.contains("hunter2"));
  CHECK_FALSE(Validate(With(row.text)).ok());
}

TEST_CASE("fallbacks must not lead back") {
  struct Row {
    std::string name;
    std::string routes;
    std::string want;  // empty: good
  };
  const auto row = GENERATE(values<Row>({
      {"a chain", "a: [b], b: [c], c: [m]", ""},
      {"a diamond", "a: [b, c], b: [d], c: [d], d: [m]", ""},
      {"itself", "a: [a]", "route/a fallbacks[0] = a: must not lead back: a -> a"},
      {"two", "a: [b], b: [a]", "route/b fallbacks[0] = a: must not lead back: a -> b -> a"},
      {"three, entered from outside", "x: [a], a: [m, b], b: [c], c: [a]",
       "route/c fallbacks[0] = a: must not lead back: a -> b -> c -> a"},
      {"a route named like a model means the route", "m: [m]",
       "route/m fallbacks[0] = m: must not lead back: m -> m"},
  }));
  CAPTURE(row.name);
  std::string text = "routes:\n";
  size_t start = 0;
  while (start < row.routes.size()) {
    const size_t end = std::min(row.routes.find("],", start), row.routes.size() - 1) + 1;
    const std::string one = row.routes.substr(start, end - start);
    const size_t colon = one.find(':');
    text += std::format("  - {{name: {}, targets: [{{model: m}}], fallbacks:{}}}\n",
                        one.substr(0, colon), one.substr(colon + 1));
    start = end + 2;
  }
  const std::string said = Said(With(text));
  CAPTURE(text, said);
  if (row.want.empty())
    CHECK(said.empty());
  else
    CHECK(said.contains(row.want));
}

TEST_CASE("a chain of 100,000 fallbacks is walked without recursion") {
  std::vector<v1::Resource> resources = Loaded(kBase);
  constexpr int kRoutes = 100'000;
  for (int i = 0; i < kRoutes; ++i) {
    v1::Route& route = *resources.emplace_back().mutable_route();
    route.set_name("r" + std::to_string(i));
    route.add_targets()->set_model("m");
    route.add_fallbacks("r" + std::to_string((i + 1) % kRoutes));
  }
  const Validation validation = Validate(std::move(resources));
  REQUIRE(validation.violations.size() == 1);
  CHECK(validation.violations[0].allowed().contains("r0 -> r1 -> "));
  CHECK(validation.violations[0].allowed().size() < 300);
}

TEST_CASE("a resource twice in one state is refused") {
  std::vector<v1::Resource> resources = Loaded(kBase);
  resources.push_back(resources[0]);
  const std::string said = Said(std::move(resources));
  CHECK(said.contains("provider/p name: must be used once for its kind"));
}

TEST_CASE("two keys with one secret are refused without showing it") {
  const std::string digest(AsBytes(Sha256("shared")));
  const std::string said = Said({KeyWith("a", digest), KeyWith("b", digest)});
  CHECK(said == "key/b secrets[0]: must not be the secret of key a too");
  CHECK(Validate({KeyWith("a", digest), KeyWith("b", std::string(AsBytes(Sha256("x"))))}).ok());
}

TEST_CASE("what no file could say is refused in a message too") {
  const auto said_of = [](auto&& change) {
    std::vector<v1::Resource> resources = Loaded(kBase);
    change(resources);
    return Said(std::move(resources));
  };
  using Resources = std::vector<v1::Resource>;
  CHECK(said_of([](Resources& r) {
          r.emplace_back();
        }).contains("must be a resource of a known kind"));
  CHECK(said_of([](Resources& r) {
          r[1].mutable_model()->mutable_price()->set_input(-1);
        }).contains("model/m price.input = -0.000000001: must be from 0"));
  CHECK(said_of([](Resources& r) {
          r[1].mutable_model()->set_name("a b");
        }).contains("model/a b name = a b: must be 1 to 128"));
  CHECK(said_of([](Resources& r) {
          r[0].mutable_provider()->mutable_timeouts()->set_idle_ms(-5);
        }).contains("timeouts.idle = "));
  CHECK(said_of([](Resources& r) {
          r[0].mutable_provider()->add_credentials()->set_name("c");
        }).contains("credentials[0].api_key: must not be empty"));
  CHECK(said_of([](Resources& r) {
          v1::Credential& c = *r[0].mutable_provider()->add_credentials();
          c.set_name("c");
          c.mutable_api_key()->set_plaintext("sk-secret\r\nx: y");
        })
            .ends_with("credentials[0].api_key: must be printable ASCII characters without spaces "
                       "or line feeds"));
  CHECK(said_of([](Resources& r) {
          r.push_back(KeyWith("k", "short"));
        }).contains("key/k secrets[0].sha256: must be 32 bytes"));
  CHECK(said_of([](Resources& r) {
          r.push_back(KeyWith("k", std::string(32, 'x')));
          r.back().mutable_key()->set_expires_at_ms(-1);
        }).contains("key/k expires = -1"));
}

TEST_CASE("violations come in the order of the resources") {
  const Validation validation =
      Validate(With("routes: [{name: r1, targets: [{model: m}], fallbacks: [r1]}, {name: r2}]\n"
                    "keys: [{name: k, team: nope}]"));
  REQUIRE(validation.violations.size() == 3);
  CHECK(validation.violations[0].resource() == "route/r1");
  CHECK(validation.violations[1].resource() == "route/r2");
  CHECK(validation.violations[2].resource() == "key/k");
}

TEST_CASE("after reading, violations name the place") {
  LoadResult loaded = LoadText("teams:\n  - {name: a}\n  - {name: b, organization: nope}\n");
  const Validation validation = ValidateLoaded(std::move(loaded.config));
  REQUIRE(validation.violations.size() == 1);
  CHECK(Describe(validation.violations) ==
        "team/b organization = nope: must name a declared organization "
        "(gateway.yaml:3)");
}

TEST_CASE("100,000 keys are validated; the time it takes is printed") {
  std::vector<v1::Resource> resources = Loaded(kBase);
  for (int i = 0; i < 100'000; ++i) {
    resources.push_back(
        KeyWith("key-" + std::to_string(i), std::string(AsBytes(Sha256(std::to_string(i))))));
    resources.back().mutable_key()->set_team("t");
    resources.back().mutable_key()->set_user("u");
    resources.back().mutable_key()->add_models("m");
  }
  const auto start = std::chrono::steady_clock::now();
  const Validation validation = Validate(std::move(resources));
  const auto elapsed = std::chrono::steady_clock::now() - start;
  CHECK(validation.ok());
  WARN("took " << std::chrono::duration_cast<std::chrono::milliseconds>(elapsed).count() << " ms");
}

}  // namespace spillway::config
