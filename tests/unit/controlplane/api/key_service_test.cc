#include "controlplane/api/key_service.h"

#include <atomic>
#include <catch2/catch_all.hpp>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "common/config/resource.h"
#include "common/crypto/sha256.h"
#include "tests/unit/controlplane/api/api_world.h"

namespace spillway::api {
namespace {

v1::CreateKeyRequest CreateRequest(const std::string& name) {
  v1::CreateKeyRequest request;
  request.mutable_key()->set_name(name);
  return request;
}

v1::RotateKeyRequest RotateRequest(const std::string& name, int64_t grace_ms) {
  v1::RotateKeyRequest request;
  request.set_name(name);
  request.set_grace_ms(grace_ms);
  return request;
}

v1::RevokeKeyRequest RevokeRequest(const std::string& name) {
  v1::RevokeKeyRequest request;
  request.set_name(name);
  return request;
}

TEST_CASE("a key's secret is shown once and only its digest is stored") {
  ApiWorld world;
  world.MustApply(kGateway);
  const v1::KeySecretResponse made = world.MustCreateKey("support-bot");
  CHECK(made.secret().starts_with("sk-sw-"));
  CHECK(made.secret().size() == 6 + 12 + 1 + 43);
  CHECK(made.revision() == 2);
  CHECK(made.key().team() == "support");
  CHECK(made.key().secrets(0).sha256().empty());

  const v1::Key stored = world.StoredKey("support-bot");
  CHECK(stored.declared());
  REQUIRE(stored.secrets_size() == 1);
  CHECK(stored.secrets(0).sha256() == AsBytes(Sha256(made.secret())));
  CHECK(made.secret().substr(6, 12) == stored.secrets(0).public_id());
  CHECK_FALSE(world.store->Find(v1::KIND_KEY, "support-bot")->bytes.contains(made.secret()));
}

TEST_CASE("creating a key that has a secret names keys rotate") {
  ApiWorld world;
  world.MustApply(kGateway);
  world.MustCreateKey("support-bot");
  const auto again = world.keys->Create(CreateRequest("support-bot"), "tester");
  REQUIRE_FALSE(again.has_value());
  CHECK(again.error().kind == Refusal::Kind::kAlreadyExists);
  CHECK(again.error().message.contains("keys rotate support-bot"));
  CHECK(world.revision() == 2);
}

TEST_CASE("an undeclared key takes what its operator chooses and nothing else") {
  ApiWorld world;
  world.MustApply(kGateway);
  v1::CreateKeyRequest request = CreateRequest("laptop");
  request.mutable_key()->set_team("support");
  request.mutable_key()->add_models("gpt-5-mini");
  request.mutable_key()->set_revoked(true);
  request.mutable_key()->set_declared(true);
  request.mutable_key()->add_secrets()->set_sha256(std::string(32, 'x'));
  REQUIRE(world.keys->Create(request, "tester").has_value());
  const v1::Key key = world.StoredKey("laptop");
  CHECK_FALSE(key.declared());
  CHECK_FALSE(key.revoked());
  CHECK(key.secrets_size() == 1);
  CHECK(key.secrets(0).sha256() != std::string(32, 'x'));
}

TEST_CASE("keys that do not hold together are refused") {
  ApiWorld world;
  world.MustApply(kGateway);
  v1::CreateKeyRequest request = CreateRequest("k");
  std::string field;
  SECTION("no name") {
    request.mutable_key()->clear_name();
    field = "name";
  }
  SECTION("a team that is not there") {
    request.mutable_key()->set_team("nobody");
    field = "team";
  }
  SECTION("a user of another team") {
    world.MustApply("teams: [{name: sales}]");
    request.mutable_key()->set_team("sales");
    request.mutable_key()->set_user("alice");
    field = "user";
  }
  SECTION("a route that is not there") {
    request.mutable_key()->add_routes("nobody");
    field = "routes[0]";
  }
  SECTION("a declared key with another team") {
    world.MustApply("teams: [{name: sales}]");
    request.mutable_key()->set_name("support-bot");
    request.mutable_key()->set_team("sales");
    field = "team";
  }
  const auto refused = world.keys->Create(request, "tester");
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().kind == Refusal::Kind::kInvalid);
  REQUIRE_FALSE(refused.error().violations.empty());
  CHECK(refused.error().violations[0].field() == field);
}

TEST_CASE("after a rotation the previous secret works until its grace is over") {
  ApiWorld world;
  world.MustApply(kGateway);
  const std::string first = world.MustCreateKey("support-bot").secret();
  const int64_t now_ms = world.clock.WallMs();
  const auto rotated = world.keys->Rotate(RotateRequest("support-bot", 60'000), "tester");
  REQUIRE(rotated.has_value());
  v1::Key key = world.StoredKey("support-bot");
  REQUIRE(key.secrets_size() == 2);
  CHECK(key.secrets(0).sha256() == AsBytes(Sha256(rotated->secret())));
  CHECK(key.secrets(0).not_after_ms() == 0);
  CHECK(key.secrets(1).sha256() == AsBytes(Sha256(first)));
  CHECK(key.secrets(1).not_after_ms() == now_ms + 60'000);

  SECTION("a second rotation does not lengthen the first one's grace") {
    world.clock.AdvanceMs(30'000);
    REQUIRE(world.keys->Rotate(RotateRequest("support-bot", 3'600'000), "tester").has_value());
    key = world.StoredKey("support-bot");
    REQUIRE(key.secrets_size() == 3);
    CHECK(key.secrets(2).not_after_ms() == now_ms + 60'000);
  }
  SECTION("a grace that is over is forgotten at the next rotation") {
    world.clock.AdvanceMs(60'000);
    REQUIRE(world.keys->Rotate(RotateRequest("support-bot", 1000), "tester").has_value());
    CHECK(world.StoredKey("support-bot").secrets_size() == 2);
  }
  SECTION("no grace ends every previous secret at once") {
    REQUIRE(world.keys->Rotate(RotateRequest("support-bot", 0), "tester").has_value());
    CHECK(world.StoredKey("support-bot").secrets_size() == 1);
  }
}

TEST_CASE("a rotation too many is refused: no secret ends before its promised time") {
  ApiWorld world;
  world.MustApply(kGateway);
  const std::string first = world.MustCreateKey("support-bot").secret();
  for (int i = 0; i < 3; ++i) {
    REQUIRE(world.keys->Rotate(RotateRequest("support-bot", 60'000), "tester").has_value());
  }
  const auto refused = world.keys->Rotate(RotateRequest("support-bot", 60'000), "tester");
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().kind == Refusal::Kind::kNotNow);
  CHECK(refused.error().message.contains("4 secrets that work"));
  CHECK(refused.error().message.contains("--grace 0s"));
  const v1::Key key = world.StoredKey("support-bot");
  REQUIRE(key.secrets_size() == 4);
  CHECK(key.secrets(3).sha256() == AsBytes(Sha256(first)));
  SECTION("until the oldest has ended") {
    world.clock.AdvanceMs(60'000);
    CHECK(world.keys->Rotate(RotateRequest("support-bot", 60'000), "tester").has_value());
  }
  SECTION("or all are ended") {
    CHECK(world.keys->Rotate(RotateRequest("support-bot", 0), "tester").has_value());
    CHECK(world.StoredKey("support-bot").secrets_size() == 1);
  }
}

TEST_CASE("revoking is for ever") {
  ApiWorld world;
  world.MustApply(kGateway);
  world.MustCreateKey("support-bot");
  const auto revoked = world.keys->Revoke(RevokeRequest("support-bot"), "tester");
  REQUIRE(revoked.has_value());
  CHECK(revoked->revision() == 3);
  const auto again = world.keys->Revoke(RevokeRequest("support-bot"), "tester");
  REQUIRE(again.has_value());
  CHECK(again->revision() == 3);
  CHECK(world.keys->Rotate(RotateRequest("support-bot", 0), "t").error().kind ==
        Refusal::Kind::kNotNow);
  CHECK(world.keys->Create(CreateRequest("support-bot"), "t").error().kind ==
        Refusal::Kind::kAlreadyExists);
}

TEST_CASE("keys that cannot be rotated or revoked") {
  ApiWorld world;
  world.MustApply(kGateway);
  CHECK(world.keys->Rotate(RotateRequest("nobody", 0), "t").error().kind ==
        Refusal::Kind::kNotFound);
  CHECK(world.keys->Revoke(RevokeRequest("nobody"), "t").error().kind == Refusal::Kind::kNotFound);
  const auto without = world.keys->Rotate(RotateRequest("support-bot", 0), "t");
  CHECK(without.error().kind == Refusal::Kind::kNotNow);
  CHECK(without.error().message.contains("keys create support-bot"));
  CHECK(world.keys->Rotate(RotateRequest("support-bot", -1), "t").error().kind ==
        Refusal::Kind::kInvalid);
}

TEST_CASE("keys are made from many threads, each in a revision of its own") {
  ApiWorld world;
  world.MustApply(kGateway);
  constexpr int kThreads = 4;
  constexpr int kEach = 10;
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  std::atomic<int> made{0};
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        const std::string name = "k" + std::to_string(t) + "-" + std::to_string(i);
        if (world.keys->Create(CreateRequest(name), "t")) ++made;
        v1::ListRequest list;
        list.set_kind(v1::KIND_KEY);
        if (!world.config->List(list)) made = -1000;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(made == kThreads * kEach);
  CHECK(world.revision() == 1 + kThreads * kEach);
}

// 100,000 keys in one transaction, past the API: each with a digest of its own.
void FillWithKeys(ApiWorld& world, int count) {
  const auto filled = world.store->Transact(1, 0, [&](const ConfigStore::State&) {
    ConfigChange change{.author = "tester", .summary = "many keys"};
    for (int i = 0; i < count; ++i) {
      v1::Resource resource;
      v1::Key& key = *resource.mutable_key();
      key.set_name("key-" + std::to_string(i));
      key.set_team("support");
      v1::KeySecret& secret = *key.add_secrets();
      secret.set_public_id("abcdefghijkl");
      secret.set_sha256(std::string(AsBytes(Sha256(std::to_string(i)))));
      change.upserts.push_back(config::ToEntry(resource));
    }
    return std::optional(std::move(change));
  });
  REQUIRE(filled.has_value());
}

TEST_CASE("changing one key costs the same beside 100,000 others") {
  ApiWorld world;
  world.MustApply(kGateway);
  FillWithKeys(world, 100'000);
  const auto timed = [](const char* what, const auto& call) {
    const auto begin = std::chrono::steady_clock::now();
    REQUIRE(call());
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    WARN(what << " beside 100,000 keys: " << took.count() << " ms");
  };
  timed("revoke", [&] { return world.keys->Revoke(RevokeRequest("key-5"), "t").has_value(); });
  timed("create", [&] { return world.keys->Create(CreateRequest("new"), "t").has_value(); });
  timed("rotate", [&] { return world.keys->Rotate(RotateRequest("new", 1), "t").has_value(); });
  timed("apply a team (whole check)",
        [&] { return world.Apply("teams: [{name: other}]").has_value(); });
}

}  // namespace
}  // namespace spillway::api
