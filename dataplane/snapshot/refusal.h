#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "common/error.h"

namespace spillway {

// Why a snapshot was refused, as a metric label.
enum class RefusalClass : uint8_t {
  kCorrupt,      // not to be read: format, checksum, chunk hash, digest
  kSignature,    // signed by nobody we know, or for another purpose
  kEpoch,        // an older epoch than one already seen
  kRevision,     // an older revision of the same epoch
  kCluster,      // another cluster's
  kOversized,    // above a cap
  kInvalid,      // signed and whole, but the configuration does not hold together
  kMissing,      // a part of it is not there
  kQuarantined,  // it crashed this process twice
};
inline constexpr int kRefusalClasses = 9;
std::string_view NameOf(RefusalClass refusal);

// An Error that remembers its class: `param` holds the class's name, `code` follows from it.
std::unexpected<Error> Refuse(RefusalClass refusal, std::string message);
// The class of any error of this module; one without a class is told by its code.
RefusalClass ClassOf(const Error& error);

}  // namespace spillway
