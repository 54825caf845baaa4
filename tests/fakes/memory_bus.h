#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/bus.h"

namespace spillway {

// The bus in memory, for tests: core subjects with wildcards, streams with per-subject limits,
// compare-and-set, message ids, direct gets and durable pull consumers, as NATS does them. Delivery
// is synchronous: Publish returns after every subscriber's callback ran, on the caller's thread.
// Faults are switched by the test. Several clients share one server: connect them with Client(),
// each can be cut off by itself. OnConnected runs its callback at once when connected already.
// Thread-safe.
class MemoryBus final : public Bus {
 public:
  MemoryBus();
  ~MemoryBus() override;
  // Another connection to the same server.
  std::unique_ptr<MemoryBus> Client() const;

  // Faults of this connection.
  void Disconnect();
  void Reconnect();  // runs the OnConnected callbacks
  // Stream publishes are stored, but the publisher hears nothing (kUnavailable), for the next `n`.
  void DropAcks(int n);
  // The next `n` stream publishes fail before they are stored.
  void FailPublishes(int n);
  // The publish number `nth` from now (1: the next) and all after it fail, until FailPublishes(0).
  void FailPublishesFrom(int nth);
  // Publishes whose subject matches are answered as given instead of stored; nullptr ends it.
  void InterceptPublish(std::function<Result<void>(std::string_view subject)> intercept);
  // Asynchronous publishes are queued until Flush instead of acknowledged at once.
  void HoldAcks(bool hold);
  void FlushAcks();

  // Faults of the server.
  void WipeStream(std::string_view stream);  // the stream itself is gone
  void WipeServer();                         // every stream is gone
  void DeliverTwice(bool twice);             // every core message and fetch comes twice
  void DropMessages(std::string_view stream, uint64_t from_seq, uint64_t to_seq);  // acked and lost

  // What is there.
  std::vector<BusMessage> Messages(std::string_view stream) const;
  bool HasStream(std::string_view stream) const;
  std::vector<BusMessage> CorePublished() const;  // every core publish, in order
  int subscriptions() const;

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

  struct Server;      // shared by the clients of one server
  struct Connection;  // this client's

 private:
  explicit MemoryBus(std::shared_ptr<Server> server);
  std::shared_ptr<Server> server_;
  std::shared_ptr<Connection> connection_;  // shared with its subscriptions and consumers
};

// NATS subject matching: "*" one token, ">" the rest.
bool SubjectMatches(std::string_view pattern, std::string_view subject);

}  // namespace spillway
