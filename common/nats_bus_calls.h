#pragma once

#include <nats/nats.h>

#include <cstdint>

namespace spillway {

// What the JetStream calls of nats_bus*.cc have in common.

inline constexpr int64_t kJetStreamWaitMs = 5'000;

inline jsOptions Waiting(int64_t wait_ms = kJetStreamWaitMs) {
  jsOptions options;
  jsOptions_Init(&options);
  options.Wait = wait_ms;
  return options;
}

struct FreeMessage {
  void operator()(natsMsg* message) const { natsMsg_Destroy(message); }
};

}  // namespace spillway
