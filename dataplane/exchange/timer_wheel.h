#pragma once

#include <array>
#include <boost/asio/basic_waitable_timer.hpp>
#include <chrono>
#include <cstdint>

#include "dataplane/exchange/loop.h"

namespace spillway {

// The deadlines of one loop: a hashed wheel of 10 ms slots. Moving a deadline later only stores its
// time; it is filed again when its old slot comes up. One Asio timer wakes the whole wheel,
// and only when the next slot in use comes up. Loop thread only. A callback may set and clear any
// deadline and destroy any but its own.
class TimerWheel {
 public:
  TimerWheel(boost::asio::io_context& io, const Clock& clock);
  ~TimerWheel();

  static constexpr int64_t kTickNs = 10'000'000;
  // Runs what is due. The wheel's own timer calls it; so do tests, with a clock they move.
  void Advance();

 private:
  friend class Deadline;
  static constexpr int kSlots = 512;
  void File(Deadline& deadline);
  void Unfile(Deadline& deadline);
  void Arm(int64_t tick);
  void ArmNext();

  const Clock& clock_;
  boost::asio::basic_waitable_timer<
      std::chrono::steady_clock, boost::asio::wait_traits<std::chrono::steady_clock>, LoopExecutor>
      timer_;
  std::array<Deadline*, kSlots> slots_{};
  int64_t tick_ = 0;        // last tick handled
  int64_t filed_ = 0;       // deadlines in the wheel
  int64_t armed_tick_ = 0;  // when the timer wakes the wheel; 0: it does not
  bool advancing_ = false;
};

}  // namespace spillway
