#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/bus.h"
#include "common/error.h"
#include "common/secret.h"

namespace spillway {

// Where replies to each role arrive; deploy/nats.conf lets a role read its own prefix only.
inline constexpr std::string_view kControlPlaneInbox = "_INBOX_CONTROLPLANE";
inline constexpr std::string_view kDataPlaneInbox = "_INBOX_DATAPLANE";

struct NatsOptions {
  std::string url = "nats://127.0.0.1:4222";  // several, separated by commas
  std::string client_name = "spillway";
  std::string user;  // with password; or
  Secret password;
  std::string credentials_file;  // a JWT and its seed; or neither
  std::string tls_ca_file;       // this or a certificate turns TLS on
  std::string tls_cert_file;     // with its key, or neither
  std::string tls_key_file;
  std::string inbox_prefix{kDataPlaneInbox};
  int stream_replicas = 1;                 // of the streams EnsureStream creates
  int64_t reconnect_delay_max_ms = 2'000;  // each wait is uniform in (0, delay]
  size_t async_messages_max = 8'192;       // PublishToStreamAsync not yet acknowledged
  size_t async_bytes_max = size_t{64} * 1024 * 1024;
};

// The bus over NATS. Open returns at once, whether the server is there or not: the library connects
// and reconnects, and when it gives up for good (closed connection), a supervisor thread builds a
// new connection and subscribes everything again. A black-holed link is noticed within 15 s.
// Outstanding stream publishes fail with kUnavailable on a disconnect; their outcome is then
// unknown, so publish again under the same message id or as compare-and-set. An OnConnected
// callback registered while connected is called at once, from a bus thread. A stream or consumer
// that does not exist is kNotFound. Destroying it waits for callbacks that run, fails what is
// outstanding with kCancelled, and calls nothing afterwards; destroy it from no callback.
// Subscriptions and consumers may outlive it: they are dead then.
class NatsBus final : public Bus {
 public:
  // kInvalidConfig: an option the library refuses (no URL, an unreadable TLS file, a
  // certificate without its key or a key without its certificate).
  static Result<std::unique_ptr<NatsBus>> Open(NatsOptions options);
  ~NatsBus() override;

  BusState state() const override;
  void OnConnected(std::function<void()> callback) override;

  Result<void> Publish(std::string_view subject, std::string_view payload) override;
  Result<std::unique_ptr<Subscription>> Subscribe(std::string_view subject,
                                                  OnMessage on_message) override;
  Result<uint64_t> PublishToStream(std::string_view subject, std::string_view payload,
                                   const PublishOptions& options) override;
  Result<void> PublishToStreamAsync(std::string_view subject, std::string_view payload,
                                    const PublishOptions& options, OnAck on_ack) override;
  Result<std::optional<BusMessage>> GetLast(std::string_view stream, std::string_view subject,
                                            int timeout_ms) override;

  Result<void> EnsureStream(const StreamSpec& spec) override;
  Result<StreamState> GetStreamState(std::string_view stream) override;
  Result<void> Purge(std::string_view stream, uint64_t below_seq,
                     std::string_view subject) override;
  Result<std::unique_ptr<Consumer>> Consume(const ConsumerSpec& spec) override;
  Result<void> DeleteConsumer(std::string_view stream, std::string_view name) override;

  // For metrics.
  struct Counts {
    uint64_t connects = 0;  // connections made, the first included
    uint64_t rebuilds = 0;  // connections that had to be made anew by the supervisor
    uint64_t async_waiting = 0;
  };
  Counts counts() const;

  struct Rep;  // defined in the nats_bus_*.cc files only

 private:
  explicit NatsBus(std::shared_ptr<Rep> rep);
  // Shared with subscriptions and consumers, which may outlive the bus.
  std::shared_ptr<Rep> rep_;
};

}  // namespace spillway
