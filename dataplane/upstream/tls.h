#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "common/clock.h"
#include "common/error.h"
#include "dataplane/upstream/io_step.h"

struct ssl_ctx_st;
struct ssl_session_st;
struct ssl_st;

namespace spillway {

struct TlsFree {
  void operator()(ssl_ctx_st* context) const;
  void operator()(ssl_session_st* session) const;
  void operator()(ssl_st* ssl) const;
};

// The last session that an endpoint gave us, for resumption.
using TlsTicket = std::unique_ptr<ssl_session_st, TlsFree>;

// Client contexts by CA file ("": the system's trust store, read once): TLS 1.2 and newer, the peer
// always verified. A CA file that changed is read again, a few seconds late; what does not load
// leaves the old one in force. Sessions verified before stay so. Loop thread only; `clock` outlives
// this.
class TlsContexts {
 public:
  explicit TlsContexts(const Clock& clock) : clock_(clock) {}

  // kUpstreamTls when the CA file could never be loaded. Valid until the next call.
  Result<ssl_ctx_st*> For(const std::string& ca_file);

 private:
  using Context = std::unique_ptr<ssl_ctx_st, TlsFree>;
  struct Entry {
    Context context;
    std::string stamp;  // of the file that was tried last
    int64_t looked_ns = 0;
  };
  static Result<Context> Load(const std::string& ca_file);
  void ReloadIfChanged(const std::string& ca_file, Entry& entry) const;

  const Clock& clock_;
  std::map<std::string, Entry> contexts_;
};

// TLS over a connected non-blocking socket, which it does not own. Its steps never block, never
// raise SIGPIPE, and never fall back to anything weaker. Loop thread only.
class TlsSession {
 public:
  // `name`: what the certificate must be for; sent as SNI unless it is an address. `ticket` must
  // outlive the session; it is offered once and replaced by what the server issues.
  static Result<std::unique_ptr<TlsSession>> Create(ssl_ctx_st* context, int fd,
                                                    const std::string& name, TlsTicket& ticket);

  IoStep Handshake();
  IoStep Read(char* data, size_t size);
  // The same bytes again after a kWant…, from wherever they are now.
  IoStep Write(std::span<const iovec> pieces);
  // Open, and nothing to read: session tickets are taken in, data stays.
  bool Silent();
  // Tells the peer, without waiting, that nothing follows.
  void Close();
  // Why the handshake failed, in words; never empty.
  std::string Failure() const;
  bool resumed() const;
  uint64_t sent() const { return sent_; }  // bytes given to the socket

 private:
  friend struct SocketBio;
  TlsSession(ssl_st* ssl, int fd);
  IoStep StepOf(int result, size_t bytes);

  std::unique_ptr<ssl_st, TlsFree> ssl_;
  int fd_;
  uint64_t sent_ = 0;
  unsigned long error_ = 0;  // first OpenSSL error of a failed step
};

}  // namespace spillway
