#pragma once

#include <cstdint>

#include "common/error.h"
#include "dataplane/exchange/caller.h"
#include "dataplane/exchange/request.h"
#include "dataplane/snapshot/snapshot.h"

namespace spillway {

// Turns headers into a Caller: Authorization: Bearer, x-api-key, x-goog-api-key or api-key. Two
// different credentials in one request are refused. Stateless; any thread.
class Authenticator {
 public:
  // kInvalidApiKey, kKeyExpired, kKeyRevoked. No message repeats any part of a secret but its
  // public id.
  static Result<Caller> Authenticate(const RequestHead& head, const Snapshot& snapshot,
                                     int64_t now_ms);
};

}  // namespace spillway
