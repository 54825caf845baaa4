#include "dataplane/server/listener.h"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/address.hpp>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "common/log.h"
#include "dataplane/exchange/counter.h"
#include "dataplane/server/connection.h"
#include "dataplane/server/session.h"

namespace spillway {
namespace {

using boost::asio::ip::tcp;

constexpr int kAcceptAtOnce = 64;
constexpr int64_t kPauseMs = 100;
constexpr int kBacklog = 4096;

Error BindError(const HostPort& address, const char* step) {
  return {.code = ErrorCode::kInvalidConfig,
          .message = "cannot listen on " + address.host + ":" + std::to_string(address.port) +
                     ": " + step + ": " + std::strerror(errno)};
}

void SetOption(int fd, int level, int option) {
  const int on = 1;
  ::setsockopt(fd, level, option, &on, sizeof on);
}

// Accepted sockets inherit these: no system call per connection.
Result<int> OpenSocket(const HostPort& address, const tcp::endpoint& endpoint, bool shared) {
  const int fd =
      ::socket(endpoint.protocol().family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return std::unexpected(BindError(address, "socket"));
  SetOption(fd, SOL_SOCKET, SO_REUSEADDR);
  SetOption(fd, SOL_SOCKET, SO_KEEPALIVE);
  SetOption(fd, IPPROTO_TCP, TCP_NODELAY);
  if (shared) SetOption(fd, SOL_SOCKET, SO_REUSEPORT);
  if (::bind(fd, endpoint.data(), static_cast<socklen_t>(endpoint.size())) != 0) {
    Error error = BindError(address, "bind");
    ::close(fd);
    return std::unexpected(std::move(error));
  }
  // Only now: from here on our own further sockets may join, which are all bound with it.
  if (!shared) SetOption(fd, SOL_SOCKET, SO_REUSEPORT);
  return fd;
}

uint16_t PortOf(int fd) {
  tcp::endpoint endpoint;
  auto size = static_cast<socklen_t>(endpoint.capacity());
  if (::getsockname(fd, endpoint.data(), &size) != 0) return 0;
  endpoint.resize(size);
  return endpoint.port();
}

Result<void> OpenAll(const HostPort& address, tcp::endpoint endpoint, int count,
                     ListenSockets& sockets) {
  for (int i = 0; i < count; ++i) {
    SW_TRY(const int fd, OpenSocket(address, endpoint, i > 0));
    sockets.fds.push_back(fd);
    if (i == 0) sockets.port = PortOf(fd);
    endpoint.port(sockets.port);
  }
  for (const int fd : sockets.fds) {
    if (::listen(fd, kBacklog) != 0) return std::unexpected(BindError(address, "listen"));
  }
  return {};
}

}  // namespace

Result<ListenSockets> BindAll(const HostPort& address, int count) {
  boost::system::error_code error;
  const auto host = boost::asio::ip::make_address(
      address.host == "localhost" ? "127.0.0.1" : address.host, error);
  if (error) {
    return Fail(ErrorCode::kInvalidConfig,
                "cannot listen on \"" + address.host + "\": not an IP address");
  }
  ListenSockets sockets;
  if (Result<void> opened = OpenAll(address, tcp::endpoint(host, address.port), count, sockets);
      !opened) {
    for (const int fd : sockets.fds) ::close(fd);
    return std::unexpected(std::move(opened).error());
  }
  return sockets;
}

Listener::Listener(LoopState& loop, int fd, const TlsContext* tls, std::atomic<int64_t>& open_total,
                   int64_t connections_max, AddressCounts& addresses)
    : loop_(loop),
      acceptor_(loop.loop.io),
      tls_(tls),
      open_total_(open_total),
      connections_max_(connections_max),
      addresses_(addresses),
      pause_(*loop.loop.timers, [this] {
        if (!stopped_) Start();
      }) {
  boost::system::error_code ignored;
  acceptor_.assign(tcp::v4(), fd, ignored);
}

void Listener::Start() { boost::asio::co_spawn(loop_.loop.io, Run(), boost::asio::detached); }

Task<void> Listener::Run() {
  while (!stopped_) {
    const auto [error] = co_await acceptor_.async_wait(
        Acceptor::wait_read, boost::asio::as_tuple(boost::asio::deferred));
    if (error) co_return;
    if (AcceptWaiting(kAcceptAtOnce)) continue;
    Bump(loop_.counters.accept_failures);
    pause_.SetAfterMs(kPauseMs);
    co_return;
  }
}

bool Listener::AcceptWaiting(int at_most) {
  for (int i = 0; i < at_most && !stopped_; ++i) {
    sockaddr_storage peer;
    socklen_t size = sizeof peer;
    const int fd = ::accept4(acceptor_.native_handle(), reinterpret_cast<sockaddr*>(&peer), &size,
                             SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      StartSession(fd, peer);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return true;
    } else if (errno != ECONNABORTED && errno != EINTR && errno != EPROTO) {
      return false;
    }
  }
  return true;
}

void Listener::Shed(int fd) {
  Bump(loop_.counters.shed_total);
  ::close(fd);
}

void Listener::StartSession(int fd, const sockaddr_storage& peer) {
  std::optional<AddressCounts::Place> place = addresses_.Take(peer);
  if (addresses_.limited() && !place) return Shed(fd);
  const int64_t open = open_total_.fetch_add(1, std::memory_order_relaxed) + 1;
  // Some beyond the limit are told why; the rest is only closed.
  if (open > connections_max_ + connections_max_ / 8 + 64) {
    open_total_.fetch_sub(1, std::memory_order_relaxed);
    return Shed(fd);
  }
  TcpSocket socket(loop_.loop.io);
  boost::system::error_code error;
  socket.assign(tcp::v4(), fd, error);
  SslHandle ssl = tls_ == nullptr ? nullptr : tls_->NewSession();
  if (error || (tls_ != nullptr && ssl == nullptr)) {
    if (error) ::close(fd);
    open_total_.fetch_sub(1, std::memory_order_relaxed);
    return;
  }
  auto connection =
      std::make_shared<Connection>(loop_.loop, Transport(std::move(socket), std::move(ssl)));
  if (place) connection->place.emplace(*std::move(place));
  boost::asio::co_spawn(loop_.loop.io,
                        Session::Run(loop_, std::move(connection), open > connections_max_),
                        boost::asio::detached);
}

void Listener::Stop() {
  if (stopped_) return;
  AcceptWaiting(kBacklog + 1);  // the kernel lets one more wait than it was told
  stopped_ = true;
  pause_.Clear();
  boost::system::error_code ignored;
  acceptor_.close(ignored);
}

}  // namespace spillway
