#pragma once

#include <cstdint>

#include "common/bus.h"
#include "common/error.h"

namespace spillway {

// Limits of the three streams that the control plane owns.
struct StreamLimits {
  int64_t usage_bytes_max = 8LL * 1024 * 1024 * 1024;
  int64_t config_bytes_max = 1LL * 1024 * 1024 * 1024;
};

StreamSpec ControlStream();
StreamSpec ConfigStream(const StreamLimits& limits);
// Limits retention and discard new: when it is full the data planes are told, and keep their
// journal.
StreamSpec UsageStream(const StreamLimits& limits);

// Creates what is missing and brings limits up to date. Idempotent.
Result<void> EnsureStreams(Bus& bus, const StreamLimits& limits);

}  // namespace spillway
