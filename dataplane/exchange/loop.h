#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/clock.h"
#include "dataplane/snapshot/snapshot.h"

namespace spillway {

class TimerWheel;

// The executor of every socket, timer and coroutine of the data plane. Named, not any_io_executor:
// no type erasure per operation. A coroutine can only await coroutines of the same executor, so
// write Task<T> everywhere, `boost::asio::basic_stream_socket<tcp, LoopExecutor>` for sockets, and
// await operations with `boost::asio::as_tuple(boost::asio::deferred)`: no frame, no exception.
using LoopExecutor = boost::asio::io_context::executor_type;
template <typename T>
using Task = boost::asio::awaitable<T, LoopExecutor>;

// A moment at which a callback runs, unless it is moved or cleared before. Setting one costs a few
// nanoseconds (no system call, no heap): the wheel finds due deadlines every 10 ms. Owned by the
// connection it guards; destroying it clears it. Loop thread only.
class Deadline {
 public:
  Deadline(TimerWheel& wheel, std::function<void()> on_due);
  ~Deadline();
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  void SetAfterMs(int64_t ms);
  void Clear();

 private:
  friend class TimerWheel;
  TimerWheel& wheel_;
  std::function<void()> on_due_;
  int64_t due_ns_ = 0;  // 0: not set
  int64_t filed_ns_ = 0;
  Deadline* previous_ = nullptr;
  Deadline* next_ = nullptr;
};

// Byte buffers lent while bytes are in flight, so that an idle stream holds none. Loop thread only.
class BufferPool {
 public:
  static constexpr size_t kBufferBytes = size_t{16} * 1024;
  static constexpr size_t kPaddingBytes = 64;
  // kBufferBytes, and kPaddingBytes more that may be read; return it with Put.
  std::unique_ptr<char[]> Take();
  void Put(std::unique_ptr<char[]> buffer);

 private:
  static constexpr size_t kKeptMax = 256;
  std::vector<std::unique_ptr<char[]>> free_;
};

// An io_context whose waiting coroutines can be destroyed before it.
class LoopContext : public boost::asio::io_context {
 public:
  using boost::asio::io_context::io_context;
  // Destroys the frames of everything that still waits. After its thread has ended, while what the
  // frames refer to is alive.
  void DropPending() { shutdown(); }
};

// What one thread of the data plane owns: nothing here is shared, nothing is locked (only posting
// to `io` is thread-safe). `snapshot` is replaced between requests by a function posted to `io`;
// nullptr: not ready yet.
struct Loop {
  LoopContext io;
  std::unique_ptr<TimerWheel> timers;
  BufferPool buffers;
  const Clock* clock = nullptr;
  std::shared_ptr<const Snapshot> snapshot;
  int index = 0;

  explicit Loop(const Clock& the_clock);
  ~Loop();
};

}  // namespace spillway
