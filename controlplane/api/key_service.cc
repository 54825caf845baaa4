#include "controlplane/api/key_service.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "common/config/resource.h"
#include "common/crypto/sha256.h"
#include "common/ids.h"
#include "common/utc.h"
#include "controlplane/api/change_set.h"

namespace spillway::api {
namespace {

constexpr int64_t kGraceMsMax = int64_t{366} * 24 * 3600 * 1000;
constexpr int kSecretsMax = 4;  // the current one and those whose grace has not ended

using State = ConfigStore::State;

std::string PlaceOfKey(const std::string& name) { return PlaceOf(v1::KIND_KEY, name); }

Outcome<std::optional<v1::Key>> FindKey(const State& state, const std::string& name) {
  const auto it = state.find({v1::KIND_KEY, name});
  if (it == state.end()) return std::nullopt;
  SW_TRY(const v1::Resource resource, ParseStored(it->first, it->second.bytes));
  return resource.key();
}

Outcome<v1::Key> NeedKey(const State& state, const std::string& name) {
  SW_TRY(std::optional<v1::Key> key, FindKey(state, name));
  if (!key) return Refuse(Refusal::Kind::kNotFound, "there is no " + PlaceOfKey(name));
  return *std::move(key);
}

Outcome<ChangeSet> Changed(const State& state, const v1::Key& key) {
  ChangeSet set(state);
  v1::Resource resource;
  *resource.mutable_key() = key;
  SW_CHECK(set.Put(resource));
  return set;
}

v1::KeySecret Stored(const NewSecret& minted) {
  v1::KeySecret secret;
  secret.set_public_id(minted.public_id);
  secret.set_sha256(std::string(AsBytes(Sha256(minted.secret))));
  return secret;
}

// Only what an operator may choose.
v1::Key Chosen(const v1::Key& request) {
  v1::Key key = request;
  key.clear_revoked();
  key.clear_secrets();
  key.clear_secret_reference();
  key.clear_declared();
  return key;
}

// The fields of `request` that are set must be as declared; else the file and the key would differ.
std::vector<v1::Violation> DifferencesFromDeclared(const v1::Key& request,
                                                   const v1::Key& declared) {
  std::vector<v1::Violation> violations;
  const auto check = [&](const char* field, const std::string& wanted, const std::string& is) {
    if (wanted.empty() || wanted == is) return;
    violations.push_back(MakeViolation(PlaceOfKey(declared.name()), field, wanted,
                                       "must be absent or as declared (" + is + ")"));
  };
  check("team", request.team(), declared.team());
  check("user", request.user(), declared.user());
  check("organization", request.organization(), declared.organization());
  check("feature", request.feature(), declared.feature());
  const auto check_list = [&](const char* field, const auto& wanted, const auto& is) {
    if (wanted.empty() || std::ranges::equal(wanted, is)) return;
    violations.push_back(MakeViolation(PlaceOfKey(declared.name()), field, wanted[0],
                                       "must be absent or as declared"));
  };
  check_list("routes", request.routes(), declared.routes());
  check_list("models", request.models(), declared.models());
  if (request.expires_at_ms() != 0 && request.expires_at_ms() != declared.expires_at_ms()) {
    violations.push_back(MakeViolation(PlaceOfKey(declared.name()), "expires",
                                       std::to_string(request.expires_at_ms()),
                                       "must be absent or as declared"));
  }
  return violations;
}

Outcome<v1::Key> KeyToMint(const State& state, const v1::Key& request) {
  SW_TRY(std::optional<v1::Key> stored, FindKey(state, request.name()));
  if (!stored) return Chosen(request);
  if (stored->revoked()) {
    return Refuse(Refusal::Kind::kAlreadyExists,
                  PlaceOfKey(request.name()) +
                      " was revoked, which is for ever; create a key of another name");
  }
  if (stored->secrets_size() != 0) {
    return Refuse(Refusal::Kind::kAlreadyExists,
                  PlaceOfKey(request.name()) + " has a secret already; `spillway keys rotate " +
                      request.name() + "` makes a new one");
  }
  std::vector<v1::Violation> violations = DifferencesFromDeclared(request, *stored);
  if (!violations.empty()) return RefuseInvalid(std::move(violations));
  return *std::move(stored);
}

Outcome<void> MayRotate(const v1::Key& key) {
  if (key.revoked()) {
    return Refuse(Refusal::Kind::kNotNow,
                  PlaceOfKey(key.name()) + " is revoked, which is for ever");
  }
  if (key.secrets_size() == 0) {
    return Refuse(Refusal::Kind::kNotNow, PlaceOfKey(key.name()) +
                                              " has no secret yet; `spillway keys create " +
                                              key.name() + "` makes it");
  }
  return {};
}

// The new one first; the former ones as long as their own and this grace allow. kNotNow when that
// would be too many: none that was promised to work is ended before its time.
Outcome<void> PutInFront(v1::Key& key, const NewSecret& minted, int64_t now_ms, int64_t grace_ms) {
  const std::vector<v1::KeySecret> former(key.secrets().begin(), key.secrets().end());
  key.clear_secrets();
  *key.add_secrets() = Stored(minted);
  for (const v1::KeySecret& secret : former) {
    const int64_t own_end = secret.not_after_ms() == 0 ? INT64_MAX : secret.not_after_ms();
    const int64_t end = std::min(own_end, now_ms + grace_ms);
    if (end <= now_ms) continue;
    v1::KeySecret& kept = *key.add_secrets();
    kept = secret;
    kept.set_not_after_ms(end);
  }
  if (key.secrets_size() <= kSecretsMax) return {};
  return Refuse(Refusal::Kind::kNotNow,
                PlaceOfKey(key.name()) + " has " + std::to_string(former.size()) +
                    " secrets that work, the oldest until " +
                    FormatUtc(former.back().not_after_ms()) +
                    ": rotate again then, or with `--grace 0s`, which ends them all at once");
}

v1::KeySecretResponse Answer(const v1::Key& key, const NewSecret& minted, int64_t revision) {
  v1::Resource resource;
  *resource.mutable_key() = key;
  v1::KeySecretResponse response;
  *response.mutable_key() = config::Redacted(std::move(resource)).key();
  response.set_secret(minted.secret);
  response.set_revision(revision);
  return response;
}

}  // namespace

Outcome<v1::KeySecretResponse> KeyService::Create(const v1::CreateKeyRequest& request,
                                                  const std::string& author) {
  const NewSecret minted = MintApiKey();
  v1::Key created;
  SW_TRY(const v1::ApplyResponse applied,
         writer_.Commit({.author = author,
                         .summary = "created a secret of " + PlaceOfKey(request.key().name())},
                        [&](const State& state) -> Outcome<ChangeSet> {
                          SW_TRY(created, KeyToMint(state, request.key()));
                          *created.add_secrets() = Stored(minted);
                          return Changed(state, created);
                        }));
  return Answer(created, minted, applied.revision());
}

Outcome<v1::KeySecretResponse> KeyService::Rotate(const v1::RotateKeyRequest& request,
                                                  const std::string& author) {
  if (request.grace_ms() < 0 || request.grace_ms() > kGraceMsMax) {
    return RefuseInvalid(
        {MakeViolation(PlaceOfKey(request.name()), "grace_ms", std::to_string(request.grace_ms()),
                       "must be 0 to 366 days")});
  }
  const NewSecret minted = MintApiKey();
  v1::Key rotated;
  SW_TRY(
      const v1::ApplyResponse applied,
      writer_.Commit({.author = author, .summary = "rotated " + PlaceOfKey(request.name())},
                     [&](const State& state) -> Outcome<ChangeSet> {
                       SW_TRY(rotated, NeedKey(state, request.name()));
                       SW_CHECK(MayRotate(rotated));
                       SW_CHECK(PutInFront(rotated, minted, clock_.WallMs(), request.grace_ms()));
                       return Changed(state, rotated);
                     }));
  return Answer(rotated, minted, applied.revision());
}

Outcome<v1::ApplyResponse> KeyService::Revoke(const v1::RevokeKeyRequest& request,
                                              const std::string& author) {
  return writer_.Commit({.author = author, .summary = "revoked " + PlaceOfKey(request.name())},
                        [&](const State& state) -> Outcome<ChangeSet> {
                          SW_TRY(v1::Key key, NeedKey(state, request.name()));
                          key.set_revoked(true);
                          return Changed(state, key);
                        });
}

}  // namespace spillway::api
