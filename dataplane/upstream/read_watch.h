#pragma once

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <utility>

#include "dataplane/exchange/loop.h"

namespace spillway {

// Knows whether anything arrived on a socket, and lets one coroutine wait for that. The watch
// stands while a connection is idle: one that speaks or closes then is noticed as soon as the loop
// looks, without a system call, and the next answer needs no other watch. Loop thread only.
class ReadWatch {
 public:
  using Socket = boost::asio::basic_stream_socket<boost::asio::ip::tcp, LoopExecutor>;

  // Begins to watch, unless it does already: one system call.
  void Arm(Socket& socket);
  // Something arrived, or the wait was cancelled, since Arm.
  bool noticed() const { return state_->noticed; }
  // What was noticed is dealt with; Arm begins anew.
  void Clear() { state_->armed = state_->noticed = false; }

  // Awaited directly while armed and not noticed: completes with the notice.
  auto Notice() {
    return boost::asio::async_initiate<const boost::asio::deferred_t, void()>(
        [this](auto handler) { state_->waiting = std::move(handler); }, boost::asio::deferred);
  }
  // Runs `call` with the notice, which nobody awaits; an empty one takes that back.
  void OnNotice(boost::asio::any_completion_handler<void()> call) {
    state_->waiting = std::move(call);
  }

 private:
  struct State {
    bool armed = false;
    bool noticed = false;
    boost::asio::any_completion_handler<void()> waiting;  // owns its coroutine's frame
  };
  // The socket's completion handler: may outlive the connection, or end unused with the loop.
  class Arrival;

  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace spillway
