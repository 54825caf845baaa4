#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/error.h"
#include "common/money.h"
#include "dataplane/dialect/openai.h"
#include "dataplane/exchange/request.h"
#include "dataplane/snapshot/snapshot.h"

namespace spillway {

// What all attempts of one request share: who calls, for what, and what it may cost. Holds specs,
// not the snapshot. Owned by the serving coroutine.
struct Job {
  std::shared_ptr<const KeySpec> key;
  std::shared_ptr<const RouteSpec> route;
  openai::Request request;
  std::string_view body;  // as the client sent it; until it is released
  std::string user;       // attribution: the key's own, else what the client said
  std::string feature;
  TokenUsage estimate;  // before anything is known
  int64_t revision = 0;
  int64_t deadline_ns = 0;  // the client's own (x-spillway-timeout-ms); 0: none
};

// Fills user and feature: the key's own user cannot be overruled; then the header
// x-spillway-metadata, the body's metadata, the body's user. Names that are no names are dropped.
// kInvalidRequest when the header is no JSON object.
Result<void> Attribute(const RequestHead& head, Job& job);

// The client's x-spillway-timeout-ms; 0: none. kInvalidRequest when it is no positive number.
Result<int64_t> ClientTimeoutMs(const RequestHead& head);

}  // namespace spillway
