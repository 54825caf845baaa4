#pragma once

#include <atomic>
#include <cstdint>

namespace spillway {

// Counters of a loop have one writing thread: an addition needs no locked instruction. Readers on
// other threads see some recent value.
inline void Bump(std::atomic<int64_t>& counter, int64_t by = 1) {
  counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

}  // namespace spillway
