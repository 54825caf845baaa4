#include "dataplane/upstream/connection.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "common/clock.h"
#include "dataplane/upstream/tcp_acknowledged.h"

namespace spillway {
namespace {

namespace asio = boost::asio;

std::string Where(const ProviderSpec& provider) {
  return provider.host + ":" + std::to_string(provider.port);
}

}  // namespace

UpstreamConnection::UpstreamConnection(Loop& loop, uint64_t endpoint_id, TlsTicket& ticket)
    : loop_(loop),
      endpoint_id_(endpoint_id),
      ticket_(ticket),
      socket_(loop.io.get_executor()),
      phase_deadline_(*loop.timers, [this] { Interrupt(Interruption::kDeadline); }),
      total_deadline_(*loop.timers, [this] { Interrupt(Interruption::kDeadline); }) {}

UpstreamConnection::~UpstreamConnection() {
  if (tls_ && interruption_ == Interruption::kNone) tls_->Close();
  boost::system::error_code ignored;
  socket_.close(ignored);
}

void UpstreamConnection::Interrupt(Interruption why) {
  if (interruption_ == Interruption::kNone) interruption_ = why;
  if (wakeup_ != nullptr) wakeup_->Wake();
  boost::system::error_code ignored;
  if (socket_.is_open()) socket_.cancel(ignored);
}

void UpstreamConnection::ClearDeadlines() {
  phase_deadline_.Clear();
  total_deadline_.Clear();
}

Task<Result<void>> UpstreamConnection::Open(const ProviderSpec& provider, int64_t timeout_ms,
                                            Resolver& resolver, TlsContexts& tls) {
  const int64_t end_ns = loop_.clock->MonotonicNs() + timeout_ms * kNsPerMs;
  const auto left_ms = [&] {
    return std::max<int64_t>((end_ns - loop_.clock->MonotonicNs()) / kNsPerMs, 1);
  };
  SetPhaseDeadline(timeout_ms);
  Wakeup wakeup(loop_);
  wakeup_ = &wakeup;
  Result<Addresses> addresses = co_await resolver.Resolve(provider.host, wakeup);
  wakeup_ = nullptr;
  if (interruption_ == Interruption::kDeadline) {
    co_return Fail(ErrorCode::kUpstreamUnreachable,
                   "resolving '" + provider.host + "' took too long");
  }
  if (!addresses) co_return std::unexpected(std::move(addresses).error());
  SW_CO_CHECK(co_await Connect(*addresses, provider, left_ms()));
  if (provider.tls) {
    SetPhaseDeadline(left_ms());
    SW_CO_CHECK(co_await Handshake(provider, tls));
  }
  ClearPhaseDeadline();
  co_return Result<void>{};
}

Task<Result<void>> UpstreamConnection::Connect(const Addresses& addresses,
                                               const ProviderSpec& provider, int64_t left_ms) {
  std::string reason = "no address";
  for (size_t i = 0; i < addresses.size() && left_ms > 0; ++i) {
    // A dead address must leave time for the next one.
    const int64_t share_ms =
        std::max<int64_t>(left_ms / static_cast<int64_t>(addresses.size() - i), 1);
    const int64_t begun_ns = loop_.clock->MonotonicNs();
    if (interruption_ == Interruption::kDeadline) interruption_ = Interruption::kNone;
    if (interruption_ == Interruption::kCancelled) break;
    SetPhaseDeadline(share_ms);
    socket_ = TcpSocket(loop_.io.get_executor());
    const auto [failed] = co_await socket_.async_connect({addresses[i], provider.port},
                                                         asio::as_tuple(asio::deferred));
    if (!failed && interruption_ == Interruption::kNone) {
      Prepare();
      co_return Result<void>{};
    }
    reason =
        interruption_ == Interruption::kDeadline ? "it did not answer in time" : failed.message();
    left_ms -= std::max<int64_t>((loop_.clock->MonotonicNs() - begun_ns) / kNsPerMs, 0);
  }
  if (interruption_ == Interruption::kCancelled)
    co_return Fail(ErrorCode::kCancelled, "the call was given up");
  co_return Fail(ErrorCode::kUpstreamUnreachable,
                 "cannot connect to " + Where(provider) + ": " + reason);
}

void UpstreamConnection::Prepare() {
  boost::system::error_code ignored;
  // Asio never stops asking for writability once it waited for it, which would wake the loop once
  // more for every later wait. Registering the socket anew forgets that.
  const auto protocol = socket_.local_endpoint(ignored).protocol();
  const int native = socket_.release(ignored);
  socket_.assign(protocol, native, ignored);
  fd_ = native;
  const int on = 1;
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  ::setsockopt(fd_, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

Task<Result<void>> UpstreamConnection::Handshake(const ProviderSpec& provider, TlsContexts& tls) {
  SW_CO_TRY(ssl_ctx_st* const context, tls.For(provider.ca_file));
  const std::string& name = provider.server_name.empty() ? provider.host : provider.server_name;
  SW_CO_TRY(tls_, TlsSession::Create(context, fd_, name, ticket_));
  for (;;) {
    const IoStep step = tls_->Handshake();
    if (step.kind == IoStep::Kind::kBytes) co_return Result<void>{};
    std::string reason =
        step.kind == IoStep::Kind::kWantRead || step.kind == IoStep::Kind::kWantWrite
            ? std::string()
            : tls_->Failure();
    if (reason.empty()) {
      if (step.kind == IoStep::Kind::kWantWrite) {
        co_await Writable();
      } else {
        if (!WatchReadable()) co_await Readable();
        ReadableSeen();
      }
      if (interruption_ == Interruption::kNone) continue;
      reason = "the handshake took too long";
    }
    tls_.reset();
    if (interruption_ == Interruption::kCancelled) {
      co_return Fail(ErrorCode::kCancelled, "the call was given up");
    }
    co_return Fail(ErrorCode::kUpstreamTls, "TLS with " + Where(provider) + " failed: " + reason);
  }
}

IoStep UpstreamConnection::Read(char* data, size_t size) {
  const IoStep step = tls_ ? tls_->Read(data, size) : ReadPlain(data, size);
  if (step.kind == IoStep::Kind::kEnd) peer_ended_ = true;
  return step;
}

IoStep UpstreamConnection::ReadPlain(char* data, size_t size) {
  const ssize_t n = ::recv(fd_, data, size, MSG_DONTWAIT);
  if (n > 0) return {IoStep::Kind::kBytes, static_cast<size_t>(n)};
  if (n == 0) return {IoStep::Kind::kEnd, 0};
  if (errno == EAGAIN || errno == EINTR) return {IoStep::Kind::kWantRead, 0};
  return {IoStep::Kind::kBroken, 0};
}

IoStep UpstreamConnection::Write(std::span<const iovec> pieces) {
  if (tls_) return tls_->Write(pieces);
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces.data());
  message.msg_iovlen = pieces.size();
  const ssize_t n = ::sendmsg(fd_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n >= 0) {
    plain_sent_ += static_cast<uint64_t>(n);
    return {IoStep::Kind::kBytes, static_cast<size_t>(n)};
  }
  if (errno == EAGAIN || errno == EINTR) return {IoStep::Kind::kWantWrite, 0};
  return {IoStep::Kind::kBroken, 0};
}

Task<void> UpstreamConnection::WritableOrReadable() {
  if (WatchReadable()) co_return;
  // Its own wait has ended by then: what is cancelled is the one for writing.
  watch_.OnNotice([this] {
    boost::system::error_code ignored;
    socket_.cancel(ignored);
  });
  co_await Writable();
  watch_.OnNotice({});
}

uint64_t UpstreamConnection::sent() const { return tls_ ? tls_->sent() : plain_sent_; }

bool UpstreamConnection::Unacknowledged() const {
  if (!peer_ended_) return false;
  const int64_t acknowledged = AcknowledgedBytes(fd_);
  return acknowledged >= 0 && acknowledged <= static_cast<int64_t>(sent_before_) + 1;
}

bool UpstreamConnection::Silent() {
  if (!WatchReadable()) return true;
  ReadableSeen();
  // Session tickets may come late.
  return tls_ && tls_->Silent();
}

}  // namespace spillway
