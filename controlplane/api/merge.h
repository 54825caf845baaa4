#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/crypto/sealing.h"
#include "spillway/v1/admin.pb.h"
#include "spillway/v1/resources.pb.h"

namespace spillway::api {

// What must be known of secrets for a merge to pass.
enum class SecretValues : uint8_t {
  kRequired,  // Apply: a new reference comes with its value
  kOptional,  // Diff and Validate: nothing is stored, values need not travel
};

struct Merged {
  v1::Resource resource;  // as it would be stored
  std::vector<v1::Violation> violations;
};

// What a file says, joined with what only the store knows.
// - Provider: values are sealed here; the same value as is stored keeps its sealed bytes, so that
//   applying a file again changes nothing; a credential without a value keeps the stored one. A
//   file that lists no credentials keeps those set by `spillway secrets set`.
// - Key: keeps its secrets, and a revocation: no file can take one back.
Merged MergeDeclared(v1::Resource declared, const std::optional<v1::Resource>& stored,
                     const SealKey& seal_key, SecretValues values);

// Seals `value` for one credential, or keeps what is stored when it is the same value. Returns true
// when something changed.
bool SealInto(v1::Credential& credential, const std::string& provider, std::string_view value,
              const SealKey& seal_key);

// How the reference of a secret that was set by command begins; the others are `${...}`.
inline constexpr std::string_view kSetByCommand = "set by ";

}  // namespace spillway::api
