#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "common/error.h"
#include "dataplane/server/transport.h"

struct ssl_ctx_st;

namespace spillway {

// The listener's certificate and key: TLS 1.2 and newer, ALPN http/1.1. Read again when the files
// change; a pair that does not load or match keeps the one in force. Thread-safe.
class TlsContext {
 public:
  // PEM files; the certificate's may hold its chain. kInvalidConfig.
  static Result<std::unique_ptr<TlsContext>> Load(std::string cert_file, std::string key_file);

  SslHandle NewSession() const;
  // Loads the pair again when one of the files changed since the last attempt; true: a new pair is
  // in force.
  Result<bool> ReloadIfChanged();

 private:
  TlsContext(std::string cert_file, std::string key_file)
      : cert_file_(std::move(cert_file)), key_file_(std::move(key_file)) {}
  // Times and sizes of both files.
  std::string Stamp() const;

  const std::string cert_file_;
  const std::string key_file_;
  std::string stamp_;
  mutable std::mutex mutex_;
  std::shared_ptr<ssl_ctx_st> context_;  // shared with the sessions made from it
};

}  // namespace spillway
