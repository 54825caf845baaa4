#pragma once

#include <string>
#include <string_view>

#include "common/error.h"
#include "common/secret.h"
#include "spillway/v1/resources.pb.h"

namespace spillway {

// AES-256-GCM under the seal key both planes hold: resources.proto, SealedSecret. The key file
// holds 64 hex digits. Immutable, thread-safe.
class SealKey {
 public:
  // Reads; when absent and `create`, makes one with mode 0600.
  static Result<SealKey> FromFile(const std::string& path, bool create);
  // `place` is what the sealed value is bound to: SealPlace(...).
  v1::SealedSecret Seal(std::string_view plaintext, std::string_view place) const;
  // kCorrupt when it was sealed under another key, for another place, or was altered.
  Result<Secret> Unseal(const v1::SealedSecret& sealed, std::string_view place) const;
  const std::string& id() const { return id_; }

 private:
  Secret key_;  // 32 bytes
  std::string id_;
};

// "provider" + name + credential name, as additional data.
std::string SealPlace(std::string_view owner_kind, std::string_view owner,
                      std::string_view credential);

}  // namespace spillway
