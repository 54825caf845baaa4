#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/error.h"
#include "dataplane/budgets/estimator.h"
#include "dataplane/dialect/openai.h"
#include "dataplane/exchange/request.h"
#include "dataplane/snapshot/snapshot.h"

namespace spillway {

// What all attempts of one request share: who calls, for what, and with which words. Holds specs,
// not the snapshot. Owned by the serving coroutine.
struct Job {
  std::shared_ptr<const KeySpec> key;
  openai::Request request;
  std::string_view body;  // as the client sent it; its bytes until it is released
  // Attribution (attribution.h).
  std::string user;
  std::string feature;
  std::vector<std::pair<std::string, std::string>> tags;  // sorted by name
  int64_t revision = 0;
  int64_t deadline_ns = 0;  // the client's own (x-spillway-timeout-ms); 0: none
};

// What the job costs depends on, at that model; views into both.
CallShape ShapeOf(const Job& job, const ModelSpec& model);

// The client's x-spillway-timeout-ms; 0: none. kInvalidRequest when it is no positive number.
Result<int64_t> ClientTimeoutMs(const RequestHead& head);

}  // namespace spillway
