#include "controlplane/store/write_gate.h"

#include <utility>

namespace spillway {

WriteGate::WriteGate(const Store& store) : store_(store) {
  Hold(WriteHold::kEpoch, "this control plane has not claimed its epoch yet: NATS is away");
}

void WriteGate::Hold(WriteHold why, std::string reason) {
  const std::lock_guard lock(mutex_);
  reasons_[static_cast<size_t>(why)] = std::move(reason);
}

void WriteGate::Release(WriteHold why) {
  const std::lock_guard lock(mutex_);
  reasons_[static_cast<size_t>(why)].reset();
}

Result<void> WriteGate::Check() const {
  {
    const std::lock_guard lock(mutex_);
    for (const auto& reason : reasons_) {
      if (reason) return Fail(ErrorCode::kUnavailable, *reason);
    }
  }
  if (!store_.Writable()) {
    return Fail(ErrorCode::kUnavailable, "the disk is full or failed: the store is read-only");
  }
  return {};
}

}  // namespace spillway
