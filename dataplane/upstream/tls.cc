#include "dataplane/upstream/tls.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <format>
#include <utility>

#include "common/log.h"

namespace spillway {

// OpenSSL's socket BIO writes with write(2), which raises SIGPIPE; this one sends without signals
// and counts what it sent.
struct SocketBio {
  static TlsSession& SessionOf(BIO* bio) { return *static_cast<TlsSession*>(BIO_get_data(bio)); }

  static int Write(BIO* bio, const char* data, int size) {
    BIO_clear_retry_flags(bio);
    TlsSession& session = SessionOf(bio);
    const ssize_t n =
        ::send(session.fd_, data, static_cast<size_t>(size), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) {
      session.sent_ += static_cast<uint64_t>(n);
      return static_cast<int>(n);
    }
    if (errno == EAGAIN || errno == EINTR) BIO_set_retry_write(bio);
    return -1;
  }

  static int Read(BIO* bio, char* data, int size) {
    BIO_clear_retry_flags(bio);
    const ssize_t n = ::recv(SessionOf(bio).fd_, data, static_cast<size_t>(size), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
    return static_cast<int>(n);
  }

  static long Control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

  static int Create(BIO* bio) {
    BIO_set_init(bio, 1);
    return 1;
  }

  static BIO_METHOD* Method() {
    static BIO_METHOD* const method = [] {
      BIO_METHOD* made =
          BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "spillway socket");
      BIO_meth_set_write(made, &Write);
      BIO_meth_set_read(made, &Read);
      BIO_meth_set_ctrl(made, &Control);
      BIO_meth_set_create(made, &Create);
      return made;
    }();
    return method;
  }
};

namespace {

constexpr size_t kRecordBytes = size_t{16} * 1024;
constexpr int64_t kLookEveryNs = 5'000 * kNsPerMs;  // at a CA file

// Keeps the newest session of an endpoint; 1: the reference is ours now.
int OnNewSession(SSL* ssl, SSL_SESSION* session) {
  auto* ticket = static_cast<TlsTicket*>(SSL_get_app_data(ssl));
  if (ticket == nullptr) return 0;
  ticket->reset(session);
  return 1;
}

// What tells that a file changed: its identity, size and time; empty: there is none.
std::string StampOf(const std::string& file) {
  struct stat status{};
  if (::stat(file.c_str(), &status) != 0) return {};
  return std::format("{}/{}/{}/{}.{}", status.st_dev, status.st_ino, status.st_size,
                     status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
}

bool IsAddress(const std::string& name) {
  std::array<unsigned char, sizeof(in6_addr)> bytes;
  return ::inet_pton(AF_INET, name.c_str(), bytes.data()) == 1 ||
         ::inet_pton(AF_INET6, name.c_str(), bytes.data()) == 1;
}

bool ExpectName(SSL* ssl, const std::string& name) {
  if (IsAddress(name)) return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name.c_str()) == 1;
  SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return SSL_set_tlsext_host_name(ssl, name.c_str()) == 1 && SSL_set1_host(ssl, name.c_str()) == 1;
}

}  // namespace

void TlsFree::operator()(ssl_ctx_st* context) const { SSL_CTX_free(context); }
void TlsFree::operator()(ssl_session_st* session) const { SSL_SESSION_free(session); }
void TlsFree::operator()(ssl_st* ssl) const { SSL_free(ssl); }

Result<TlsContexts::Context> TlsContexts::Load(const std::string& ca_file) {
  ERR_clear_error();
  Context context(SSL_CTX_new(TLS_client_method()));
  if (!context) return Fail(ErrorCode::kUpstreamTls, "cannot create a TLS context");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                      SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context.get(), &OnNewSession);
  constexpr unsigned char kHttp11[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
  SSL_CTX_set_alpn_protos(context.get(), kHttp11, sizeof(kHttp11));
  const int loaded = ca_file.empty() ? SSL_CTX_set_default_verify_paths(context.get())
                                     : SSL_CTX_load_verify_file(context.get(), ca_file.c_str());
  if (loaded != 1) {
    ERR_clear_error();
    return Fail(ErrorCode::kUpstreamTls, "cannot load the CA certificates of '" + ca_file + "'");
  }
  return context;
}

void TlsContexts::ReloadIfChanged(const std::string& ca_file, Entry& entry) const {
  if (ca_file.empty() || clock_.MonotonicNs() - entry.looked_ns < kLookEveryNs) return;
  entry.looked_ns = clock_.MonotonicNs();
  std::string stamp = StampOf(ca_file);
  if (stamp == entry.stamp) return;
  entry.stamp = std::move(stamp);
  if (Result<Context> context = Load(ca_file)) {
    entry.context = *std::move(context);
  } else {
    log::Warn("the old CA certificates stay in force", {{"reason", context.error().message}});
  }
}

Result<ssl_ctx_st*> TlsContexts::For(const std::string& ca_file) {
  if (const auto found = contexts_.find(ca_file); found != contexts_.end()) {
    ReloadIfChanged(ca_file, found->second);
    return found->second.context.get();
  }
  // The stamp comes first: a change meanwhile is then found later.
  std::string stamp = StampOf(ca_file);
  SW_TRY(Context context, Load(ca_file));
  Entry entry{
      .context = std::move(context), .stamp = std::move(stamp), .looked_ns = clock_.MonotonicNs()};
  return contexts_.emplace(ca_file, std::move(entry)).first->second.context.get();
}

TlsSession::TlsSession(ssl_st* ssl, int fd) : ssl_(ssl), fd_(fd) {}

Result<std::unique_ptr<TlsSession>> TlsSession::Create(ssl_ctx_st* context, int fd,
                                                       const std::string& name, TlsTicket& ticket) {
  ERR_clear_error();
  SSL* ssl = SSL_new(context);
  BIO* bio = BIO_new(SocketBio::Method());
  if (ssl == nullptr || bio == nullptr) {
    SSL_free(ssl);
    BIO_free(bio);
    return Fail(ErrorCode::kUpstreamTls, "cannot create a TLS session");
  }
  std::unique_ptr<TlsSession> session(new TlsSession(ssl, fd));
  BIO_set_data(bio, session.get());
  SSL_set_bio(ssl, bio, bio);
  SSL_set_connect_state(ssl);
  if (!ExpectName(ssl, name)) {
    return Fail(ErrorCode::kUpstreamTls, "'" + name + "' is no valid TLS server name");
  }
  SSL_set_app_data(ssl, &ticket);
  if (ticket) {
    SSL_set_session(ssl, ticket.get());
    ticket.reset();  // TLS 1.3 tickets are for one use; the server sends new ones
  }
  return session;
}

IoStep TlsSession::StepOf(int result, size_t bytes) {
  if (result > 0) return {IoStep::Kind::kBytes, bytes};
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return {IoStep::Kind::kWantRead, 0};
    case SSL_ERROR_WANT_WRITE:
      return {IoStep::Kind::kWantWrite, 0};
    case SSL_ERROR_ZERO_RETURN:
      return {IoStep::Kind::kEnd, 0};
    default:
      if (error_ == 0) error_ = ERR_peek_error();
      ERR_clear_error();
      return {IoStep::Kind::kBroken, 0};
  }
}

