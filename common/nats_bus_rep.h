#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "common/nats_bus.h"

// The insides of NatsBus, for nats_bus*.cc only. The library's own types are named, not included.
// NOLINTBEGIN(bugprone-reserved-identifier)
struct __natsConnection;
struct __natsSubscription;
struct __natsOptions;
struct __jsCtx;
// NOLINTEND(bugprone-reserved-identifier)

namespace spillway {

// What the library's threads are given instead of a pointer: a number that is looked up. When the
// object is gone the look-up fails, however late a callback comes; nothing dangles.
template <typename T>
class NatsRegistry {
 public:
  void* Add(std::weak_ptr<T> object) {
    const std::lock_guard lock(mutex_);
    objects_[++last_] = std::move(object);
    return reinterpret_cast<void*>(last_);  // NOLINT(performance-no-int-to-ptr): never one
  }
  void Remove(void* handle) {
    const std::lock_guard lock(mutex_);
    objects_.erase(reinterpret_cast<uintptr_t>(handle));
  }
  std::shared_ptr<T> Find(void* handle) {
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(reinterpret_cast<uintptr_t>(handle));
    return found == objects_.end() ? nullptr : found->second.lock();
  }

 private:
  std::mutex mutex_;
  uintptr_t last_ = 0;
  std::map<uintptr_t, std::weak_ptr<T>> objects_;
};

// One subject's listener; survives the connections it is subscribed on.
struct NatsListener {
  std::string subject;
  void* handle = nullptr;
  std::recursive_mutex mutex;  // held while the callback runs; a callback may drop its subscription
  bool alive = true;
  Bus::OnMessage on_message;
  __natsSubscription* native = nullptr;  // guarded by Rep::listeners_mutex

  // Waits for a callback that runs on another thread; none follows.
  void Kill();
};
NatsRegistry<NatsListener>& NatsListeners();

// One connection of the library with its JetStream context; whoever uses it holds it.
struct NatsLink {
  void* handle = nullptr;  // in NatsReps(): what its connection's callbacks get; gone with the link
  __natsConnection* connection = nullptr;
  __jsCtx* js = nullptr;
  NatsLink() = default;
  NatsLink(const NatsLink&) = delete;
  NatsLink& operator=(const NatsLink&) = delete;
  ~NatsLink();
};

struct NatsBus::Rep : std::enable_shared_from_this<NatsBus::Rep> {
  explicit Rep(NatsOptions wanted) : options(std::move(wanted)) {}

  const NatsOptions options;
  std::string ack_prefix;  // "<inbox>.<random>.": where acknowledgements arrive, token behind it

  mutable std::mutex mutex;
  std::condition_variable wake;  // the supervisor
  bool closing = false;
  bool link_lost = false;  // the library gave up: build another connection
  bool connected = false;
  bool announce = false;  // connected callbacks are due
  Counts counts;
  std::shared_ptr<NatsLink>
      link;  // shared: calls in flight keep it while the supervisor replaces it
  std::vector<std::function<void()>> on_connected;
  std::vector<std::function<void()>> late_callbacks;  // registered while connected: due once

  // Publishes that wait for their acknowledgement; guarded by `mutex`.
  struct Pending {
    OnAck on_ack;
    int64_t deadline_ns = 0;
  };
  uint64_t last_token = 0;
  std::map<uint64_t, Pending> pending;
  std::set<std::pair<int64_t, uint64_t>> deadlines;

  // What PublishToStreamAsync took and the sender has not sent; guarded by `mutex`.
  struct Outgoing {
    std::string subject;
    std::string payload;
    PublishOptions options;
    uint64_t token = 0;
  };
  std::deque<Outgoing> outgoing;
  size_t outgoing_bytes = 0;
  size_t async_waiting = 0;  // taken and not yet answered
  int settling = 0;          // answers being told right now, outside `mutex`
  std::condition_variable settled;
  std::condition_variable to_send;

  std::mutex listeners_mutex;  // before `mutex`
  std::vector<std::shared_ptr<NatsListener>> listeners;
  std::shared_ptr<NatsListener> acks;

  std::thread supervisor;
  std::thread sender;

  // nats_bus_connection.cc
  Result<void> CheckOptions() const;
  void Supervise();
  void Shutdown();
  std::shared_ptr<NatsLink> Build(bool& up);
  void Install(std::shared_ptr<NatsLink> fresh);
  void SubscribeOne(NatsLink& on, NatsListener& listener);
  void Unsubscribe(NatsListener& listener);
  void Connected();
  void Disconnected();
  void Lost();
  // The connection, when it is up; kUnavailable otherwise.
  Result<std::shared_ptr<NatsLink>> Link() const;

  // nats_bus_publish.cc
  void Send();
  void HearAck(const BusMessage& ack);
  uint64_t Expect(OnAck on_ack, int timeout_ms);  // with `mutex`
  void Settle(uint64_t token, Result<uint64_t> result);
  void FailPending(const Error& error);
  void ExpireDue();
  Result<void> SendNow(const std::string& subject, std::string_view payload,
                       const PublishOptions& publish, uint64_t token);
};
NatsRegistry<NatsBus::Rep>& NatsReps();

int64_t SteadyNs();
// An error from a status of the library (an int here) and JetStream's code, 0 when there is none.
std::unexpected<Error> NatsFailure(std::string_view what, int status, int js_code);
// What JetStream's code means for the caller.
ErrorCode CodeOf(int status, int js_code);
// {"stream":"S","seq":7} or {"error":{"err_code":n,"description":"..."}}
Result<uint64_t> ParseAck(std::string_view json);

}  // namespace spillway
