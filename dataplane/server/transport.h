#pragma once

#include <sys/uio.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cstddef>
#include <memory>
#include <span>

#include "dataplane/exchange/loop.h"

struct ssl_st;

namespace spillway {

using TcpSocket = boost::asio::basic_stream_socket<boost::asio::ip::tcp, LoopExecutor>;

struct SslDeleter {
  void operator()(ssl_st* ssl) const;
};
using SslHandle = std::unique_ptr<ssl_st, SslDeleter>;

// One downstream connection, plain or TLS. Reads and writes are tried at once, without an Asio
// operation; only waiting for readiness goes through the loop. Loop thread only.
class Transport {
 public:
  enum class Io { kOk, kWantRead, kWantWrite, kClosed, kFailed };
  struct Outcome {
    Io io = Io::kOk;
    size_t bytes = 0;
  };

  // `ssl`: empty for plain TCP; attached to the socket here.
  Transport(TcpSocket socket, SslHandle ssl);

  bool tls() const { return ssl_ != nullptr; }
  Outcome TryHandshake();
  // TLS: bytes that a read would return although the socket is not readable.
  bool HasDecrypted() const;
  // Up to `space.size()` bytes; kClosed: the peer sent its end.
  Outcome TryRead(std::span<char> space);
  // As much of the pieces as the socket takes.
  Outcome TryWrite(std::span<const iovec> pieces);
  enum class Peer { kSilent, kTalking, kGone };
  // Looks, without reading, at what a readable socket has.
  Peer PeekPeer();

  // co_await transport.WaitReadable(): a tuple of one error code.
  auto WaitReadable() {
    return socket_.async_wait(TcpSocket::wait_read, boost::asio::as_tuple(boost::asio::deferred));
  }
  auto WaitWritable() {
    return socket_.async_wait(TcpSocket::wait_write, boost::asio::as_tuple(boost::asio::deferred));
  }
  TcpSocket& socket() { return socket_; }

  // Ends every wait with an error.
  void CancelWaits();
  // No more bytes from us (TLS: close_notify first).
  void ShutdownSend();
  // Closing discards what was sent and not delivered: the peer sees a reset, never a proper end.
  void ResetOnClose();
  void Close();

 private:
  Outcome SslOutcome(int result);

  TcpSocket socket_;
  SslHandle ssl_;
};

}  // namespace spillway
