#include "common/crypto/state_digest.h"

#include <bit>
#include <cstring>

#include "common/crypto/sha256.h"

namespace spillway {
namespace {

static_assert(std::endian::native == std::endian::little, "words are copied as they lie");
using Words = std::array<uint64_t, 4>;

std::string_view LengthOf(uint32_t& storage, size_t value) {
  storage = static_cast<uint32_t>(value);
  return {reinterpret_cast<const char*>(&storage), sizeof(storage)};
}

Words HashOf(v1::Kind kind, std::string_view name, std::string_view bytes) {
  uint32_t kind_word = 0;
  uint32_t name_word = 0;
  uint32_t bytes_word = 0;
  const Sha256Digest digest =
      Sha256Parts({LengthOf(kind_word, static_cast<size_t>(kind)), LengthOf(name_word, name.size()),
                   name, LengthOf(bytes_word, bytes.size()), bytes});
  return std::bit_cast<Words>(digest);
}

}  // namespace

void StateDigest::Add(v1::Kind kind, std::string_view name, std::string_view bytes) {
  const Words hash = HashOf(kind, name, bytes);
  unsigned __int128 carry = 0;
  for (size_t i = 0; i < words_.size(); ++i) {
    carry += static_cast<unsigned __int128>(words_[i]) + hash[i];
    words_[i] = static_cast<uint64_t>(carry);
    carry >>= 64;
  }
}

void StateDigest::Subtract(v1::Kind kind, std::string_view name, std::string_view bytes) {
  const Words hash = HashOf(kind, name, bytes);
  bool borrow = false;
  for (size_t i = 0; i < words_.size(); ++i) {
    const auto taken = static_cast<unsigned __int128>(hash[i]) + (borrow ? 1 : 0);
    borrow = taken > words_[i];
    words_[i] -= static_cast<uint64_t>(taken);
  }
}

std::string StateDigest::Bytes() const {
  return {reinterpret_cast<const char*>(words_.data()), sizeof(words_)};
}

StateDigest StateDigest::FromBytes(std::string_view bytes) {
  StateDigest digest;
  std::memcpy(digest.words_.data(), bytes.data(), std::min(bytes.size(), sizeof(digest.words_)));
  return digest;
}

}  // namespace spillway
