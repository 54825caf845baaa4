#pragma once

#include <boost/asio/co_spawn.hpp>
#include <exception>
#include <optional>

#include "dataplane/exchange/loop.h"
#include "tests/unit/dataplane/upstream/scripted_provider.h"

namespace spillway {

// A task that runs on the loop; its value once it is done.
template <typename T>
class Running {
 public:
  Running(Loop& loop, Task<T> task) : loop_(loop) {
    boost::asio::co_spawn(loop.io.get_executor(), std::move(task),
                          [this](const std::exception_ptr& failed, T value) {
                            if (failed) std::rethrow_exception(failed);
                            value_ = std::move(value);
                          });
  }
  bool done() const { return value_.has_value(); }
  // Runs the loop to the end of the task.
  T Wait() {
    if (!RunUntil(loop_, [this] { return done(); }))
      throw std::runtime_error("the task does not end");
    return *std::move(value_);
  }

 private:
  Loop& loop_;
  std::optional<T> value_;
};

template <typename T>
T Await(Loop& loop, Task<T> task) {
  return Running<T>(loop, std::move(task)).Wait();
}

}  // namespace spillway
