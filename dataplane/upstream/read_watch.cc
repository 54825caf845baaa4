#include "dataplane/upstream/read_watch.h"

namespace spillway {

class ReadWatch::Arrival {
 public:
  explicit Arrival(std::shared_ptr<State> state) : state_(std::move(state)) {}
  Arrival(Arrival&&) noexcept = default;
  Arrival& operator=(Arrival&&) = delete;
  // Unused: the loop has ended, and the frame that waits ends with it. It owns the connection,
  // which shares the state: nobody else would end the circle.
  ~Arrival() {
    if (state_) auto frame = std::move(state_->waiting);
  }

  void operator()(const boost::system::error_code&) {
    const std::shared_ptr<State> state = std::move(state_);
    state->noticed = true;
    if (auto waiting = std::move(state->waiting)) std::move(waiting)();
  }

 private:
  std::shared_ptr<State> state_;
};

void ReadWatch::Arm(Socket& socket) {
  if (std::exchange(state_->armed, true)) return;
  socket.async_wait(Socket::wait_read, Arrival(state_));
}

}  // namespace spillway
