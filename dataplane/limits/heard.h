#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace spillway {

// Which of this data plane's gossip messages every live peer is known to have applied: of one set
// of peers, until one of them falls silent. One thread at a time marks; any asks.
class HeardByAll {
 public:
  static constexpr size_t kWindow = 1'024;  // of the older ones nothing is known any more

  void Mark(uint64_t sent) { slots_[sent % kWindow].store(sent, std::memory_order_release); }
  // 0: no message.
  bool Has(uint64_t sent) const {
    return sent != 0 && slots_[sent % kWindow].load(std::memory_order_acquire) == sent;
  }

 private:
  std::array<std::atomic<uint64_t>, kWindow> slots_{};
};

}  // namespace spillway
