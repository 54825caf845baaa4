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
// - Alert sink: its url and signing secret likewise.
// - Key: keeps its secrets, and a revocation: no file can take one back.
// - Budget: keeps its id, and with it what was spent, unless what it counts changes; keeps a freeze
//   and, when the file names none, a raise.
Merged MergeDeclared(v1::Resource declared, const std::optional<v1::Resource>& stored,
                     const SealKey& seal_key, SecretValues values);

// Seals `value` for one credential, or keeps what is stored when it is the same value. Returns true
// when something changed.
bool SealInto(v1::Credential& credential, const std::string& provider, std::string_view value,
              const SealKey& seal_key);

// Whether both count the same calls in the same windows: scope, window, hours and time zone.
bool CountsAlike(const v1::Budget& a, const v1::Budget& b);
// No file takes back what an operator did in a hurry: a freeze stays, and so does a raise where
// `budget` has none.
void KeepWhatOperatorsDid(v1::Budget& budget, const v1::Budget& stored);

// How the reference of a secret that was set by command begins; the others are `${...}`.
inline constexpr std::string_view kSetByCommand = "set by ";

}  // namespace spillway::api
