#include "dataplane/server/tls_context.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/stat.h>

#include <array>
#include <format>
#include <utility>

namespace spillway {
namespace {

std::string LastSslError() {
  std::array<char, 256> text{};
  ERR_error_string_n(ERR_peek_last_error(), text.data(), text.size());
  ERR_clear_error();
  return text.data();
}

// Picks http/1.1 when the client offers it; a client that offers only others is turned away.
int SelectAlpn(SSL*, const unsigned char** out, unsigned char* out_size,
               const unsigned char* offered, unsigned int offered_size, void*) {
  static constexpr unsigned char kOurs[] = "\x08http/1.1";
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, kOurs, sizeof kOurs - 1, offered, offered_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

Result<std::shared_ptr<SSL_CTX>> MakeContext(const std::string& cert_file,
                                             const std::string& key_file) {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  if (context == nullptr) return Fail(ErrorCode::kInternal, "no TLS context: " + LastSslError());
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                      SSL_MODE_RELEASE_BUFFERS);
  static constexpr unsigned char kSessionContext[] = "spillway";
  SSL_CTX_set_session_id_context(context.get(), kSessionContext, sizeof kSessionContext - 1);
  SSL_CTX_set_alpn_select_cb(context.get(), SelectAlpn, nullptr);
  if (SSL_CTX_use_certificate_chain_file(context.get(), cert_file.c_str()) != 1) {
    return Fail(ErrorCode::kInvalidConfig, "certificate " + cert_file + ": " + LastSslError());
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    return Fail(ErrorCode::kInvalidConfig, "key " + key_file + ": " + LastSslError());
  }
  if (SSL_CTX_check_private_key(context.get()) != 1) {
    return Fail(ErrorCode::kInvalidConfig, "key " + key_file + " does not belong to " + cert_file);
  }
  return context;
}

}  // namespace

Result<std::unique_ptr<TlsContext>> TlsContext::Load(std::string cert_file, std::string key_file) {
  std::unique_ptr<TlsContext> tls(new TlsContext(std::move(cert_file), std::move(key_file)));
  tls->stamp_ = tls->Stamp();
  SW_TRY(tls->context_, MakeContext(tls->cert_file_, tls->key_file_));
  return tls;
}

std::string TlsContext::Stamp() const {
  std::string stamp;
  for (const std::string* file : {&cert_file_, &key_file_}) {
    struct stat status{};
    if (::stat(file->c_str(), &status) != 0) continue;
    stamp += std::format("{}.{}/{}/{};", status.st_mtim.tv_sec, status.st_mtim.tv_nsec,
                         status.st_size, status.st_ino);
  }
  return stamp;
}

SslHandle TlsContext::NewSession() const {
  const std::lock_guard lock(mutex_);
  return SslHandle(SSL_new(context_.get()));
}

Result<bool> TlsContext::ReloadIfChanged() {
  std::string stamp = Stamp();
  if (stamp == stamp_) return false;
  stamp_ = std::move(stamp);
  SW_TRY(std::shared_ptr<SSL_CTX> context, MakeContext(cert_file_, key_file_));
  const std::lock_guard lock(mutex_);
  context_ = std::move(context);
  return true;
}

}  // namespace spillway
