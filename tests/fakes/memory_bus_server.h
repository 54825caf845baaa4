#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/fakes/memory_bus.h"

namespace spillway {

// The insides of MemoryBus, shared by its two source files. Everything in Server and Connection is
// guarded by Server::mutex; callbacks run without it.
inline std::unexpected<Error> Away() {
  return Fail(ErrorCode::kUnavailable, "the bus is not connected");
}

struct MemoryConsumer {
  uint64_t next_seq = 1;
  std::set<uint64_t> unacked;
};

struct MemoryStream {
  StreamSpec spec;
  int64_t created_ns = 0;
  uint64_t last_seq = 0;
  uint64_t bytes = 0;
  std::map<uint64_t, BusMessage> messages;
  std::map<std::string, uint64_t, std::less<>> message_ids;
  std::map<std::string, MemoryConsumer, std::less<>> consumers;

  void Erase(std::map<uint64_t, BusMessage>::iterator at);
  Result<uint64_t> Store(std::string_view subject, std::string_view payload,
                         const Bus::PublishOptions& options);

 private:
  uint64_t LastSeqOf(std::string_view subject) const;
  void TrimSubject(std::string_view subject);
};

struct MemorySubscriber {
  std::string pattern;
  Bus::OnMessage on_message;
  std::weak_ptr<MemoryBus::Connection> connection;
  std::recursive_mutex mutex;  // held while the callback runs; a callback may unsubscribe itself
  bool alive = true;
};

struct MemoryBus::Connection {
  bool connected = true;
  std::vector<std::function<void()>> on_connected;
  int acks_to_drop = 0;
  int publishes_to_fail = 0;
  int publishes_before_failure = -1;  // -1: no such fault
  bool hold_acks = false;
  std::vector<std::pair<Bus::OnAck, Result<uint64_t>>> held;
  std::function<Result<void>(std::string_view)> intercept;
};

struct MemoryBus::Server {
  mutable std::mutex mutex;
  std::condition_variable stored;
  std::map<std::string, MemoryStream, std::less<>> streams;
  std::vector<std::shared_ptr<MemorySubscriber>> subscribers;
  std::vector<BusMessage> core;
  int64_t streams_created = 0;
  bool twice = false;

  MemoryStream* StreamFor(std::string_view subject);
  MemoryStream* Named(std::string_view stream);
  // Runs the subscribers' callbacks; call it without the mutex.
  void Deliver(const BusMessage& message);
};

}  // namespace spillway
