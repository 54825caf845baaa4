#include "controlplane/api/config_service.h"

#include <catch2/catch_all.hpp>
#include <string>
#include <vector>

#include "tests/unit/controlplane/api/api_world.h"

namespace spillway::api {
namespace {

using Changes = std::vector<std::string>;

TEST_CASE("applying a file makes one revision and applying it again none") {
  ApiWorld world;
  const auto first = world.Apply(kGateway);
  REQUIRE(first.has_value());
  CHECK(first->revision() == 1);
  CHECK(first->changes_size() == 7);
  const std::string sealed = world.Stored(v1::KIND_PROVIDER, "openai").SerializeAsString();

  const auto again = world.Apply(kGateway);
  REQUIRE(again.has_value());
  CHECK(again->revision() == 1);
  CHECK(again->changes().empty());
  CHECK(world.Stored(v1::KIND_PROVIDER, "openai").SerializeAsString() == sealed);
}

TEST_CASE("a provider's secret is stored sealed, never in clear, and follows its value") {
  ApiWorld world;
  world.MustApply(kGateway, false, "sk-first");
  CHECK(world.Unsealed("openai") == "sk-first");
  CHECK_FALSE(world.store->Find(v1::KIND_PROVIDER, "openai")->bytes.contains("sk-first"));

  const auto changed = world.Apply(kGateway, false, "sk-second");
  REQUIRE(changed.has_value());
  CHECK(ChangesOf(*changed) == Changes{"update provider/openai"});
  CHECK(world.Unsealed("openai") == "sk-second");
  // The audit says that the value changed and shows neither.
  const auto revisions = world.history->List({});
  REQUIRE(revisions.has_value());
  const std::string audit = revisions->revisions(0).ShortDebugString();
  CHECK(audit.contains("new value"));
  CHECK(audit.contains("${env:OPENAI}"));
  CHECK_FALSE(audit.contains("sk-second"));
  CHECK(revisions->revisions(0).author() == "tester");
}

TEST_CASE("secrets that arrive in another shape") {
  ApiWorld world;
  world.MustApply(kGateway, false, "sk-first");
  v1::ApplyRequest request = ApiWorld::Request(kGateway, false, "sk-first");
  v1::Secret& secret =
      *request.mutable_resources(0)->mutable_provider()->mutable_credentials(0)->mutable_api_key();

  SECTION("the stored reference without a value keeps the stored value") {
    secret.clear_plaintext();
    const auto response = world.config->Apply(request, "tester");
    REQUIRE(response.has_value());
    CHECK(response->changes().empty());
    CHECK(world.Unsealed("openai") == "sk-first");
  }
  SECTION("another reference without a value is refused") {
    secret.clear_plaintext();
    secret.set_reference("${env:OTHER}");
    const auto response = world.config->Apply(request, "tester");
    REQUIRE_FALSE(response.has_value());
    CHECK(response.error().kind == Refusal::Kind::kInvalid);
    REQUIRE(response.error().violations.size() == 1);
    CHECK(response.error().violations[0].field() == "credentials[main].api_key");
    // A dry run compares references alone.
    const auto diff = world.config->Diff(request);
    REQUIRE(diff.has_value());
    CHECK(ChangesOf(*diff) == Changes{"update provider/openai"});
  }
  SECTION("a sealed value from outside is ignored") {
    secret.clear_plaintext();
    secret.mutable_sealed()->set_ciphertext("forged");
    REQUIRE(world.config->Apply(request, "tester").has_value());
    CHECK(world.Unsealed("openai") == "sk-first");
  }
  SECTION("a value with a line feed is refused and not repeated") {
    secret.set_plaintext("sk-with\nline-feed");
    const auto response = world.config->Apply(request, "tester");
    REQUIRE_FALSE(response.has_value());
    CHECK_FALSE(response.error().message.contains("sk-with"));
  }
}

TEST_CASE("diff says what apply would do and does nothing") {
  ApiWorld world;
  const auto diff = world.config->Diff(ApiWorld::Request(kGateway));
  REQUIRE(diff.has_value());
  CHECK(diff->changes_size() == 7);
  CHECK(world.revision() == 0);
  world.MustApply(kGateway);
  CHECK(world.config->Diff(ApiWorld::Request(kGateway))->changes().empty());
}

TEST_CASE("what does not hold together is refused with all its violations") {
  struct Row {
    const char* name;
    const char* yaml;
    const char* resource;
    const char* field;
  };
  const auto row = GENERATE(values<Row>({
      {"an unknown provider", "models: [{name: m, provider: nobody, price: {input: 1}}]", "model/m",
       "provider"},
      {"an unknown model", "routes: [{name: r, targets: [{model: nobody}]}]", "route/r",
       "targets[0].model"},
      {"an unknown team", "users: [{name: u, team: nobody}]", "user/u", "team"},
      {"a key of an unknown team", "keys: [{name: k, team: nobody}]", "key/k", "team"},
      {"a key of an unknown route", "keys: [{name: k, routes: [nobody]}]", "key/k", "routes[0]"},
  }));
  INFO(row.name);
  ApiWorld world;
  world.MustApply(kGateway);
  const auto response = world.Apply(row.yaml);
  REQUIRE_FALSE(response.has_value());
  CHECK(response.error().kind == Refusal::Kind::kInvalid);
  REQUIRE(response.error().violations.size() == 1);
  CHECK(response.error().violations[0].resource() == row.resource);
  CHECK(response.error().violations[0].field() == row.field);
  CHECK(world.revision() == 1);
}

TEST_CASE("malformed requests are refused before anything is merged") {
  ApiWorld world;
  v1::ApplyRequest request;
  SECTION("nothing at all, which with prune would delete everything") { request.set_prune(true); }
  SECTION("a resource without a kind") { request.add_resources(); }
  SECTION("a bad name") { request.add_resources()->mutable_team()->set_name("a b"); }
  SECTION("one name twice") {
    request.add_resources()->mutable_team()->set_name("a");
    request.add_resources()->mutable_team()->set_name("a");
  }
  SECTION("a key that brings a digest") {
    v1::Key& key = *request.add_resources()->mutable_key();
    key.set_name("k");
    key.add_secrets()->set_sha256(std::string(32, 'x'));
  }
  const auto response = world.config->Apply(request, "tester");
  REQUIRE_FALSE(response.has_value());
  CHECK(response.error().kind == Refusal::Kind::kInvalid);
  CHECK_FALSE(response.error().violations.empty());
  CHECK(world.revision() == 0);
}

TEST_CASE("prune deletes what files declared and these do not name") {
  ApiWorld world;
  world.MustApply(kGateway);
  world.MustCreateKey("support-bot");
  world.MustCreateKey("by-hand", "support");
  const auto pruned = world.Apply(R"(
providers:
  - name: openai
    dialect: openai
    base_url: https://api.openai.com/v1
    credentials: [{name: main, api_key: "${env:OPENAI}"}]
teams: [{name: support}]
)",
                                  /*prune=*/true);
  REQUIRE(pruned.has_value());
  CHECK(ChangesOf(*pruned) == Changes{"delete key/support-bot", "delete model/gpt-5-mini",
                                      "delete organization/acme", "delete route/support-tier",
                                      "delete user/alice", "update team/support"});
  CHECK(world.Has(v1::KIND_KEY, "by-hand"));
}

TEST_CASE("prune is refused when a key that no file declares needs what would go") {
  ApiWorld world;
  world.MustApply(kGateway);
  world.MustCreateKey("by-hand", "support");
  const auto pruned = world.Apply("organizations: [{name: acme}]", /*prune=*/true);
  REQUIRE_FALSE(pruned.has_value());
  REQUIRE_FALSE(pruned.error().violations.empty());
  CHECK(pruned.error().violations[0].resource() == "key/by-hand");
}

TEST_CASE("a file never takes a key's secret or revocation back") {
  ApiWorld world;
  world.MustApply(kGateway);
  const std::string public_id = world.MustCreateKey("support-bot").key().secrets(0).public_id();
  v1::RevokeKeyRequest revoke;
  revoke.set_name("support-bot");
  REQUIRE(world.keys->Revoke(revoke, "tester").has_value());

  const auto again = world.Apply(kGateway);
  REQUIRE(again.has_value());
  CHECK(again->changes().empty());
  const auto explicitly = world.Apply(
      "keys: [{name: support-bot, team: support, routes: [support-tier], revoked: false, feature: "
      "chat}]");
  REQUIRE(explicitly.has_value());
  const v1::Key key = world.StoredKey("support-bot");
  CHECK(key.revoked());
  CHECK(key.feature() == "chat");
  REQUIRE(key.secrets_size() == 1);
  CHECK(key.secrets(0).public_id() == public_id);
}

TEST_CASE("a file adopts a key that was made by hand") {
  ApiWorld world;
  world.MustApply(kGateway);
  world.MustCreateKey("by-hand", "support");
  world.MustApply("keys: [{name: by-hand, team: support, models: [gpt-5-mini]}]");
  const v1::Key key = world.StoredKey("by-hand");
  CHECK(key.declared());
  CHECK(key.secrets_size() == 1);
}

TEST_CASE("get and list show no secret") {
  ApiWorld world;
  world.MustApply(kGateway);
  world.MustCreateKey("support-bot");
  v1::GetRequest get;
  get.set_kind(v1::KIND_PROVIDER);
  get.set_name("openai");
  const auto provider = world.config->Get(get);
  REQUIRE(provider.has_value());
  CHECK(provider->revision() == 1);
  const v1::Secret& secret = provider->resource().provider().credentials(0).api_key();
  CHECK(secret.reference() == "${env:OPENAI}");
  CHECK_FALSE(secret.has_sealed());
  v1::ListRequest list;
  list.set_kind(v1::KIND_KEY);
  const auto keys = world.config->List(list);
  REQUIRE(keys.has_value());
  REQUIRE(keys->resources_size() == 1);
  CHECK(keys->resources(0).key().secrets(0).sha256().empty());
  CHECK(keys->resources(0).key().secrets(0).public_id().size() == 12);

  get.set_name("nobody");
  CHECK(world.config->Get(get).error().kind == Refusal::Kind::kNotFound);
  get.set_kind(v1::KIND_UNSPECIFIED);
  CHECK(world.config->Get(get).error().kind == Refusal::Kind::kInvalid);
}

TEST_CASE("lists come in pages, each resource once") {
  ApiWorld world;
  std::string yaml = "teams:\n";
  for (int i = 0; i < 7; ++i) yaml += "  - {name: t" + std::to_string(i) + "}\n";
  world.MustApply(yaml);
  v1::ListRequest request;
  request.set_kind(v1::KIND_TEAM);
  request.set_page_size(3);
  std::vector<std::string> names;
  std::vector<int> sizes;
  do {
    const auto page = world.config->List(request);
    REQUIRE(page.has_value());
    for (const v1::Resource& team : page->resources()) names.push_back(team.team().name());
    sizes.push_back(page->resources_size());
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  CHECK(names == Changes{"t0", "t1", "t2", "t3", "t4", "t5", "t6"});
  CHECK(sizes == std::vector<int>{3, 3, 1});
}

TEST_CASE("deleting what others refer to is refused") {
  ApiWorld world;
  world.MustApply(kGateway);
  v1::DeleteRequest request;
  request.set_kind(v1::KIND_MODEL);
  request.set_name("gpt-5-mini");
  const auto refused = world.config->Delete(request, "tester");
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().violations[0].resource() == "route/support-tier");

  request.set_kind(v1::KIND_KEY);
  request.set_name("support-bot");
  CHECK(world.config->Delete(request, "tester").has_value());
  const auto again = world.config->Delete(request, "tester");
  REQUIRE_FALSE(again.has_value());
  CHECK(again.error().kind == Refusal::Kind::kNotFound);
}

TEST_CASE("a secret set by command") {
  ApiWorld world;
  world.MustApply(kGateway);
  v1::SetSecretRequest request;
  request.set_provider("openai");
  request.set_value("sk-by-hand");

  SECTION("goes to the only credential and says who set it") {
    REQUIRE(world.config->SetSecret(request, "olga").has_value());
    CHECK(world.Unsealed("openai") == "sk-by-hand");
    const v1::Resource resource = world.Stored(v1::KIND_PROVIDER, "openai");
    CHECK(resource.provider().credentials(0).api_key().reference() == "set by olga on 2026-01-01");
    // The same again changes nothing.
    const auto again = world.config->SetSecret(request, "someone-else");
    REQUIRE(again.has_value());
    CHECK(again->changes().empty());
  }
  SECTION("survives a file that lists no credentials") {
    const char* bare =
        "providers: [{name: local, dialect: openai, base_url: 'http://127.0.0.1:1/v1', "
        "credentials: []}]";
    world.MustApply(bare);
    request.set_provider("local");
    REQUIRE(world.config->SetSecret(request, "olga").has_value());
    CHECK(world.Unsealed("local") == "sk-by-hand");
    const auto again = world.Apply(bare);
    REQUIRE(again.has_value());
    CHECK(again->changes().empty());
  }
  SECTION("is refused for a provider or credential that is not there, or without a value") {
    request.set_credential("nobody");
    CHECK(world.config->SetSecret(request, "olga").error().kind == Refusal::Kind::kNotFound);
    request.set_provider("nobody");
    CHECK(world.config->SetSecret(request, "olga").error().kind == Refusal::Kind::kNotFound);
    request.clear_value();
    CHECK(world.config->SetSecret(request, "olga").error().kind == Refusal::Kind::kInvalid);
  }
}

TEST_CASE("a closed write gate refuses changes with its reason and leaves reading alone") {
  ApiWorld world;
  world.MustApply(kGateway);
  world.closed = "another control plane took over";
  const auto refused = world.Apply("teams: [{name: t}]");
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().kind == Refusal::Kind::kNotNow);
  CHECK(refused.error().message.contains("another control plane took over"));
  CHECK(world.config->Diff(ApiWorld::Request("teams: [{name: t}]")).has_value());
}

}  // namespace
}  // namespace spillway::api
