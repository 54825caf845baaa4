#include "common/crypto/signing.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <array>
#include <cstdlib>

#include "common/crypto/key_file.h"
#include "common/crypto/sha256.h"

namespace spillway {
namespace {

constexpr size_t kPublicKeyBytes = 32;
constexpr size_t kSignatureBytes = 64;

template <auto kFree>
struct FreeWith {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using PKey = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, FreeWith<EVP_MD_CTX_free>>;
using Bio = std::unique_ptr<BIO, FreeWith<BIO_free_all>>;

// OpenSSL would otherwise ask the terminal for the password of an encrypted key.
int NoPassword(char*, int, int, void*) { return 0; }

std::string_view NameOf(v1::Signed::Purpose purpose) {
  switch (purpose) {
    case v1::Signed::PURPOSE_LATEST:
      return "latest";
    case v1::Signed::PURPOSE_DELTA:
      return "delta";
    case v1::Signed::PURPOSE_MANIFEST:
      return "manifest";
    case v1::Signed::PURPOSE_INSTRUCTION:
      return "instruction";
    case v1::Signed::PURPOSE_GRANT:
      return "grant";
    case v1::Signed::PURPOSE_SNAPSHOT_FILE:
      return "snapshot_file";
    case v1::Signed::PURPOSE_RECALL:
      return "recall";
    default:
      return "";
  }
}

std::string SignedText(v1::Signed::Purpose purpose, std::string_view payload) {
  const std::string_view name = NameOf(purpose);
  std::string text;
  text.reserve(payload.size() + name.size() + 16);
  text.append("spillway/").append(name).append("/v1").append(1, '\0').append(payload);
  return text;
}

const unsigned char* Unsigned(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::string KeyIdOf(const EVP_PKEY* key) {
  std::string raw(kPublicKeyBytes, '\0');
  size_t size = raw.size();
  if (EVP_PKEY_get_raw_public_key(key, reinterpret_cast<unsigned char*>(raw.data()), &size) != 1)
    return {};
  return HexOf(AsBytes(Sha256(raw))).substr(0, 16);
}

Bio ReadingFrom(std::string_view text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string TakeText(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<size_t>(size)};
}

std::string PublicPem(EVP_PKEY* key) {
  const Bio bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PUBKEY(bio.get(), key) != 1) return {};
  return TakeText(bio.get());
}

Secret PrivatePem(EVP_PKEY* key) {
  const Bio bio(BIO_new(BIO_s_secmem()));
  if (PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return {};
  return Secret(TakeText(bio.get()));
}

Result<PKey> OnlyEd25519(PKey key, const std::string& path, std::string_view half) {
  if (!key || EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_ED25519) {
    return Fail(ErrorCode::kCorrupt, path + ": must be an unencrypted Ed25519 " +
                                         std::string(half) + " key in PEM form");
  }
  return key;
}

Result<PKey> ReadPrivate(const std::string& path) {
  SW_TRY(const Secret text, ReadKeyFile(path));
  const Bio bio = ReadingFrom(text.Reveal());
  PKey key(PEM_read_bio_PrivateKey(bio.get(), nullptr, &NoPassword, nullptr));
  return OnlyEd25519(std::move(key), path, "private");
}

Result<void> CreatePrivate(const std::string& path) {
  const PKey key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  if (!key) return Fail(ErrorCode::kInternal, "OpenSSL made no Ed25519 key");
  const Secret pem = PrivatePem(key.get());
  if (pem.empty()) return Fail(ErrorCode::kInternal, "OpenSSL wrote no Ed25519 key");
  SW_CHECK(CreateKeyFile(path, pem.Reveal(), 0600));
  return {};
}

}  // namespace

struct Signer::Key {
  PKey pkey;
};
struct Verifier::Key {
  PKey pkey;
};

Result<Signer> Signer::FromFile(const std::string& path, bool create) {
  if (create && !KeyFileExists(path)) SW_CHECK(CreatePrivate(path));
  SW_TRY(PKey pkey, ReadPrivate(path));
  // Also when the private half was there already: a crash may have come between the two.
  if (create && !KeyFileExists(path + ".pub"))
    SW_CHECK(CreateKeyFile(path + ".pub", PublicPem(pkey.get()), 0644));
  Signer signer;
  signer.key_id_ = KeyIdOf(pkey.get());
  signer.key_ = std::make_shared<const Key>(std::move(pkey));
  return signer;
}

v1::Signed Signer::Sign(v1::Signed::Purpose purpose, std::string payload, bool zstd) const {
  const std::string text = SignedText(purpose, payload);
  std::string signature(kSignatureBytes, '\0');
  size_t size = signature.size();
  const DigestContext context(EVP_MD_CTX_new());
  if (NameOf(purpose).empty() ||
      EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_->pkey.get()) != 1 ||
      EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                     Unsigned(text), text.size()) != 1 ||
      size != kSignatureBytes) {
    std::abort();  // a purpose without a name, or no memory: nothing unsigned may leave
  }
  v1::Signed message;
  message.set_payload(std::move(payload));
  message.set_signature(std::move(signature));
  message.set_key_id(key_id_);
  message.set_purpose(purpose);
  message.set_zstd(zstd);
  return message;
}

Result<Verifier> Verifier::FromFile(const std::string& public_key_path) {
  SW_TRY(const Secret text, ReadKeyFile(public_key_path));
  const Bio bio = ReadingFrom(text.Reveal());
  SW_TRY(PKey pkey, OnlyEd25519(PKey(PEM_read_bio_PUBKEY(bio.get(), nullptr, &NoPassword, nullptr)),
                                public_key_path, "public"));
  Verifier verifier;
  verifier.key_id_ = KeyIdOf(pkey.get());
  verifier.key_ = std::make_shared<const Key>(std::move(pkey));
  return verifier;
}

Result<void> Verifier::Verify(const v1::Signed& message, v1::Signed::Purpose purpose) const {
  if (message.purpose() != purpose || NameOf(purpose).empty())
    return Fail(ErrorCode::kCorrupt, "the message was signed for another purpose");
  if (message.key_id() != key_id_) {
    return Fail(ErrorCode::kCorrupt, "the message was signed with another key than " + key_id_);
  }
  const std::string text = SignedText(purpose, message.payload());
  const DigestContext context(EVP_MD_CTX_new());
  if (message.signature().size() != kSignatureBytes ||
      EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key_->pkey.get()) != 1 ||
      EVP_DigestVerify(context.get(), Unsigned(message.signature()), message.signature().size(),
                       Unsigned(text), text.size()) != 1) {
    return Fail(ErrorCode::kCorrupt, "the message's signature is wrong");
  }
  return {};
}

}  // namespace spillway
