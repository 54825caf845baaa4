#pragma once

#include "common/bus.h"
#include "common/crypto/signing.h"
#include "common/error.h"
#include "controlplane/publish/epoch.h"
#include "spillway/v1/usage.pb.h"

namespace spillway {

// The control plane's word to one data plane, signed, on core NATS: it may be lost, so its sender
// repeats what matters. Thread-safe.
class Instructions {
 public:
  Instructions(Bus& bus, const Signer& signer, const Epoch& epoch)
      : bus_(bus), signer_(signer), epoch_(epoch) {}

  // Stamps the current epoch, signs and publishes. kUnavailable: no epoch yet, or the bus is away.
  Result<void> Send(v1::Instruction instruction);

 private:
  Bus& bus_;
  const Signer& signer_;
  const Epoch& epoch_;
};

}  // namespace spillway
