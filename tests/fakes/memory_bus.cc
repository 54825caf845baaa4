#include "tests/fakes/memory_bus.h"

#include <algorithm>
#include <utility>

#include "tests/fakes/memory_bus_server.h"

namespace spillway {
namespace {

class MemorySubscription final : public Bus::Subscription {
 public:
  MemorySubscription(std::shared_ptr<MemoryBus::Server> server,
                     std::shared_ptr<MemorySubscriber> subscriber)
      : server_(std::move(server)), subscriber_(std::move(subscriber)) {}
  ~MemorySubscription() override {
    {
      const std::lock_guard lock(server_->mutex);
      std::erase(server_->subscribers, subscriber_);
    }
    const std::lock_guard lock(subscriber_->mutex);
    subscriber_->alive = false;
  }

 private:
  std::shared_ptr<MemoryBus::Server> server_;
  std::shared_ptr<MemorySubscriber> subscriber_;
};

}  // namespace

bool SubjectMatches(std::string_view pattern, std::string_view subject) {
  while (true) {
    const std::string_view want = pattern.substr(0, pattern.find('.'));
    const std::string_view have = subject.substr(0, subject.find('.'));
    if (want == ">") return !have.empty();
    if (want != have && (want != "*" || have.empty())) return false;
    const bool more_pattern = want.size() < pattern.size();
    const bool more_subject = have.size() < subject.size();
    if (!more_pattern || !more_subject) return more_pattern == more_subject;
    pattern.remove_prefix(want.size() + 1);
    subject.remove_prefix(have.size() + 1);
  }
}

MemoryStream* MemoryBus::Server::StreamFor(std::string_view subject) {
  for (auto& [name, stream] : streams) {
    for (const std::string& pattern : stream.spec.subjects) {
      if (SubjectMatches(pattern, subject)) return &stream;
    }
  }
  return nullptr;
}

MemoryStream* MemoryBus::Server::Named(std::string_view stream) {
  const auto found = streams.find(stream);
  return found == streams.end() ? nullptr : &found->second;
}

void MemoryBus::Server::Deliver(const BusMessage& message) {
  std::vector<std::shared_ptr<MemorySubscriber>> targets;
  int times = 1;
  {
    const std::lock_guard lock(mutex);
    times = twice ? 2 : 1;
    for (const auto& subscriber : subscribers) {
      const auto connection = subscriber->connection.lock();
      if (connection == nullptr || !connection->connected) continue;
      if (SubjectMatches(subscriber->pattern, message.subject)) targets.push_back(subscriber);
    }
  }
  for (const auto& target : targets) {
    for (int i = 0; i < times; ++i) {
      const std::lock_guard lock(target->mutex);
      if (target->alive) target->on_message(message);
    }
  }
}

MemoryBus::MemoryBus() : MemoryBus(std::make_shared<Server>()) {}
MemoryBus::MemoryBus(std::shared_ptr<Server> server)
    : server_(std::move(server)), connection_(std::make_shared<Connection>()) {}

MemoryBus::~MemoryBus() {
  FlushAcks();
  std::vector<std::shared_ptr<MemorySubscriber>> mine;
  {
    const std::lock_guard lock(server_->mutex);
    connection_->connected = false;
    for (const auto& subscriber : server_->subscribers) {
      if (subscriber->connection.lock() == connection_) mine.push_back(subscriber);
    }
  }
  for (const auto& subscriber : mine) {
    const std::lock_guard lock(subscriber->mutex);
    subscriber->alive = false;
  }
}

std::unique_ptr<MemoryBus> MemoryBus::Client() const {
  return std::unique_ptr<MemoryBus>(new MemoryBus(server_));
}

void MemoryBus::Disconnect() {
  const std::lock_guard lock(server_->mutex);
  connection_->connected = false;
  server_->stored.notify_all();
}

void MemoryBus::Reconnect() {
  std::vector<std::function<void()>> callbacks;
  {
    const std::lock_guard lock(server_->mutex);
    connection_->connected = true;
    callbacks = connection_->on_connected;
  }
  for (const auto& callback : callbacks) callback();
}

void MemoryBus::DropAcks(int n) {
  const std::lock_guard lock(server_->mutex);
  connection_->acks_to_drop = n;
}

void MemoryBus::FailPublishes(int n) {
  const std::lock_guard lock(server_->mutex);
  connection_->publishes_to_fail = n;
  connection_->publishes_before_failure = -1;
}

void MemoryBus::FailPublishesFrom(int nth) {
  const std::lock_guard lock(server_->mutex);
  connection_->publishes_before_failure = nth - 1;
}

void MemoryBus::InterceptPublish(std::function<Result<void>(std::string_view)> intercept) {
  const std::lock_guard lock(server_->mutex);
  connection_->intercept = std::move(intercept);
}

void MemoryBus::HoldAcks(bool hold) {
  const std::lock_guard lock(server_->mutex);
  connection_->hold_acks = hold;
}

void MemoryBus::FlushAcks() {
  std::vector<std::pair<OnAck, Result<uint64_t>>> held;
  {
    const std::lock_guard lock(server_->mutex);
    held = std::exchange(connection_->held, {});
  }
  for (auto& [on_ack, result] : held) on_ack(std::move(result));
}

void MemoryBus::DeliverTwice(bool twice) {
  const std::lock_guard lock(server_->mutex);
  server_->twice = twice;
}

std::vector<BusMessage> MemoryBus::CorePublished() const {
  const std::lock_guard lock(server_->mutex);
  return server_->core;
}

int MemoryBus::subscriptions() const {
  const std::lock_guard lock(server_->mutex);
  return static_cast<int>(server_->subscribers.size());
}

BusState MemoryBus::state() const {
  const std::lock_guard lock(server_->mutex);
  return connection_->connected ? BusState::kConnected : BusState::kConnecting;
}

void MemoryBus::OnConnected(std::function<void()> callback) {
  bool connected = false;
  {
    const std::lock_guard lock(server_->mutex);
    connection_->on_connected.push_back(callback);
    connected = connection_->connected;
  }
  if (connected) callback();
}

Result<void> MemoryBus::Publish(std::string_view subject, std::string_view payload) {
  const BusMessage message{std::string(subject), std::string(payload)};
  {
    const std::lock_guard lock(server_->mutex);
    if (!connection_->connected) return Away();
    server_->core.push_back(message);
    // A stream takes what is published on its subjects, also when nobody waits for its answer.
    if (MemoryStream* stream = server_->StreamFor(subject); stream != nullptr) {
      std::ignore = stream->Store(subject, payload, {});
      server_->stored.notify_all();
    }
  }
  server_->Deliver(message);
  return {};
}

Result<std::unique_ptr<Bus::Subscription>> MemoryBus::Subscribe(std::string_view subject,
                                                                OnMessage on_message) {
  auto subscriber = std::make_shared<MemorySubscriber>();
  subscriber->pattern = std::string(subject);
  subscriber->on_message = std::move(on_message);
  subscriber->connection = connection_;
  {
    const std::lock_guard lock(server_->mutex);
    server_->subscribers.push_back(subscriber);
  }
  return std::make_unique<MemorySubscription>(server_, std::move(subscriber));
}

}  // namespace spillway
