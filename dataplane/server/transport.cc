#include "dataplane/server/transport.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace spillway {
namespace {

constexpr size_t kTlsRecordBytes = size_t{16} * 1024;

Transport::Outcome OutcomeOf(ssize_t result, Transport::Io want) {
  if (result > 0) return {.bytes = static_cast<size_t>(result)};
  if (result == 0) return {.io = Transport::Io::kClosed};
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return {.io = want};
  return {.io = Transport::Io::kFailed};
}

}  // namespace

void SslDeleter::operator()(ssl_st* ssl) const { SSL_free(ssl); }

Transport::Transport(TcpSocket socket, SslHandle ssl)
    : socket_(std::move(socket)), ssl_(std::move(ssl)) {
  if (ssl_ == nullptr) return;
  SSL_set_fd(ssl_.get(), socket_.native_handle());
  SSL_set_accept_state(ssl_.get());
}

Transport::Outcome Transport::SslOutcome(int result) {
  if (result > 0) return {.bytes = static_cast<size_t>(result)};
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return {.io = Io::kWantRead};
    case SSL_ERROR_WANT_WRITE:
      return {.io = Io::kWantWrite};
    case SSL_ERROR_ZERO_RETURN:
      return {.io = Io::kClosed};
    default:
      // Without close_notify the end of the connection proves nothing: not kClosed.
      return {.io = Io::kFailed};
  }
}

Transport::Outcome Transport::TryHandshake() {
  ERR_clear_error();
  return SslOutcome(SSL_do_handshake(ssl_.get()));
}

bool Transport::HasDecrypted() const { return ssl_ != nullptr && SSL_pending(ssl_.get()) > 0; }

Transport::Outcome Transport::TryRead(std::span<char> space) {
  if (ssl_ == nullptr) {
    return OutcomeOf(::recv(socket_.native_handle(), space.data(), space.size(), MSG_DONTWAIT),
                     Io::kWantRead);
  }
  ERR_clear_error();
  return SslOutcome(SSL_read(ssl_.get(), space.data(), static_cast<int>(space.size())));
}

Transport::Outcome Transport::TryWrite(std::span<const iovec> pieces) {
  if (ssl_ == nullptr) {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(pieces.data());
    message.msg_iovlen = std::min<size_t>(pieces.size(), 1024);
    return OutcomeOf(::sendmsg(socket_.native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL),
                     Io::kWantWrite);
  }
  // One record of what fits, not one per piece. A retry gathers the same bytes again, as OpenSSL
  // asks.
  std::array<char, kTlsRecordBytes> record;
  size_t size = 0;
  for (const iovec& piece : pieces) {
    const size_t part = std::min(piece.iov_len, record.size() - size);
    std::memcpy(record.data() + size, piece.iov_base, part);
    size += part;
    if (size == record.size()) break;
  }
  ERR_clear_error();
  return SslOutcome(SSL_write(ssl_.get(), record.data(), static_cast<int>(size)));
}

Transport::Peer Transport::PeekPeer() {
  char byte = 0;
  Outcome outcome;
  if (ssl_ == nullptr) {
    outcome = OutcomeOf(::recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT),
                        Io::kWantRead);
  } else {
    ERR_clear_error();
    outcome = SslOutcome(SSL_peek(ssl_.get(), &byte, 1));
  }
  if (outcome.io == Io::kOk) return Peer::kTalking;
  return outcome.io == Io::kWantRead || outcome.io == Io::kWantWrite ? Peer::kSilent : Peer::kGone;
}

void Transport::CancelWaits() {
  boost::system::error_code ignored;
  socket_.cancel(ignored);
}

void Transport::ShutdownSend() {
  if (ssl_ != nullptr) {
    ERR_clear_error();
    SSL_shutdown(ssl_.get());
  }
  boost::system::error_code ignored;
  socket_.shutdown(TcpSocket::shutdown_send, ignored);
}

void Transport::ResetOnClose() {
  boost::system::error_code ignored;
  socket_.set_option(boost::asio::socket_base::linger(true, 0), ignored);
}

void Transport::Close() {
  boost::system::error_code ignored;
  socket_.close(ignored);
}

}  // namespace spillway
