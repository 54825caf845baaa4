#include "tests/unit/dataplane/server/test_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

namespace spillway {

TestClient::TestClient(uint16_t port, bool tls) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const timeval patience{.tv_sec = 10, .tv_usec = 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    ::close(fd);
    return;
  }
  fd_ = fd;
  if (!tls) return;
  context_.reset(SSL_CTX_new(TLS_client_method()));
  ssl_.reset(SSL_new(context_.get()));
  SSL_set_fd(ssl_.get(), fd_);
  if (SSL_connect(ssl_.get()) == 1) return;
  ssl_.reset();
  ::close(fd_);
  fd_ = -1;
}

TestClient::~TestClient() {
  if (fd_ >= 0) ::close(fd_);
}

bool TestClient::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const long sent = ssl_ != nullptr
                          ? SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()))
                          : ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

long TestClient::ReadSome(char* at, size_t size) {
  if (ssl_ != nullptr) return SSL_read(ssl_.get(), at, static_cast<int>(size));
  return ::recv(fd_, at, size, 0);
}

bool TestClient::ReadUntil(std::string_view text) {
  while (received_.find(text) == std::string::npos) {
    char bytes[4096];
    const long size = ReadSome(bytes, sizeof bytes);
    if (size <= 0) return false;
    received_.append(bytes, static_cast<size_t>(size));
  }
  return true;
}

bool TestClient::ReadToEnd() {
  while (true) {
    char bytes[65536];
    const long size = ReadSome(bytes, sizeof bytes);
    if (size == 0) return true;
    if (size < 0) return false;
    received_.append(bytes, static_cast<size_t>(size));
  }
}

void TestClient::ShutdownSend() { ::shutdown(fd_, SHUT_WR); }

void TestClient::Reset() {
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  ::close(fd_);
  fd_ = -1;
}

}  // namespace spillway
