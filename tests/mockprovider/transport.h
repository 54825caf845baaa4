#pragma once

#include <openssl/ssl.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace spillway::mock {

struct SslDeleter {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};

// Reads and writes one non-blocking socket, in clear or by TLS (the handshake happens on the first
// read). Does not own the descriptor.
class Transport {
 public:
  Transport(int descriptor, SSL_CTX* tls);

  enum class Result : uint8_t { kDone, kWaitRead, kWaitWrite, kClosed };
  struct Outcome {
    Result result = Result::kDone;
    size_t bytes = 0;
  };
  // kDone: at least one byte.
  Outcome Read(char* buffer, size_t size);
  Outcome Write(std::string_view bytes);
  // TLS holds decrypted bytes that no readiness of the socket announces.
  bool HasPending() const { return ssl_ != nullptr && SSL_pending(ssl_.get()) > 0; }
  // Says goodbye as the protocol wants it, without waiting.
  void ShutDown();

 private:
  Outcome FromTls(int returned) const;

  int descriptor_;
  std::unique_ptr<SSL, SslDeleter> ssl_;
};

}  // namespace spillway::mock
