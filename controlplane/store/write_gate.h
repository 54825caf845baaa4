#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include "common/error.h"
#include "controlplane/store/store.h"

namespace spillway {

// Why configuration may not be written at the moment.
enum class WriteHold : uint8_t {
  kEpoch,    // not claimed yet, or another control plane took over
  kRestore,  // NATS knows a later revision than the store: --adopt or --discard decides
};

// Whether this process may write, and if not, why: asked by the API before each change, set by the
// epoch and the publisher. Starts held by kEpoch. Thread-safe.
class WriteGate {
 public:
  explicit WriteGate(const Store& store);

  void Hold(WriteHold why, std::string reason);
  void Release(WriteHold why);
  // kUnavailable with the reason, or nothing. A store that cannot be written holds too.
  Result<void> Check() const;

 private:
  const Store& store_;
  mutable std::mutex mutex_;
  std::array<std::optional<std::string>, 2> reasons_;
};

}  // namespace spillway
