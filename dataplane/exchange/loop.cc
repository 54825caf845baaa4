#include "dataplane/exchange/loop.h"

#include "dataplane/exchange/timer_wheel.h"

namespace spillway {

std::unique_ptr<char[]> BufferPool::Take() {
  if (free_.empty()) return std::make_unique_for_overwrite<char[]>(kBufferBytes + kPaddingBytes);
  std::unique_ptr<char[]> buffer = std::move(free_.back());
  free_.pop_back();
  return buffer;
}

void BufferPool::Put(std::unique_ptr<char[]> buffer) {
  if (buffer != nullptr && free_.size() < kKeptMax) free_.push_back(std::move(buffer));
}

// The reactor's per-descriptor locks are off: only the loop's thread touches sockets. Posting from
// other threads stays locked.
Loop::Loop(const Clock& the_clock)
    : io(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO),
      timers(std::make_unique<TimerWheel>(io, the_clock)),
      clock(&the_clock) {}

Loop::~Loop() { io.DropPending(); }

}  // namespace spillway
