#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "common/error.h"
#include "spillway/v1/snapshot.pb.h"

namespace spillway {

// Ed25519. Key files are PEM (PKCS#8 private, SubjectPublicKeyInfo public), as openssl writes them.
// Both classes are immutable and thread-safe.
class Signer {
 public:
  // Reads the private key; when the file is absent and `create`, makes a key: the private file with
  // mode 0600 and the public one beside it as PATH + ".pub".
  static Result<Signer> FromFile(const std::string& path, bool create);
  // Signs "spillway/" + purpose name + "/v1\0" + payload.
  v1::Signed Sign(v1::Signed::Purpose purpose, std::string payload, bool zstd = false) const;
  const std::string& key_id() const { return key_id_; }

 private:
  struct Key;
  std::shared_ptr<const Key> key_;  // shared: copies of a Signer use one OpenSSL key
  std::string key_id_;
};

class Verifier {
 public:
  static Result<Verifier> FromFile(const std::string& public_key_path);
  // kCorrupt when the purpose, the key id or the signature is wrong.
  Result<void> Verify(const v1::Signed& message, v1::Signed::Purpose purpose) const;

 private:
  struct Key;
  std::shared_ptr<const Key> key_;  // shared: as in Signer
  std::string key_id_;
};

}  // namespace spillway
