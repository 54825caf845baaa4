#include "common/config/load.h"

#include <google/protobuf/util/message_differencer.h>

#include <catch2/catch_all.hpp>
#include <filesystem>

#include "common/config/resource.h"
#include "common/config/validate.h"
#include "common/crypto/sha256.h"
#include "tests/fakes/temp_folder.h"
#include "tests/unit/common/config/config_samples.h"

namespace spillway::config {
namespace {

const v1::Resource& Named(const LoadResult& result, v1::Kind kind, std::string_view name) {
  for (const v1::Resource& resource : result.config.resources) {
    if (KindOf(resource) == kind && NameOf(resource) == name) return resource;
  }
  FAIL("no " << name);
  std::abort();
}

}  // namespace

TEST_CASE("every field of every kind is read") {
  const LoadResult result = LoadText(kFullSample);
  CAPTURE(Describe(result.violations));
  REQUIRE(result.violations.empty());
  REQUIRE(result.config.resources.size() == kFullResources);

  const v1::Provider& openai = Named(result, v1::KIND_PROVIDER, "openai").provider();
  CHECK(openai.dialect() == v1::DIALECT_OPENAI);
  CHECK(openai.base_url() == "https://api.openai.com/v1");
  REQUIRE(openai.credentials_size() == 2);
  CHECK(openai.credentials(0).name() == "main");
  CHECK(openai.credentials(0).api_key().reference() == "${env:OPENAI_API_KEY}");
  CHECK(openai.credentials(0).api_key().plaintext() == "sk-from-env");
  CHECK(openai.credentials(1).api_key().reference() == "(literal)");
  CHECK(openai.credentials(1).api_key().plaintext() == "sk-literal");
  CHECK(openai.timeouts().connect_ms() == 2'000);
  CHECK(openai.timeouts().first_token_ms() == 20'000);
  CHECK(openai.timeouts().idle_ms() == 1'500);
  CHECK(openai.timeouts().total_ms() == 600'000);
  CHECK(openai.tls().ca_file() == "/etc/ssl/ca.pem");
  CHECK(openai.tls().server_name() == "api.openai.com");
  CHECK(Named(result, v1::KIND_PROVIDER, "local").provider().credentials().empty());

  const v1::Model& model = Named(result, v1::KIND_MODEL, "gpt-5-mini").model();
  CHECK(model.provider() == "openai");
  CHECK(model.upstream_model() == "gpt-5-mini-2026");
  CHECK(model.price().input() == 250'000'000);
  CHECK(model.price().output() == 2'000'000'000);
  CHECK(model.price().cached_input() == 25'000'000);
  const v1::Price& free = Named(result, v1::KIND_MODEL, "llama").model().price();
  CHECK(free.has_input());
  CHECK_FALSE(free.has_output());

  const v1::Route& route = Named(result, v1::KIND_ROUTE, "support-tier").route();
  CHECK(route.strategy() == v1::Route::STRATEGY_PRIORITY);
  REQUIRE(route.targets_size() == 2);
  CHECK(route.targets(0).model() == "gpt-5-mini");
  CHECK(route.targets(0).timeout_ms() == 30'000);
  CHECK(route.fallbacks(1) == "llama");
  CHECK(route.retry().attempts() == 2);

  CHECK(Named(result, v1::KIND_TEAM, "support").team().organization() == "acme");
  CHECK(Named(result, v1::KIND_USER, "alice").user().team() == "support");
  const v1::Key& key = Named(result, v1::KIND_KEY, "support-bot").key();
  CHECK(key.team() == "support");
  CHECK(key.user() == "alice");
  CHECK(key.organization() == "acme");
  CHECK(key.routes(0) == "support-tier");
  CHECK(key.models(0) == "llama");
  CHECK(key.expires_at_ms() == 1'798'761'600'000);
  CHECK(key.feature() == "triage: \"beta\"");
  CHECK(key.declared());
  CHECK_FALSE(key.revoked());
  CHECK(key.secrets().empty());
  CHECK(Named(result, v1::KIND_KEY, "old").key().revoked());
  CHECK(Named(result, v1::KIND_KEY, "old").key().expires_at_ms() == 1'782'813'600'000);
}

TEST_CASE("places name the file and the line") {
  const LoadResult result = LoadText("organizations:\n  - name: a\n  - name: b\n");
  REQUIRE(result.violations.empty());
  CHECK(result.config.places == std::vector<std::string>{"gateway.yaml:2", "gateway.yaml:3"});
}

TEST_CASE("without a resolver references stay as they are") {
  const LoadResult result = LoadYaml(kFullSample, "gateway.yaml", {});
  REQUIRE(result.violations.empty());
  const v1::Provider& openai = Named(result, v1::KIND_PROVIDER, "openai").provider();
  CHECK(openai.credentials(0).api_key().reference() == "${env:OPENAI_API_KEY}");
  CHECK(openai.credentials(0).api_key().plaintext().empty());
  CHECK(ValidateLoaded(result.config).ok());
}

TEST_CASE("references are resolved in base_url") {
  const LoadResult result = LoadText(
      "providers: [{name: p, dialect: openai, base_url: \"https://${env:HOST}/v1\", credentials: "
      "[]}]");
  REQUIRE(result.violations.empty());
  CHECK(result.config.resources[0].provider().base_url() == "https://gw.example/v1");
}

TEST_CASE("a reference map stands for what is stored and is no secret itself") {
  const LoadResult result = LoadText(
      "providers: [{name: p, dialect: openai, base_url: \"https://a.example\", "
      "credentials: [{name: c, api_key: {reference: set by ann on 2026-11-21}}]}]");
  CAPTURE(Describe(result.violations));
  REQUIRE(result.violations.empty());
  const v1::Secret& secret = result.config.resources[0].provider().credentials(0).api_key();
  CHECK(secret.reference() == "set by ann on 2026-11-21");
  CHECK(secret.plaintext().empty());
}

TEST_CASE("standalone keys carry a secret, hashed at once") {
  const LoadResult result = LoadText(
      "keys:\n"
      "  - {name: a, secret: \"${env:CLIENT_KEY}\"}\n"
      "  - {name: b, secret: \"local-dev-key\"}\n"
      "  - {name: c, secret_sha256: " +
          HexOf(AsBytes(Sha256("third-secret"))) + "}\n",
      /*standalone=*/true);
  CAPTURE(Describe(result.violations));
  REQUIRE(result.violations.empty());
  const v1::Key& a = result.config.resources[0].key();
  CHECK(a.secret_reference() == "${env:CLIENT_KEY}");
  REQUIRE(a.secrets_size() == 1);
  CHECK(a.secrets(0).public_id() == "abcdefghijkl");
  CHECK(a.secrets(0).sha256() == AsBytes(Sha256(*TestReferences("env", "CLIENT_KEY"))));
  const v1::Key& b = result.config.resources[1].key();
  CHECK(b.secret_reference() == "(literal)");
  CHECK(b.secrets(0).sha256() == AsBytes(Sha256("local-dev-key")));
  CHECK(b.secrets(0).public_id().empty());
  CHECK(result.config.resources[2].key().secrets(0).sha256() == AsBytes(Sha256("third-secret")));
  for (const v1::Resource& resource : result.config.resources)
    CHECK_FALSE(resource.SerializeAsString().contains("local-dev-key"));
  CHECK(ValidateLoaded(result.config).ok());
}

TEST_CASE("empty texts, empty sections and several documents are fine") {
  for (const char* text : {"", "# nothing\n", "keys:\n", "models: []\n", "---\n---\n"}) {
    CAPTURE(text);
    const LoadResult result = LoadText(text);
    CHECK(result.violations.empty());
    CHECK(result.config.resources.empty());
  }
  const LoadResult two = LoadText("organizations: [{name: a}]\n---\norganizations: [{name: b}]\n");
  CHECK(two.violations.empty());
  CHECK(two.config.resources.size() == 2);
}

TEST_CASE("files and folders are merged in the order of their names") {
  const TempFolder folder;
  folder.Write("b.yaml", "organizations: [{name: b}]\n");
  folder.Write("a.yml", "organizations: [{name: a}]\n");
  folder.Write("ignored.txt", "not yaml: [\n");
  folder.Write(".hidden.yaml", "not yaml: [\n");
  const auto result = LoadPaths({folder.Path("")}, {});
  REQUIRE(result);
  CHECK(result->violations.empty());
  REQUIRE(result->config.resources.size() == 2);
  CHECK(NameOf(result->config.resources[0]) == "a");
  CHECK(result->config.places[1].ends_with("b.yaml:1"));
}

TEST_CASE("a resource in two files is told with both places") {
  const TempFolder folder;
  folder.Write("one.yaml", "organizations: [{name: x}]\n");
  folder.Write("two.yaml", "\norganizations: [{name: x}]\n");
  const auto result = LoadPaths({folder.Path("one.yaml"), folder.Path("two.yaml")}, {});
  REQUIRE(result);
  REQUIRE(result->violations.size() == 1);
  CHECK(result->violations[0].resource() == "organization/x");
  CHECK(result->violations[0].allowed().contains("one.yaml:1"));
  CHECK(result->violations[0].allowed().contains("two.yaml:2"));
}

TEST_CASE("paths that cannot be read are errors, not violations") {
  const TempFolder folder;
  CHECK_FALSE(LoadPaths({folder.Path("absent.yaml")}, {}));
  CHECK(LoadPaths({folder.Path("")}, {}).error().message.contains("no *.yaml"));
  folder.Write("large.yaml", std::string((16 << 20) + 1, ' '));
  const auto large = LoadPaths({folder.Path("large.yaml")}, {});
  REQUIRE(large);
  CHECK(large->violations.size() == 1);
}

}  // namespace spillway::config
