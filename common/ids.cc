#include "common/ids.h"

#include <sys/random.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace spillway {
namespace {

constexpr std::string_view kHex = "0123456789abcdef";
constexpr std::string_view kBase62 =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
constexpr size_t kPublicChars = 12;
constexpr size_t kSecretChars = 43;
constexpr std::string_view kApiKeyPrefix = "sk-sw-";
constexpr std::string_view kAdminPrefix = "sk-admin-";

bool IsAlphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

void FillFromKernel(void* out, size_t size) {
  auto* bytes = static_cast<char*>(out);
  while (size > 0) {
    const ssize_t got = getrandom(bytes, size, 0);
    if (got < 0) {
      if (errno == EINTR) continue;
      std::abort();  // without randomness no identity and no key can be made
    }
    bytes += got;
    size -= static_cast<size_t>(got);
  }
}

void WriteHex(char* out, uint64_t word) {
  for (int i = 15; i >= 0; --i, word >>= 4) out[i] = kHex[word & 0xF];
}

std::string HexId(uint64_t high, uint64_t low) {
  std::string id(32, '0');
  WriteHex(id.data(), high);
  WriteHex(id.data() + 16, low);
  return id;
}

// xoshiro256++: 256 bits of state, a few nanoseconds a word.
class FastGenerator {
 public:
  FastGenerator() { FillFromKernel(state_.data(), sizeof(state_)); }

  uint64_t Next() {
    const uint64_t result = std::rotl(state_[0] + state_[3], 23) + state_[0];
    const uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }

 private:
  std::array<uint64_t, 4> state_;
};

// Bytes of 248 and more are thrown away: 256 is no multiple of 62, and a plain remainder would make
// the first eight characters likelier.
std::string RandomBase62(size_t count) {
  std::string text;
  std::array<uint8_t, 64> bytes;
  while (text.size() < count) {
    FillFromKernel(bytes.data(), bytes.size());
    for (const uint8_t byte : bytes) {
      if (byte < 248 && text.size() < count) text += kBase62[byte % 62];
    }
  }
  explicit_bzero(bytes.data(), bytes.size());
  return text;
}

NewSecret Mint(std::string_view prefix) {
  NewSecret minted;
  minted.public_id = RandomBase62(kPublicChars);
  minted.secret.reserve(prefix.size() + kPublicChars + 1 + kSecretChars);
  minted.secret.append(prefix).append(minted.public_id).append("-");
  std::string tail = RandomBase62(kSecretChars);
  minted.secret.append(tail);
  explicit_bzero(tail.data(), tail.size());
  return minted;
}

}  // namespace

std::string FreshId() {
  std::array<uint64_t, 2> words;
  FillFromKernel(words.data(), sizeof(words));
  return HexId(words[0], words[1]);
}

std::string FastId() {
  thread_local FastGenerator generator;
  const uint64_t high = generator.Next();
  return HexId(high, generator.Next());
}

NewSecret MintApiKey() { return Mint(kApiKeyPrefix); }
NewSecret MintAdminToken() { return Mint(kAdminPrefix); }

std::optional<std::string_view> PublicIdOf(std::string_view secret) {
  for (const std::string_view prefix : {kApiKeyPrefix, kAdminPrefix}) {
    if (!secret.starts_with(prefix)) continue;
    const std::string_view rest = secret.substr(prefix.size());
    if (rest.size() != kPublicChars + 1 + kSecretChars || rest[kPublicChars] != '-') return {};
    const std::string_view public_id = rest.substr(0, kPublicChars);
    const std::string_view tail = rest.substr(kPublicChars + 1);
    if (std::ranges::all_of(public_id, IsAlphanumeric) && std::ranges::all_of(tail, IsAlphanumeric))
      return public_id;
  }
  return {};
}

bool IsResourceName(std::string_view name) {
  constexpr std::string_view kMarks = "._:/-";
  if (name.empty() || name.size() > 128 || !IsAlphanumeric(name.front())) return false;
  return std::ranges::all_of(name, [&](char c) { return IsAlphanumeric(c) || kMarks.contains(c); });
}

}  // namespace spillway
