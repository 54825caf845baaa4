#include "controlplane/store/admin_tokens.h"

#include <algorithm>
#include <array>
#include <utility>

#include "common/crypto/key_file.h"
#include "common/crypto/sha256.h"
#include "common/ids.h"
#include "common/secret.h"

namespace spillway {
namespace {

constexpr size_t kTokensMax = 1'000;
constexpr size_t kTokenBytesMax = 512;
constexpr size_t kTokenDigestBytes = 32;
constexpr size_t kSecretBytesMin = 32;
constexpr size_t kPublicIdBytes = 12;
constexpr std::string_view kTokenPrefix = "sk-admin-";

Result<void> CheckNew(const std::string& name, v1::Role role, int64_t expires_at_ms,
                      int64_t now_ms) {
  if (!IsResourceName(name)) {
    return Fail(
        ErrorCode::kInvalidRequest,
        "a token's name is 1 to 128 characters of [a-zA-Z0-9._:/-], a letter or digit first",
        "name");
  }
  if (role != v1::ROLE_VIEWER && role != v1::ROLE_EDITOR && role != v1::ROLE_ADMIN) {
    return Fail(ErrorCode::kInvalidRequest, "the role is viewer, editor or admin", "role");
  }
  if (expires_at_ms != 0 && expires_at_ms <= now_ms) {
    return Fail(ErrorCode::kInvalidRequest, "the expiry date has passed already", "expires_at_ms");
  }
  return {};
}

std::string DigestOf(std::string_view secret) {
  const Sha256Digest digest = Sha256(secret);
  return std::string(AsBytes(digest));
}

}  // namespace

Result<std::unique_ptr<AdminTokens>> AdminTokens::Open(Store& store) {
  std::unique_ptr<AdminTokens> tokens(new AdminTokens(store));
  bool readable = true;
  const auto load = [&](std::string_view key, std::string_view value) {
    Record record;
    readable = value.size() >= kTokenDigestBytes;
    if (!readable) return false;
    record.sha256 = std::string(value.substr(0, kTokenDigestBytes));
    value.remove_prefix(kTokenDigestBytes);
    readable = record.token.ParseFromArray(value.data(), static_cast<int>(value.size()));
    if (readable) tokens->records_[std::string(key)] = std::move(record);
    return readable;
  };
  SW_CHECK(store.Scan(Table::kAdminTokens, "", "", load));
  if (!readable) return Fail(ErrorCode::kCorrupt, "store: an admin token's record cannot be read");
  return tokens;
}

Result<AdminTokens::Created> AdminTokens::Create(const std::string& name, v1::Role role,
                                                 int64_t expires_at_ms, int64_t now_ms) {
  SW_CHECK(CheckNew(name, role, expires_at_ms, now_ms));
  v1::AdminToken token;
  token.set_name(name);
  token.set_role(role);
  token.set_created_at_ms(now_ms);
  token.set_expires_at_ms(expires_at_ms);
  return Add(MintAdminToken(), std::move(token));
}

Result<AdminTokens::Created> AdminTokens::Add(NewSecret secret, v1::AdminToken token) {
  const std::string& name = token.name();
  const std::lock_guard lock(mutex_);
  if (records_.contains(name)) {
    return Fail(ErrorCode::kConflict, "there is an admin token named " + name + " already", "name");
  }
  if (records_.size() >= kTokensMax) {
    return Fail(ErrorCode::kInvalidRequest, "there are 1,000 admin tokens: revoke some");
  }
  token.set_public_id(secret.public_id);
  const std::string sha256 = DigestOf(secret.secret);
  WriteBatch batch;
  batch.Put(Table::kAdminTokens, name, sha256 + token.SerializeAsString());
  SW_CHECK(store_.Write(std::move(batch)));
  records_[name] = {.sha256 = sha256, .token = token};
  return Created{.token = std::move(token), .secret = std::move(secret.secret)};
}

Result<AdminTokens::Identity> AdminTokens::Verify(std::string_view token, int64_t now_ms) const {
  if (token.size() > kTokenBytesMax) token = {};
  const std::string digest = DigestOf(token);
  const std::lock_guard lock(mutex_);
  // All are compared, each in constant time: how long it takes says nothing about which matched.
  const Record* match = nullptr;
  for (const auto& [name, record] : records_) {
    if (ConstantTimeEquals(record.sha256, digest)) match = &record;
  }
  if (match == nullptr || !token.starts_with(kTokenPrefix)) {
    return Fail(ErrorCode::kInvalidApiKey, "the admin token is not known here");
  }
  const int64_t expires_at_ms = match->token.expires_at_ms();
  if (expires_at_ms != 0 && now_ms >= expires_at_ms) {
    return Fail(ErrorCode::kKeyExpired, "the admin token " + match->token.name() + " has expired");
  }
  return Identity{.name = match->token.name(), .role = match->token.role()};
}

std::vector<v1::AdminToken> AdminTokens::List() const {
  const std::lock_guard lock(mutex_);
  std::vector<v1::AdminToken> list;
  list.reserve(records_.size());
  for (const auto& [name, record] : records_) list.push_back(record.token);
  return list;
}

Result<void> AdminTokens::Revoke(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto found = records_.find(name);
  if (found == records_.end()) {
    return Fail(ErrorCode::kNotFound, "no admin token is named " + name, "name");
  }
  const auto lasting_admin = [](const v1::AdminToken& token) {
    return token.role() == v1::ROLE_ADMIN && token.expires_at_ms() == 0;
  };
  const auto lasting = std::ranges::count_if(
      records_, [&](const auto& entry) { return lasting_admin(entry.second.token); });
  if (lasting_admin(found->second.token) && lasting == 1) {
    return Fail(ErrorCode::kConflict,
                name + " is the last admin token that does not expire: make another one first");
  }
  WriteBatch batch;
  batch.Delete(Table::kAdminTokens, name);
  SW_CHECK(store_.Write(std::move(batch)));
  records_.erase(found);
  return {};
}

bool AdminTokens::empty() const {
  const std::lock_guard lock(mutex_);
  return records_.empty();
}

Result<bool> AdminTokens::Bootstrap(const std::string& path, int64_t now_ms) {
  if (!empty()) return false;
  NewSecret secret = MintAdminToken();
  // Written before it is stored: a crash between the two leaves a file that the next start takes.
  if (!KeyFileExists(path)) SW_CHECK(CreateKeyFile(path, secret.secret + "\n", 0600));
  SW_TRY(const Secret file, ReadKeyFile(path));
  std::string_view text = file.Reveal();
  text = text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
  if (!text.starts_with(kTokenPrefix) || text.size() < kTokenPrefix.size() + kSecretBytesMin ||
      text.size() > kTokenBytesMax) {
    return Fail(ErrorCode::kInvalidConfig,
                path + " holds no admin token: \"sk-admin-\" and at least 32 characters");
  }
  secret.secret = std::string(text);
  secret.public_id = secret.secret.substr(kTokenPrefix.size(), kPublicIdBytes);
  v1::AdminToken token;
  token.set_name("bootstrap");
  token.set_role(v1::ROLE_ADMIN);
  token.set_created_at_ms(now_ms);
  SW_CHECK(Add(std::move(secret), std::move(token)));
  return true;
}

Result<AdminTokens::Created> MintOffline(AdminTokens& tokens, int64_t now_ms) {
  return tokens.Create("offline-" + FastId().substr(0, 8), v1::ROLE_ADMIN, 0, now_ms);
}

}  // namespace spillway
