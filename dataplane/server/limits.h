#pragma once

#include <cstdint>

#include "dataplane/server/head_parser.h"

namespace spillway {

// What one downstream connection may take. Times in milliseconds, sizes in bytes.
struct SessionLimits {
  HeadParser::Limits head = {};
  int64_t handshake_ms = 10'000;       // TLS
  int64_t header_ms = 10'000;          // from the first byte of a head to its last
  int64_t idle_ms = 75'000;            // between requests
  int64_t idle_draining_ms = 1'000;    // the same once the process drains: nobody was told
  int64_t body_window_ms = 10'000;     // in any such window of a body ...
  int64_t body_window_bytes = 10'240;  // ... at least this much must arrive
  int64_t write_stall_ms = 30'000;     // without progress of a reading client
  int64_t body_bytes_max = int64_t{32} * 1024 * 1024;
  int64_t skip_bytes_max =
      int64_t{64} * 1024;  // of a refused request's body, to keep the connection
};

}  // namespace spillway
