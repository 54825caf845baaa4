#include "dataplane/authn/authenticator.h"

#include <algorithm>
#include <array>
#include <format>
#include <optional>
#include <string>

#include "common/crypto/sha256.h"
#include "common/ids.h"

namespace spillway {
namespace {

// Longer than any key anybody made; bounds what is hashed for strangers.
constexpr size_t kCredentialBytesMax = 512;
constexpr std::string_view kBearer = "Bearer ";
constexpr std::array<std::string_view, 3> kKeyHeaders = {"x-api-key", "x-goog-api-key", "api-key"};

std::string_view WithoutSpace(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// The credential a header carries; empty when it carries none. nullopt: an Authorization header of
// a scheme that is not ours.
std::optional<std::string_view> CredentialIn(const Header& header) {
  if (EqualsIgnoreCase(header.name, "authorization")) {
    const std::string_view value = header.value;
    if (value.size() < kBearer.size() ||
        !EqualsIgnoreCase(value.substr(0, kBearer.size()), kBearer))
      return std::nullopt;
    return WithoutSpace(value.substr(kBearer.size()));
  }
  const bool is_key = std::ranges::any_of(
      kKeyHeaders, [&](std::string_view name) { return EqualsIgnoreCase(header.name, name); });
  return is_key ? WithoutSpace(header.value) : std::string_view();
}

Result<std::string_view> FindCredential(const RequestHead& head) {
  std::string_view found;
  bool other_scheme = false;
  for (const Header& header : head.headers) {
    const auto credential = CredentialIn(header);
    other_scheme |= !credential.has_value();
    if (!credential || credential->empty() || *credential == found) continue;
    // Which of two would count is a guess, and guesses are how one key pays for another.
    if (!found.empty())
      return Fail(ErrorCode::kInvalidRequest,
                  "The request carries two different API keys. Send one.");
    found = *credential;
  }
  if (!found.empty()) return found;
  if (other_scheme) {
    return Fail(ErrorCode::kInvalidApiKey,
                "The Authorization header must have the form 'Bearer YOUR_KEY'.");
  }
  return Fail(ErrorCode::kInvalidApiKey,
              "No API key was sent. Send it in the header 'Authorization: Bearer YOUR_KEY'.");
}

// The key as messages may name it: its public characters, when it has the form of ours.
std::string Named(std::string_view credential) {
  const auto public_id = PublicIdOf(credential);
  return public_id ? std::format("The API key sk-sw-{}-...", *public_id)
                   : std::string("The API key");
}

}  // namespace

Result<Caller> Authenticator::Authenticate(const RequestHead& head, const Snapshot& snapshot,
                                           int64_t now_ms) {
  SW_TRY(const std::string_view credential, FindCredential(head));
  if (credential.size() > kCredentialBytesMax)
    return Fail(ErrorCode::kInvalidApiKey, "The API key is too long to be one.");
  const KeyMatch* match = snapshot.FindKey(Sha256(credential));
  if (match == nullptr) {
    return Fail(ErrorCode::kInvalidApiKey,
                Named(credential) + " is not known here. Check it, or ask for a new one.");
  }
  const KeySpec& key = *match->key;
  if (key.revoked) return Fail(ErrorCode::kKeyRevoked, Named(credential) + " has been revoked.");
  if (key.expires_at_ms != 0 && now_ms >= key.expires_at_ms)
    return Fail(ErrorCode::kKeyExpired, Named(credential) + " has expired.");
  if (match->not_after_ms != 0 && now_ms >= match->not_after_ms) {
    return Fail(
        ErrorCode::kKeyExpired,
        Named(credential) + " was replaced by a newer secret, and its grace period is over.");
  }
  return Caller(match->key);
}

}  // namespace spillway