IoStep TlsSession::Handshake() {
  ERR_clear_error();
  return StepOf(SSL_do_handshake(ssl_.get()), 0);
}

IoStep TlsSession::Read(char* data, size_t size) {
  ERR_clear_error();
  size_t bytes = 0;
  const int result = SSL_read_ex(ssl_.get(), data, size, &bytes);
  return StepOf(result, bytes);
}

IoStep TlsSession::Write(std::span<const iovec> pieces) {
  // One record for small pieces: a request's head and body travel together.
  std::array<char, kRecordBytes> record;
  size_t filled = 0;
  for (const iovec& piece : pieces) {
    const size_t part = std::min(piece.iov_len, record.size() - filled);
    std::memcpy(record.data() + filled, piece.iov_base, part);
    filled += part;
    if (filled == record.size()) break;
  }
  ERR_clear_error();
  size_t bytes = 0;
  const int result = SSL_write_ex(ssl_.get(), record.data(), filled, &bytes);
  return StepOf(result, bytes);
}

bool TlsSession::Silent() {
  ERR_clear_error();
  char byte = 0;
  size_t bytes = 0;
  const int result = SSL_peek_ex(ssl_.get(), &byte, 1, &bytes);
  return result != 1 && SSL_get_error(ssl_.get(), result) == SSL_ERROR_WANT_READ;
}

void TlsSession::Close() {
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
}

std::string TlsSession::Failure() const {
  const long verdict = SSL_get_verify_result(ssl_.get());
  if (verdict != X509_V_OK) return X509_verify_cert_error_string(verdict);
  const char* reason = error_ == 0 ? nullptr : ERR_reason_error_string(error_);
  return reason == nullptr ? "the connection closed during the handshake" : reason;
}

bool TlsSession::resumed() const { return SSL_session_reused(ssl_.get()) == 1; }

}  // namespace spillway
