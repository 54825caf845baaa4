#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cstdint>
#include <memory>
#include <span>

#include "common/error.h"
#include "dataplane/exchange/loop.h"
#include "dataplane/snapshot/snapshot.h"
#include "dataplane/upstream/io_step.h"
#include "dataplane/upstream/read_watch.h"
#include "dataplane/upstream/resolver.h"
#include "dataplane/upstream/response_head.h"
#include "dataplane/upstream/tls.h"

namespace spillway {

// One TCP or TLS connection to a provider, with the deadlines of what is going on on it. Reads and
// writes are plain non-blocking system calls; only waiting goes through Asio, and no buffer is held
// meanwhile. Owned by a call or by the pool; loop thread only.
class UpstreamConnection {
 public:
  enum class Interruption : uint8_t { kNone, kDeadline, kCancelled };

  // `ticket` and `loop` outlive the connection.
  UpstreamConnection(Loop& loop, uint64_t endpoint_id, TlsTicket& ticket);
  ~UpstreamConnection();

  // Resolves, connects (each address in turn) and does the TLS handshake, all within `timeout_ms`.
  // kUpstreamUnreachable, kUpstreamTls, kCancelled.
  Task<Result<void>> Open(const ProviderSpec& provider, int64_t timeout_ms, Resolver& resolver,
                          TlsContexts& tls);

  IoStep Read(char* data, size_t size);
  IoStep Write(std::span<const iovec> pieces);
  // Awaited directly: complete when the socket is ready for what a step wants, or interrupted.
  auto Writable() {
    return socket_.async_wait(TcpSocket::wait_write, boost::asio::as_tuple(boost::asio::deferred));
  }
  // The same, and also complete when something arrives that Silent may tell of.
  Task<void> WritableOrReadable();
  // Only when there is nothing to read yet; call ReadableSeen behind it.
  auto Readable() { return watch_.Notice(); }
  // Begins to watch for something to read; true: it is there already.
  bool WatchReadable() {
    watch_.Arm(socket_);
    return watch_.noticed();
  }
  void ReadableSeen() { watch_.Clear(); }

  // Ends the wait at hand and every later one. From callbacks.
  void Interrupt(Interruption why);
  Interruption interruption() const { return interruption_; }

  // Two moments at which the connection interrupts itself: the end of the phase at hand (connect,
  // first byte, silence) and of the whole call.
  void SetPhaseDeadline(int64_t ms) { phase_deadline_.SetAfterMs(ms); }
  void ClearPhaseDeadline() { phase_deadline_.Clear(); }
  void SetTotalDeadline(int64_t ms) { total_deadline_.SetAfterMs(ms); }
  void ClearDeadlines();

  // Remembers how much was sent before this request, for Unacknowledged.
  void BeginRequest() { sent_before_ = sent(); }
  // True when the peer had ended its side and its TCP acknowledged nothing of what was sent since:
  // it cannot have acted on it. A reset alone proves nothing: acknowledgements are sent up to 40 ms
  // late, when the peer may have read the request long ago.
  bool Unacknowledged() const;
  // Whether a watched connection is still open and nothing waits to be read on it, but what TLS
  // says for itself: as far as the loop has seen (UpstreamPool says what that leaves open).
  // Costs a system call only when it has seen something.
  bool Silent();
  bool tls() const { return tls_ != nullptr; }
  uint64_t endpoint_id() const { return endpoint_id_; }

  UpstreamHead head;          // of the answer at hand; reused storage
  int64_t idle_since_ns = 0;  // the pool's

 private:
  using TcpSocket = ReadWatch::Socket;

  Task<Result<void>> Connect(const Addresses& addresses, const ProviderSpec& provider,
                             int64_t left_ms);
  Task<Result<void>> Handshake(const ProviderSpec& provider, TlsContexts& tls);
  void Prepare();
  IoStep ReadPlain(char* data, size_t size);
  uint64_t sent() const;
  int fd() const { return fd_; }

  Loop& loop_;
  const uint64_t endpoint_id_;
  TlsTicket& ticket_;
  TcpSocket socket_;
  ReadWatch watch_;
  int fd_ = -1;  // the socket's, for system calls
  std::unique_ptr<TlsSession> tls_;
  Deadline phase_deadline_;
  Deadline total_deadline_;
  Wakeup* wakeup_ = nullptr;  // while the name is being resolved
  uint64_t plain_sent_ = 0;
  bool peer_ended_ = false;  // its FIN, which acknowledges whatever came before it, was read
  uint64_t sent_before_ = 0;
  Interruption interruption_ = Interruption::kNone;
};

}  // namespace spillway
