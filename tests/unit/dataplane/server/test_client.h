#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace spillway {

// A blocking client of 127.0.0.1 that sends exact bytes. Reads give up after 10 s.
class TestClient {
 public:
  explicit TestClient(uint16_t port, bool tls = false);
  ~TestClient();
  TestClient(const TestClient&) = delete;
  TestClient& operator=(const TestClient&) = delete;

  bool connected() const { return fd_ >= 0; }
  bool Send(std::string_view bytes);
  // Reads until `text` was seen; what was read so far stays in received().
  bool ReadUntil(std::string_view text);
  // Reads to the end of the connection. False: it was reset or nothing came.
  bool ReadToEnd();
  const std::string& received() const { return received_; }
  void Forget() { received_.clear(); }
  void ShutdownSend();
  void Reset();  // closes with a reset

 private:
  long ReadSome(char* at, size_t size);

  int fd_ = -1;
  std::string received_;
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context_{nullptr, SSL_CTX_free};
  std::unique_ptr<SSL, void (*)(SSL*)> ssl_{nullptr, SSL_free};
};

}  // namespace spillway
