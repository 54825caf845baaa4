#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <utility>
#include <vector>

#include "common/error.h"
#include "spillway/v1/admin.pb.h"

namespace spillway::api {

// Why the admin API did not do what it was asked: a value that becomes a gRPC status in exactly one
// place (admin_rpcs.cc). `message` is one line that a person can act on; it never holds a secret.
struct Refusal {
  enum class Kind : uint8_t {
    kInvalid,          // INVALID_ARGUMENT; `violations` say what and where
    kNotFound,         // NOT_FOUND
    kAlreadyExists,    // ALREADY_EXISTS
    kNotNow,           // FAILED_PRECONDITION: the state, not the request, is in the way
    kUnauthenticated,  // UNAUTHENTICATED
    kDenied,           // PERMISSION_DENIED
    kUnavailable,      // UNAVAILABLE: trying again may help
    kInternal,         // INTERNAL
  };
  Kind kind = Kind::kInternal;
  std::string message;
  std::vector<v1::Violation> violations = {};

  Refusal(Kind k, std::string m, std::vector<v1::Violation> v = {})
      : kind(k), message(std::move(m)), violations(std::move(v)) {}
  // Implicit, so that SW_TRY passes the errors of the layers below on.
  Refusal(Error error);  // NOLINT(google-explicit-constructor)
};

template <typename T>
using Outcome = std::expected<T, Refusal>;

inline std::unexpected<Refusal> Refuse(Refusal::Kind kind, std::string message) {
  return std::unexpected(Refusal(kind, std::move(message)));
}
// kInvalid with a message that sums the violations up; never called with none.
std::unexpected<Refusal> RefuseInvalid(std::vector<v1::Violation> violations);
v1::Violation MakeViolation(std::string resource, std::string field, std::string value,
                            std::string allowed);

}  // namespace spillway::api
