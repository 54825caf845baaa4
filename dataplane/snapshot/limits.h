#pragma once

#include <cstdint>

namespace spillway {

// Caps on what is accepted as configuration, however well it is signed. Checked before memory is
// taken: on the sizes a manifest or frame declares, and again while inflating.
struct SnapshotLimits {
  int64_t entries_max = 2'000'000;
  int64_t bytes_max = int64_t{1} << 30;             // one full state, inflated
  int64_t entry_bytes_max = int64_t{1} << 20;       // one resource
  int64_t compressed_bytes_max = int64_t{1} << 30;  // one full state, as it travels
  int64_t chunks_max = 16'384;
  int64_t message_bytes_max = int64_t{16} << 20;  // one message of the bus
  int64_t delta_bytes_max = int64_t{64} << 20;    // one delta, inflated
  int64_t gap_deltas_max = 1'024;                 // more are missing: a full snapshot is cheaper
  int64_t route_targets_max = 64;                 // kept of one route, fallbacks flattened
  int64_t route_fallbacks_max = 1'024;            // routes looked at for them
  int64_t targets_max = 4'000'000;                // of all routes together
  int64_t budgets_max = 100'000;
  int64_t rate_limits_max = 100'000;
};

}  // namespace spillway
