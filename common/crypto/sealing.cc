#include "common/crypto/sealing.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <cstdlib>
#include <cstring>
#include <memory>

#include "common/crypto/key_file.h"
#include "common/crypto/sha256.h"

namespace spillway {
namespace {

constexpr int kKeyBytes = 32;
constexpr int kNonceBytes = 12;
constexpr int kTagBytes = 16;
// Far above any credential; keeps lengths inside OpenSSL's int.
constexpr size_t kSealedBytesMax = 1 << 20;

struct FreeContext {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, FreeContext>;

const EVP_CIPHER* Algorithm() {
  static const EVP_CIPHER* algorithm = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  return algorithm;
}

unsigned char* Bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }
const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::string RandomBytes(int count) {
  std::string bytes(static_cast<size_t>(count), '\0');
  if (RAND_bytes(Bytes(bytes), count) != 1) std::abort();  // a repeated nonce would break the key
  return bytes;
}

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  while (!text.empty() && kSpace.contains(text.back())) text.remove_suffix(1);
  while (!text.empty() && kSpace.contains(text.front())) text.remove_prefix(1);
  return text;
}

// `out` takes the ciphertext and the tag.
bool Encrypt(std::string_view key, std::string_view nonce, std::string_view place,
             std::string_view plaintext, std::string& out) {
  const CipherContext context(EVP_CIPHER_CTX_new());
  out.assign(plaintext.size() + kTagBytes, '\0');
  const int size = static_cast<int>(plaintext.size());
  int written = 0;
  return EVP_EncryptInit_ex2(context.get(), Algorithm(), Bytes(key), Bytes(nonce), nullptr) == 1 &&
         EVP_EncryptUpdate(context.get(), nullptr, &written, Bytes(place),
                           static_cast<int>(place.size())) == 1 &&
         EVP_EncryptUpdate(context.get(), Bytes(out), &written, Bytes(plaintext), size) == 1 &&
         EVP_EncryptFinal_ex(context.get(), Bytes(out) + written, &written) == 1 &&
         EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, kTagBytes, Bytes(out) + size) ==
             1;
}

bool Decrypt(std::string_view key, std::string_view nonce, std::string_view place,
             std::string_view sealed, std::string& out) {
  const CipherContext context(EVP_CIPHER_CTX_new());
  std::string tag(sealed.substr(sealed.size() - kTagBytes));
  const std::string_view ciphertext = sealed.substr(0, sealed.size() - kTagBytes);
  out.assign(ciphertext.size(), '\0');
  int written = 0;
  return EVP_DecryptInit_ex2(context.get(), Algorithm(), Bytes(key), Bytes(nonce), nullptr) == 1 &&
         EVP_DecryptUpdate(context.get(), nullptr, &written, Bytes(place),
                           static_cast<int>(place.size())) == 1 &&
         EVP_DecryptUpdate(context.get(), Bytes(out), &written, Bytes(ciphertext),
                           static_cast<int>(ciphertext.size())) == 1 &&
         EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, kTagBytes, Bytes(tag)) == 1 &&
         EVP_DecryptFinal_ex(context.get(), Bytes(out) + written, &written) == 1;
}

}  // namespace

Result<SealKey> SealKey::FromFile(const std::string& path, bool create) {
  if (create && !KeyFileExists(path)) {
    const Secret fresh(RandomBytes(kKeyBytes));
    const Secret line(HexOf(fresh.Reveal()) + "\n");
    SW_CHECK(CreateKeyFile(path, line.Reveal(), 0600));
  }
  SW_TRY(const Secret text, ReadKeyFile(path));
  auto key = BytesOfHex(Trimmed(text.Reveal()));
  if (!key || key->size() != kKeyBytes)
    return Fail(ErrorCode::kCorrupt, path + ": must hold 64 hex digits and nothing else");
  SealKey seal_key;
  seal_key.id_ = HexOf(AsBytes(Sha256(*key))).substr(0, 16);
  seal_key.key_ = Secret(*std::move(key));
  return seal_key;
}

v1::SealedSecret SealKey::Seal(std::string_view plaintext, std::string_view place) const {
  v1::SealedSecret sealed;
  sealed.set_seal_key_id(id_);
  sealed.set_nonce(RandomBytes(kNonceBytes));
  if (plaintext.size() > kSealedBytesMax || place.size() > kSealedBytesMax ||
      !Encrypt(key_.Reveal(), sealed.nonce(), place, plaintext, *sealed.mutable_ciphertext())) {
    std::abort();  // a credential is small and OpenSSL has AES: nothing may be stored in clear
  }
  return sealed;
}

Result<Secret> SealKey::Unseal(const v1::SealedSecret& sealed, std::string_view place) const {
  if (sealed.seal_key_id() != id_) {
    return Fail(ErrorCode::kCorrupt, "the secret was sealed with another seal key than " + id_);
  }
  std::string plaintext;
  if (sealed.nonce().size() != kNonceBytes || sealed.ciphertext().size() < kTagBytes ||
      sealed.ciphertext().size() > kSealedBytesMax + kTagBytes || place.size() > kSealedBytesMax ||
      !Decrypt(key_.Reveal(), sealed.nonce(), place, sealed.ciphertext(), plaintext)) {
    explicit_bzero(plaintext.data(), plaintext.size());
    return Fail(ErrorCode::kCorrupt, "the sealed secret was altered or belongs to another place");
  }
  return Secret(std::move(plaintext));
}

std::string SealPlace(std::string_view owner_kind, std::string_view owner,
                      std::string_view credential) {
  constexpr std::string_view kDomain("spillway/secret/v1\0", 19);
  std::string place(kDomain);
  place.append(owner_kind).append(1, '\0').append(owner).append(1, '\0').append(credential);
  return place;
}

}  // namespace spillway
