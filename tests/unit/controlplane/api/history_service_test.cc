#include "controlplane/api/history_service.h"

#include <catch2/catch_all.hpp>
#include <string>
#include <vector>

#include "tests/unit/controlplane/api/api_world.h"

namespace spillway::api {
namespace {

using Changes = std::vector<std::string>;

void Rotate(ApiWorld& world, const std::string& name) {
  v1::RotateKeyRequest request;
  request.set_name(name);
  REQUIRE(world.keys->Rotate(request, "tester").has_value());
}

void Revoke(ApiWorld& world, const std::string& name) {
  v1::RevokeKeyRequest request;
  request.set_name(name);
  REQUIRE(world.keys->Revoke(request, "tester").has_value());
}

void Delete(ApiWorld& world, v1::Kind kind, const std::string& name) {
  v1::DeleteRequest request;
  request.set_kind(kind);
  request.set_name(name);
  const auto deleted = world.config->Delete(request, "tester");
  if (!deleted) FAIL(deleted.error().message);
}

TEST_CASE("revisions are listed newest first with author and changes") {
  ApiWorld world;
  world.MustApply("teams: [{name: a}]");
  world.MustApply("teams: [{name: b}]");
  v1::ListRevisionsRequest request;
  request.set_limit(1);
  const auto list = world.history->List(request);
  REQUIRE(list.has_value());
  REQUIRE(list->revisions_size() == 1);
  CHECK(list->revisions(0).revision() == 2);
  CHECK(list->revisions(0).author() == "tester");
  CHECK(list->revisions(0).summary() == "1 created");
  CHECK(list->revisions(0).changes_size() == 1);
}

TEST_CASE("two revisions are compared in both directions") {
  ApiWorld world;
  world.MustApply("organizations: [{name: acme}]\nteams: [{name: a}]");
  world.MustApply("teams: [{name: a, organization: acme}, {name: b}]");
  v1::DiffRevisionsRequest request;
  request.set_from(1);
  const auto forward = world.history->Diff(request);
  REQUIRE(forward.has_value());
  CHECK(forward->revision() == 2);
  CHECK(ChangesOf(*forward) == Changes{"create team/b", "update team/a"});
  request.set_from(2);
  request.set_to(1);
  CHECK(ChangesOf(*world.history->Diff(request)) == Changes{"delete team/b", "update team/a"});
  request.set_from(9);
  CHECK(world.history->Diff(request).error().kind == Refusal::Kind::kNotFound);
}

TEST_CASE("a rollback brings resources back as a new revision") {
  ApiWorld world;
  world.MustApply(kGateway);
  world.MustApply("teams: [{name: support}, {name: extra}]");
  const auto back = world.RollBack(1);
  REQUIRE(back.has_value());
  CHECK(back->revision() == 3);
  CHECK(ChangesOf(*back) == Changes{"delete team/extra", "update team/support"});
  CHECK(world.Stored(v1::KIND_TEAM, "support").team().organization() == "acme");
  // To where it is already: nothing.
  CHECK(world.RollBack(1)->revision() == 3);
}

TEST_CASE("a rollback brings a provider's secret of that time back") {
  ApiWorld world;
  world.MustApply(kGateway, false, "sk-good");
  world.MustApply(kGateway, false, "sk-mistyped");
  REQUIRE(world.RollBack(1).has_value());
  CHECK(world.Unsealed("openai") == "sk-good");
}

TEST_CASE("a rollback never takes a revocation back") {
  ApiWorld world;
  world.MustApply(kGateway);
  world.MustCreateKey("support-bot");
  Revoke(world, "support-bot");
  REQUIRE(world.RollBack(2).has_value());
  CHECK(world.StoredKey("support-bot").revoked());
}

TEST_CASE("a rollback keeps the secrets that rotations left") {
  ApiWorld world;
  world.MustApply(kGateway);
  world.MustCreateKey("support-bot");
  Rotate(world, "support-bot");
  const std::string current = world.StoredKey("support-bot").secrets(0).sha256();
  world.MustApply("keys: [{name: support-bot, team: support, feature: changed}]");
  REQUIRE(world.RollBack(2).has_value());
  const v1::Key key = world.StoredKey("support-bot");
  CHECK(key.feature().empty());
  REQUIRE(key.secrets_size() == 1);
  CHECK(key.secrets(0).sha256() == current);
}

TEST_CASE("a deleted key comes back with what it had last") {
  ApiWorld world;
  world.MustApply(kGateway);
  world.MustCreateKey("support-bot");
  Rotate(world, "support-bot");
  const std::string last = world.StoredKey("support-bot").secrets(0).sha256();
  const bool revoked = GENERATE(false, true);
  if (revoked) Revoke(world, "support-bot");
  Delete(world, v1::KIND_KEY, "support-bot");
  REQUIRE(world.RollBack(2).has_value());
  const v1::Key key = world.StoredKey("support-bot");
  REQUIRE(key.secrets_size() == 1);
  CHECK(key.secrets(0).sha256() == last);
  CHECK(key.revoked() == revoked);
}

TEST_CASE("a rollback touches no key that no file declares") {
  ApiWorld world;
  world.MustApply(kGateway);
  SECTION("made since: it stays") {
    world.MustCreateKey("by-hand", "support");
    REQUIRE(world.RollBack(1).has_value());
    CHECK(world.StoredKey("by-hand").secrets_size() == 1);
  }
  SECTION("deleted since: it does not come back") {
    world.MustCreateKey("by-hand", "support");
    Delete(world, v1::KIND_KEY, "by-hand");
    REQUIRE(world.RollBack(2).has_value());
    CHECK_FALSE(world.Has(v1::KIND_KEY, "by-hand"));
  }
}

TEST_CASE("a declared key that did not exist then goes") {
  ApiWorld world;
  world.MustApply("teams: [{name: support}]");
  world.MustApply("keys: [{name: k, team: support}]");
  const auto back = world.RollBack(1);
  REQUIRE(back.has_value());
  CHECK(ChangesOf(*back) == Changes{"delete key/k"});
}

TEST_CASE("a rollback that would break a key by hand is refused and names it") {
  ApiWorld world;
  world.MustApply("organizations: [{name: acme}]");
  world.MustApply("teams: [{name: support}]");
  world.MustCreateKey("by-hand", "support");
  const auto refused = world.RollBack(1);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().violations[0].resource() == "key/by-hand");
}

TEST_CASE("revisions that are not there") {
  ApiWorld world;
  world.MustApply("teams: [{name: a}]");
  CHECK(world.RollBack(0).error().kind == Refusal::Kind::kInvalid);
  CHECK(world.RollBack(9).error().kind == Refusal::Kind::kNotFound);
}

}  // namespace
}  // namespace spillway::api
