#pragma once

#include <cstdint>

namespace spillway {

// Bytes that the peer's TCP has acknowledged on this connection (the SYN counts as one); negative
// when the system does not say. Works on a connection that was reset.
int64_t AcknowledgedBytes(int fd);

}  // namespace spillway
