#include "controlplane/store/admin_tokens.h"

#include <sys/stat.h>

#include <catch2/catch_all.hpp>
#include <fstream>

#include "tests/fakes/nats_server.h"

namespace spillway {
namespace {

constexpr int64_t kNow = 1'800'000'000'000;

struct TokensFixture {
  TempFolder folder;
  std::unique_ptr<Store> store = Store::Open({.path = folder.path() + "/db"}).value();
  std::unique_ptr<AdminTokens> tokens = AdminTokens::Open(*store).value();
};

}  // namespace

TEST_CASE("a token is verified with its role, also after a reopen, until it expires") {
  TokensFixture fixture;
  const auto viewer = fixture.tokens->Create("ci", v1::ROLE_VIEWER, kNow + 1'000, kNow);
  const auto admin = fixture.tokens->Create("ops", v1::ROLE_ADMIN, 0, kNow);
  REQUIRE(viewer);
  REQUIRE(admin);
  CHECK(viewer->secret.starts_with("sk-admin-"));
  CHECK(viewer->secret.find(viewer->token.public_id()) != std::string::npos);
  fixture.tokens = AdminTokens::Open(*fixture.store).value();

  struct Row {
    const char* name;
    std::string token;
    int64_t now;
    std::string want_name;
    ErrorCode want_error;
  };
  std::string flipped = admin->secret;
  flipped.back() = flipped.back() == 'a' ? 'b' : 'a';
  const Row rows[] = {
      {"viewer", viewer->secret, kNow, "ci", {}},
      {"just before its end", viewer->secret, kNow + 999, "ci", {}},
      {"expired", viewer->secret, kNow + 1'000, "", ErrorCode::kKeyExpired},
      {"admin, much later", admin->secret, kNow * 2, "ops", {}},
      {"one character off", flipped, kNow, "", ErrorCode::kInvalidApiKey},
      {"cut", admin->secret.substr(0, 20), kNow, "", ErrorCode::kInvalidApiKey},
      {"longer", admin->secret + "x", kNow, "", ErrorCode::kInvalidApiKey},
      {"empty", "", kNow, "", ErrorCode::kInvalidApiKey},
      {"name only", "ops", kNow, "", ErrorCode::kInvalidApiKey},
      {"huge", std::string(1'000'000, 'x'), kNow, "", ErrorCode::kInvalidApiKey},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    const auto identity = fixture.tokens->Verify(row.token, row.now);
    REQUIRE(identity.has_value() == !row.want_name.empty());
    if (identity) {
      CHECK(identity->name == row.want_name);
    } else {
      CHECK(identity.error().code == row.want_error);
    }
  }
  CHECK(fixture.tokens->Verify(admin->secret, kNow)->role == v1::ROLE_ADMIN);
}

TEST_CASE("what no token may be") {
  TokensFixture fixture;
  REQUIRE(fixture.tokens->Create("taken", v1::ROLE_ADMIN, 0, kNow));
  struct Row {
    const char* name;
    v1::Role role;
    int64_t expires_at_ms;
    ErrorCode want;
  };
  const Row rows[] = {{"taken", v1::ROLE_VIEWER, 0, ErrorCode::kConflict},
                      {"", v1::ROLE_VIEWER, 0, ErrorCode::kInvalidRequest},
                      {"with space", v1::ROLE_VIEWER, 0, ErrorCode::kInvalidRequest},
                      {"no-role", v1::ROLE_UNSPECIFIED, 0, ErrorCode::kInvalidRequest},
                      {"odd-role", static_cast<v1::Role>(9), 0, ErrorCode::kInvalidRequest},
                      {"past", v1::ROLE_VIEWER, kNow, ErrorCode::kInvalidRequest}};
  for (const Row& row : rows) {
    INFO(row.name);
    const auto made = fixture.tokens->Create(row.name, row.role, row.expires_at_ms, kNow);
    REQUIRE_FALSE(made);
    CHECK(made.error().code == row.want);
  }
  CHECK(fixture.tokens->List().size() == 1);
}

TEST_CASE("a revoked token is dead, and the last lasting admin cannot be revoked") {
  TokensFixture fixture;
  const auto first = fixture.tokens->Create("first", v1::ROLE_ADMIN, 0, kNow).value();
  REQUIRE(fixture.tokens->Create("mortal", v1::ROLE_ADMIN, kNow + 5, kNow));
  CHECK(fixture.tokens->Revoke("nobody").error().code == ErrorCode::kNotFound);
  CHECK(fixture.tokens->Revoke("first").error().code == ErrorCode::kConflict);
  REQUIRE(fixture.tokens->Create("second", v1::ROLE_ADMIN, 0, kNow));
  REQUIRE(fixture.tokens->Revoke("first"));
  CHECK_FALSE(fixture.tokens->Verify(first.secret, kNow));
  fixture.tokens = AdminTokens::Open(*fixture.store).value();
  CHECK_FALSE(fixture.tokens->Verify(first.secret, kNow));
  CHECK(fixture.tokens->List().size() == 2);
}

TEST_CASE("no secret of a token is on disk") {
  TokensFixture fixture;
  const auto made = fixture.tokens->Create("ops", v1::ROLE_ADMIN, 0, kNow).value();
  bool found = false;
  REQUIRE(fixture.store->Scan(Table::kAdminTokens, "", "", [&](auto key, auto value) {
    const std::string row = std::string(key) + std::string(value);
    found = found || row.find(made.secret.substr(made.secret.size() - 20)) != std::string::npos;
    return true;
  }));
  CHECK_FALSE(found);
}

TEST_CASE("the first start writes one token to a private file, later ones do not") {
  TokensFixture fixture;
  const std::string path = fixture.folder.path() + "/admin.token";
  CHECK(fixture.tokens->Bootstrap(path, kNow).value() == true);
  struct stat info{};
  REQUIRE(stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  std::string secret;
  std::ifstream(path) >> secret;
  CHECK(fixture.tokens->Verify(secret, kNow)->role == v1::ROLE_ADMIN);
  CHECK(fixture.tokens->Bootstrap(path, kNow).value() == false);

  // An empty store takes the token that an operator put there.
  TokensFixture other;
  CHECK(other.tokens->Bootstrap(path, kNow).value() == true);
  CHECK(other.tokens->Verify(secret, kNow)->name == "bootstrap");

  TokensFixture third;
  for (const char* content :
       {"", "sk-admin-short", "nonsense of more than thirty-two characters"}) {
    INFO(content);
    const std::string bad = third.folder.path() + "/bad.token";
    std::ofstream(bad) << content;
    const auto refused = third.tokens->Bootstrap(bad, kNow);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::kInvalidConfig);
  }
  CHECK_FALSE(third.tokens->Bootstrap("/nonexistent/admin.token", kNow));
  CHECK(third.tokens->empty());
}

TEST_CASE("offline tokens have fresh names") {
  TokensFixture fixture;
  const auto one = MintOffline(*fixture.tokens, kNow).value();
  const auto two = MintOffline(*fixture.tokens, kNow).value();
  CHECK(one.token.name() != two.token.name());
  CHECK(fixture.tokens->Verify(two.secret, kNow)->role == v1::ROLE_ADMIN);
}

}  // namespace spillway
