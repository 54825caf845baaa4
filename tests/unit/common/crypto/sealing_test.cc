#include "common/crypto/sealing.h"

#include <catch2/catch_all.hpp>
#include <set>

#include "tests/fakes/temp_folder.h"

namespace spillway {
namespace {

const std::string kPlace = SealPlace("provider", "openai", "main");

SealKey MakeKey(const TempFolder& folder, const std::string& name = "seal.key") {
  return SealKey::FromFile(folder.Path(name), /*create=*/true).value();
}

}  // namespace

TEST_CASE("what is sealed is unsealed at its place") {
  const TempFolder folder;
  const SealKey key = MakeKey(folder);
  for (const std::string& plaintext : {std::string("sk-secret"), std::string(),
                                       std::string(5000, 'x'), std::string("\0\xFF", 2)}) {
    const v1::SealedSecret sealed = key.Seal(plaintext, kPlace);
    CHECK(sealed.nonce().size() == 12);
    CHECK(sealed.ciphertext().size() == plaintext.size() + 16);
    CHECK(sealed.seal_key_id() == key.id());
    if (plaintext.size() > 4) CHECK_FALSE(sealed.ciphertext().contains(plaintext));
    CHECK(key.Unseal(sealed, kPlace).value().Reveal() == plaintext);
  }
}

TEST_CASE("a sealed value is bound to its place") {
  const TempFolder folder;
  const SealKey key = MakeKey(folder);
  const v1::SealedSecret sealed = key.Seal("sk-secret", kPlace);
  for (const std::string& place :
       {SealPlace("provider", "openai", "other"), SealPlace("provider", "azure", "main"),
        SealPlace("key", "openai", "main"), SealPlace("provider", "openaimain", ""),
        std::string()}) {
    const auto result = key.Unseal(sealed, place);
    REQUIRE_FALSE(result);
    CHECK(result.error().code == ErrorCode::kCorrupt);
  }
}

TEST_CASE("places cannot be mixed up by moving a border") {
  CHECK(SealPlace("a", "bc", "d") != SealPlace("a", "b", "cd"));
  CHECK(SealPlace("provider", "p", "c") == std::string("spillway/secret/v1\0provider\0p\0c", 31));
}

TEST_CASE("an altered sealed value is refused") {
  const TempFolder folder;
  const SealKey key = MakeKey(folder);
  const v1::SealedSecret good = key.Seal("sk-secret", kPlace);
  for (size_t i = 0; i < good.ciphertext().size(); ++i) {
    v1::SealedSecret bad = good;
    (*bad.mutable_ciphertext())[i] ^= 1;
    REQUIRE_FALSE(key.Unseal(bad, kPlace));
  }
  v1::SealedSecret bad = good;
  (*bad.mutable_nonce())[0] ^= 1;
  CHECK_FALSE(key.Unseal(bad, kPlace));
  bad = good;
  bad.mutable_nonce()->resize(11);
  CHECK_FALSE(key.Unseal(bad, kPlace));
  bad = good;
  bad.mutable_ciphertext()->resize(15);
  CHECK_FALSE(key.Unseal(bad, kPlace));
  CHECK_FALSE(key.Unseal(v1::SealedSecret(), kPlace));
}

TEST_CASE("another key cannot unseal") {
  const TempFolder folder;
  const SealKey key = MakeKey(folder);
  const SealKey other = MakeKey(folder, "other.key");
  REQUIRE(key.id() != other.id());
  v1::SealedSecret sealed = key.Seal("sk-secret", kPlace);
  CHECK(other.Unseal(sealed, kPlace).error().message.contains("another seal key"));
  sealed.set_seal_key_id(other.id());
  CHECK_FALSE(other.Unseal(sealed, kPlace));
}

TEST_CASE("nonces never repeat") {
  const TempFolder folder;
  const SealKey key = MakeKey(folder);
  std::set<std::string> nonces;
  for (int i = 0; i < 1'000; ++i) REQUIRE(nonces.insert(key.Seal("x", kPlace).nonce()).second);
}

TEST_CASE("a seal key is made once, private, and read again") {
  const TempFolder folder;
  const SealKey made = MakeKey(folder);
  CHECK(folder.Mode("seal.key") == 0600);
  CHECK(folder.Read("seal.key").size() == 65);
  const SealKey again = SealKey::FromFile(folder.Path("seal.key"), /*create=*/false).value();
  CHECK(again.id() == made.id());
  CHECK(again.Unseal(made.Seal("x", kPlace), kPlace).value().Reveal() == "x");
}

TEST_CASE("a bad seal key file is refused without repeating it") {
  const TempFolder folder;
  CHECK(SealKey::FromFile(folder.Path("absent"), false).error().code == ErrorCode::kUnavailable);
  for (const std::string& content :
       {std::string(), std::string(63, 'a'), std::string(66, 'a'), std::string(64, 'z'),
        std::string(32, 'a') + "\n" + std::string(32, 'a')}) {
    const auto result = SealKey::FromFile(folder.Write("bad", content), true);
    REQUIRE_FALSE(result);
    CHECK(result.error().code == ErrorCode::kCorrupt);
    CHECK_FALSE(result.error().message.contains("aaaa"));
  }
  CHECK(SealKey::FromFile(folder.Write("spaces", " " + std::string(64, 'A') + "\r\n"), false));
}

}  // namespace spillway
