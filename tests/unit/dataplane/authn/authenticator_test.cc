#include "dataplane/authn/authenticator.h"

#include <catch2/catch_all.hpp>
#include <random>

#include "common/config/resource.h"
#include "common/crypto/sha256.h"
#include "common/ids.h"
#include "dataplane/snapshot/build.h"

namespace spillway {
namespace {

constexpr int64_t kNow = 1'800'000'000'000;

v1::KeySecret SecretOf(std::string_view secret, int64_t not_after_ms = 0) {
  v1::KeySecret stored;
  stored.set_sha256(std::string(AsBytes(Sha256(secret))));
  stored.set_not_after_ms(not_after_ms);
  return stored;
}

SnapshotPtr KeysOf(const std::vector<v1::Key>& keys) {
  std::vector<v1::Entry> entries;
  for (const v1::Key& key : keys) {
    v1::Resource resource;
    *resource.mutable_key() = key;
    entries.push_back(config::ToEntry(resource));
  }
  std::vector<EntryView> views;
  views.reserve(entries.size());
  for (const v1::Entry& entry : entries)
    views.push_back({.kind = entry.kind(), .name = entry.name(), .bytes = entry.bytes()});
  return Build(views, v1::Position(), {.secrets = {}, .limits = {}, .compute_digest = true})
      .value();
}

v1::Key KeyNamed(const std::string& name, const v1::KeySecret& secret) {
  v1::Key key;
  key.set_name(name);
  *key.add_secrets() = secret;
  return key;
}

RequestHead HeadWith(std::vector<Header> headers) {
  RequestHead head;
  head.headers = std::move(headers);
  return head;
}

const std::string kMinted = "sk-sw-abcdefghijkl-" + std::string(43, 'Z');

TEST_CASE("a request is its key's, whichever header carries it") {
  const SnapshotPtr snapshot =
      KeysOf({KeyNamed("minted", SecretOf(kMinted)), KeyNamed("plain", SecretOf("any text"))});
  const std::string bearer = "Bearer " + kMinted;
  const std::string lower = "bearer   " + kMinted;
  struct Row {
    std::string_view name;
    std::vector<Header> headers;
    std::string_view want;
  };
  const std::vector<Row> rows = {
      {"authorization", {{"Authorization", bearer}}, "minted"},
      {"scheme and name in any case", {{"AUTHORIZATION", lower}}, "minted"},
      {"x-api-key", {{"x-api-key", kMinted}}, "minted"},
      {"x-goog-api-key", {{"X-Goog-Api-Key", kMinted}}, "minted"},
      {"api-key", {{"api-key", kMinted}}, "minted"},
      {"a secret of another form", {{"Authorization", "Bearer any text"}}, "plain"},
      {"the same key twice", {{"Authorization", bearer}, {"x-api-key", kMinted}}, "minted"},
      {"an empty second one", {{"Authorization", bearer}, {"x-api-key", ""}}, "minted"},
      {"another scheme beside it",
       {{"Authorization", "Basic abc"}, {"x-api-key", kMinted}},
       "minted"},
      {"other headers", {{"content-type", "x"}, {"x-api-key", kMinted}, {"cookie", "y"}}, "minted"},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    const auto caller = Authenticator::Authenticate(HeadWith(row.headers), *snapshot, kNow);
    if (!caller) FAIL(caller.error().message);
    CHECK(caller->key().name == row.want);
  }
}

TEST_CASE("what is no good key is refused, and no secret is repeated") {
  const std::string other = "sk-sw-mnopqrstuvwx-" + std::string(43, 'Y');
  const std::string rotated = "sk-sw-yzyzyzyzyzyz-" + std::string(43, 'X');
  v1::Key revoked = KeyNamed("revoked", SecretOf("secret-revoked"));
  revoked.set_revoked(true);
  v1::Key expired = KeyNamed("expired", SecretOf("secret-expired"));
  expired.set_expires_at_ms(kNow);
  v1::Key grace = KeyNamed("grace", SecretOf("secret-new"));
  *grace.add_secrets() = SecretOf(rotated, kNow);
  const SnapshotPtr snapshot =
      KeysOf({KeyNamed("minted", SecretOf(kMinted)), revoked, expired, grace});
  const std::string bearer = "Bearer " + kMinted;
  const std::string longer = kMinted + "Z";
  const std::string long_key(513, 'k');
  const std::string long_bearer = "Bearer " + std::string(64 * 1024, 'k');
  struct Row {
    std::string_view name;
    std::vector<Header> headers;
    ErrorCode want;
    std::string_view says;
  };
  const std::vector<Row> rows = {
      {"nothing", {}, ErrorCode::kInvalidApiKey, "No API key was sent"},
      {"empty", {{"Authorization", "Bearer "}}, ErrorCode::kInvalidApiKey, "No API key was sent"},
      {"another scheme",
       {{"Authorization", "Basic c2VjcmV0"}},
       ErrorCode::kInvalidApiKey,
       "'Bearer YOUR_KEY'"},
      {"no scheme", {{"Authorization", kMinted}}, ErrorCode::kInvalidApiKey, "'Bearer YOUR_KEY'"},
      {"unknown, of our form",
       {{"x-api-key", other}},
       ErrorCode::kInvalidApiKey,
       "sk-sw-mnopqrstuvwx-..."},
      {"unknown, of no form",
       {{"x-api-key", "top-secret"}},
       ErrorCode::kInvalidApiKey,
       "The API key is not known"},
      {"one character more", {{"x-api-key", longer}}, ErrorCode::kInvalidApiKey, "not known"},
      {"too long", {{"x-api-key", long_key}}, ErrorCode::kInvalidApiKey, "too long"},
      {"far too long", {{"Authorization", long_bearer}}, ErrorCode::kInvalidApiKey, "too long"},
      {"NUL and quotes",
       {{"x-api-key", std::string_view("'\0\" OR 1=1", 10)}},
       ErrorCode::kInvalidApiKey,
       "not known"},
      {"two different ones",
       {{"Authorization", bearer}, {"x-api-key", other}},
       ErrorCode::kInvalidRequest,
       "two different API keys"},
      {"two different ones of one name",
       {{"x-api-key", kMinted}, {"x-api-key", other}},
       ErrorCode::kInvalidRequest,
       "two different API keys"},
      {"revoked", {{"x-api-key", "secret-revoked"}}, ErrorCode::kKeyRevoked, "revoked"},
      {"expired to the millisecond",
       {{"x-api-key", "secret-expired"}},
       ErrorCode::kKeyExpired,
       "expired"},
      {"grace period over",
       {{"x-api-key", rotated}},
       ErrorCode::kKeyExpired,
       "sk-sw-yzyzyzyzyzyz-..."},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    const auto caller = Authenticator::Authenticate(HeadWith(row.headers), *snapshot, kNow);
    REQUIRE_FALSE(caller);
    CHECK(InfoOf(caller.error().code).name == InfoOf(row.want).name);
    CHECK_THAT(caller.error().message, Catch::Matchers::ContainsSubstring(std::string(row.says)));
    for (const Header& header : row.headers) {
      if (header.value.size() > 12)
        CHECK(!caller.error().message.contains(header.value.substr(header.value.size() - 9)));
    }
  }
}

TEST_CASE("dates end keys at their moment, not before") {
  v1::Key key = KeyNamed("k", SecretOf("old-secret", kNow + 10));
  *key.add_secrets() = SecretOf("new-secret");
  key.set_expires_at_ms(kNow + 20);
  const SnapshotPtr snapshot = KeysOf({key});
  struct Row {
    std::string_view secret;
    int64_t at;
    bool want;
  };
  const auto row = GENERATE(values<Row>({{"old-secret", kNow, true},
                                         {"old-secret", kNow + 9, true},
                                         {"old-secret", kNow + 10, false},
                                         {"new-secret", kNow + 19, true},
                                         {"new-secret", kNow + 20, false}}));
  CHECK(Authenticator::Authenticate(HeadWith({{"api-key", row.secret}}), *snapshot, row.at)
            .has_value() == row.want);
}

TEST_CASE("random headers never authenticate") {
  const SnapshotPtr snapshot = KeysOf({KeyNamed("minted", SecretOf(kMinted))});
  std::mt19937 random(7);
  for (int i = 0; i < 2'000; ++i) {
    std::string value = i % 2 == 0 ? "Bearer " : "";
    const size_t size = random() % 700;
    for (size_t k = 0; k < size; ++k) value += static_cast<char>(random());
    const char* name = i % 3 == 0 ? "x-api-key" : "authorization";
    CHECK_FALSE(Authenticator::Authenticate(HeadWith({{name, value}}), *snapshot, kNow));
  }
  for (size_t at = 0; at < kMinted.size(); ++at) {
    std::string near = kMinted;
    near[at] = static_cast<char>(near[at] ^ 1);
    CHECK_FALSE(Authenticator::Authenticate(HeadWith({{"x-api-key", near}}), *snapshot, kNow));
  }
}

}  // namespace
}  // namespace spillway
