#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"

namespace spillway {

struct BusMessage {
  std::string subject;
  std::string payload;
  uint64_t stream_seq = 0;  // 0: not from a stream
};

enum class BusState : uint8_t { kConnecting, kConnected, kClosed };

// A stream as the control plane wants it; created when missing, its limits updated otherwise.
struct StreamSpec {
  std::string name;
  std::vector<std::string> subjects;
  int64_t bytes_max = -1;
  int64_t messages_per_subject_max = -1;
  int64_t age_max_s = 0;
  bool discard_new = false;
  bool allow_direct = false;
};

// What identifies a stream's life: a re-created stream has another creation time.
struct StreamState {
  int64_t created_ns = 0;
  uint64_t first_seq = 0;
  uint64_t last_seq = 0;
  uint64_t messages = 0;
  uint64_t bytes = 0;
};

// Where a durable pull consumer starts.
struct ConsumerSpec {
  std::string stream;
  std::string name;
  uint64_t start_seq = 1;
};

// The bus between the planes. Two implementations: NatsBus, and the tests' MemoryBus.
// Thread-safe. Callbacks run on the bus's threads and must return quickly. Calls that wait take a
// timeout and must not be made from request threads. While the bus is away every call fails with
// kUnavailable at once or at its timeout; nothing is queued beyond that.
class Bus {
 public:
  using OnMessage = std::function<void(const BusMessage&)>;
  // Destroying it unsubscribes; after that no callback runs any more.
  class Subscription {
   public:
    virtual ~Subscription() = default;
  };
  // A durable pull consumer. Explicit acknowledgement; one batch at a time.
  class Consumer {
   public:
    virtual ~Consumer() = default;
    // Up to `max` messages; waits at most `timeout_ms` for the first. Empty: nothing there.
    virtual Result<std::vector<BusMessage>> Fetch(int max, int timeout_ms) = 0;
    // Acknowledges every message of the last Fetch.
    virtual Result<void> AckAll() = 0;
  };

  virtual ~Bus() = default;

  virtual BusState state() const = 0;
  // Called after every (re)connect, from a bus thread; several may register.
  virtual void OnConnected(std::function<void()> callback) = 0;

  // Core NATS: at most once.
  virtual Result<void> Publish(std::string_view subject, std::string_view payload) = 0;
  virtual Result<std::unique_ptr<Subscription>> Subscribe(std::string_view subject,
                                                          OnMessage on_message) = 0;

  // JetStream. Returns the stream sequence. `message_id` removes duplicates within the stream's
  // window; `expect_last_subject_seq` makes it a compare-and-set (kConflict).
  struct PublishOptions {
    std::string message_id = {};
    std::optional<uint64_t> expect_last_subject_seq = {};
    int timeout_ms = 2000;
  };
  virtual Result<uint64_t> PublishToStream(std::string_view subject, std::string_view payload,
                                           const PublishOptions& options) = 0;
  // The same without waiting; `on_ack` runs on a bus thread, exactly once, also on failure.
  using OnAck = std::function<void(Result<uint64_t>)>;
  virtual Result<void> PublishToStreamAsync(std::string_view subject, std::string_view payload,
                                            const PublishOptions& options, OnAck on_ack) = 0;
  // The last message on a subject, by direct get; nullopt: there is none.
  virtual Result<std::optional<BusMessage>> GetLast(std::string_view stream,
                                                    std::string_view subject,
                                                    int timeout_ms = 2000) = 0;

  // Streams: only the control plane's credentials may.
  virtual Result<void> EnsureStream(const StreamSpec& spec) = 0;
  virtual Result<StreamState> GetStreamState(std::string_view stream) = 0;
  // Removes messages with a sequence below `below_seq`; with a subject, only that subject's.
  virtual Result<void> Purge(std::string_view stream, uint64_t below_seq,
                             std::string_view subject = {}) = 0;
  virtual Result<std::unique_ptr<Consumer>> Consume(const ConsumerSpec& spec) = 0;
  virtual Result<void> DeleteConsumer(std::string_view stream, std::string_view name) = 0;
};

}  // namespace spillway
