#pragma once

#include <string>

#include "common/clock.h"
#include "controlplane/api/config_writer.h"
#include "controlplane/api/refusal.h"
#include "spillway/v1/admin.pb.h"

namespace spillway::api {

// Clients' API keys. A secret is minted here, returned once, and only its digest and public id are
// stored. Each call changes one key and costs the same whatever else is stored. Thread-safe.
class KeyService {
 public:
  KeyService(ConfigWriter& writer, const Clock& clock) : writer_(writer), clock_(clock) {}

  // Mints the first secret: of a key that a file declares (name only), or of a new one. A key that
  // has a secret is kAlreadyExists.
  Outcome<v1::KeySecretResponse> Create(const v1::CreateKeyRequest& request,
                                        const std::string& author);
  // A new secret; the ones before work until `grace_ms` is over, not at all when it is 0.
  Outcome<v1::KeySecretResponse> Rotate(const v1::RotateKeyRequest& request,
                                        const std::string& author);
  // For ever. Revoking again changes nothing.
  Outcome<v1::ApplyResponse> Revoke(const v1::RevokeKeyRequest& request, const std::string& author);

 private:
  ConfigWriter& writer_;
  const Clock& clock_;
};

}  // namespace spillway::api
