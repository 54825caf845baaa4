#include "tests/mockprovider/transport.h"

#include <openssl/err.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace spillway::mock {
namespace {

constexpr size_t kTlsWriteMax = 1 << 20;

Transport::Outcome FromSystem(ssize_t returned, Transport::Result again) {
  if (returned > 0)
    return {.result = Transport::Result::kDone, .bytes = static_cast<size_t>(returned)};
  const bool wait = returned < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
  return {.result = wait ? again : Transport::Result::kClosed};
}

}  // namespace

Transport::Transport(int descriptor, SSL_CTX* tls) : descriptor_(descriptor) {
  if (tls == nullptr) return;
  ssl_.reset(SSL_new(tls));
  SSL_set_fd(ssl_.get(), descriptor);
  SSL_set_mode(ssl_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                               SSL_MODE_RELEASE_BUFFERS);
  SSL_set_accept_state(ssl_.get());
}

Transport::Outcome Transport::Read(char* buffer, size_t size) {
  if (ssl_ == nullptr) {
    return FromSystem(::recv(descriptor_, buffer, size, 0), Result::kWaitRead);
  }
  ERR_clear_error();
  return FromTls(SSL_read(ssl_.get(), buffer, static_cast<int>(size)));
}

Transport::Outcome Transport::Write(std::string_view bytes) {
  if (bytes.empty()) return {};
  if (ssl_ == nullptr) {
    return FromSystem(::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL),
                      Result::kWaitWrite);
  }
  ERR_clear_error();
  const size_t size = std::min(bytes.size(), kTlsWriteMax);
  return FromTls(SSL_write(ssl_.get(), bytes.data(), static_cast<int>(size)));
}

Transport::Outcome Transport::FromTls(int returned) const {
  if (returned > 0) return {.result = Result::kDone, .bytes = static_cast<size_t>(returned)};
  switch (SSL_get_error(ssl_.get(), returned)) {
    case SSL_ERROR_WANT_READ:
      return {.result = Result::kWaitRead};
    case SSL_ERROR_WANT_WRITE:
      return {.result = Result::kWaitWrite};
    default:
      return {.result = Result::kClosed};
  }
}

void Transport::ShutDown() {
  if (ssl_ == nullptr) return;
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
}

}  // namespace spillway::mock
