#pragma once

#include <cstddef>
#include <cstdint>

namespace spillway {

// What one non-blocking read, write or handshake step came to.
struct IoStep {
  enum class Kind : uint8_t {
    kBytes,      // `bytes` were moved, at least one (a handshake: it is complete)
    kWantRead,   // again, once the socket is readable
    kWantWrite,  // again, once it is writable
    kEnd,        // the peer ended its side in order
    kBroken,     // reset, or a protocol error
  };
  Kind kind = Kind::kBroken;
  size_t bytes = 0;
};

}  // namespace spillway
