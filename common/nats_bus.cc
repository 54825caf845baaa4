#include "common/nats_bus.h"

#include <nats/nats.h>

#include <utility>

#include "common/ids.h"
#include "common/nats_bus_rep.h"

namespace spillway {
namespace {

class NatsSubscription final : public Bus::Subscription {
 public:
  NatsSubscription(std::weak_ptr<NatsBus::Rep> rep, std::shared_ptr<NatsListener> listener)
      : rep_(std::move(rep)), listener_(std::move(listener)) {}
  ~NatsSubscription() override {
    listener_->Kill();
    if (const auto rep = rep_.lock()) rep->Unsubscribe(*listener_);
  }

 private:
  std::weak_ptr<NatsBus::Rep> rep_;
  std::shared_ptr<NatsListener> listener_;  // shared with the bus, which subscribes it again
};

std::shared_ptr<NatsListener> MakeListener(std::string subject, Bus::OnMessage on_message) {
  auto listener = std::make_shared<NatsListener>();
  listener->subject = std::move(subject);
  listener->on_message = std::move(on_message);
  listener->handle = NatsListeners().Add(listener);
  return listener;
}

}  // namespace

Result<std::unique_ptr<NatsBus>> NatsBus::Open(NatsOptions options) {
  auto rep = std::make_shared<Rep>(std::move(options));
  SW_CHECK(rep->CheckOptions());
  rep->ack_prefix = rep->options.inbox_prefix + "." + FreshId() + ".";
  rep->acks = MakeListener(rep->ack_prefix + "*", [weak = std::weak_ptr(rep)](const auto& ack) {
    if (const auto alive = weak.lock()) alive->HearAck(ack);
  });
  rep->listeners.push_back(rep->acks);
  rep->supervisor = std::thread(&Rep::Supervise, rep.get());
  rep->sender = std::thread(&Rep::Send, rep.get());
  return std::unique_ptr<NatsBus>(new NatsBus(std::move(rep)));
}

NatsBus::NatsBus(std::shared_ptr<Rep> rep) : rep_(std::move(rep)) {}
NatsBus::~NatsBus() { rep_->Shutdown(); }

BusState NatsBus::state() const {
  const std::lock_guard lock(rep_->mutex);
  if (rep_->closing) return BusState::kClosed;
  return rep_->connected && rep_->link != nullptr ? BusState::kConnected : BusState::kConnecting;
}

NatsBus::Counts NatsBus::counts() const {
  const std::lock_guard lock(rep_->mutex);
  Counts counts = rep_->counts;
  counts.async_waiting = rep_->async_waiting;
  return counts;
}

void NatsBus::OnConnected(std::function<void()> callback) {
  const std::lock_guard lock(rep_->mutex);
  rep_->on_connected.push_back(callback);
  // An announcement that is still due covers it.
  if (!rep_->connected || rep_->announce || rep_->closing) return;
  rep_->late_callbacks.push_back(std::move(callback));
  rep_->wake.notify_all();
}

Result<void> NatsBus::Publish(std::string_view subject, std::string_view payload) {
  SW_TRY(const auto up, rep_->Link());
  const natsStatus status =
      natsConnection_Publish(up->connection, std::string(subject).c_str(), payload.data(),
                             static_cast<int>(payload.size()));
  if (status != NATS_OK) return NatsFailure("publish " + std::string(subject), status, 0);
  return {};
}

Result<std::unique_ptr<Bus::Subscription>> NatsBus::Subscribe(std::string_view subject,
                                                              OnMessage on_message) {
  auto listener = MakeListener(std::string(subject), std::move(on_message));
  {
    const std::lock_guard lock(rep_->listeners_mutex);
    std::shared_ptr<NatsLink> on;
    {
      const std::lock_guard inner(rep_->mutex);
      if (rep_->closing) return Fail(ErrorCode::kUnavailable, "the bus is closed");
      on = rep_->link;
    }
    rep_->listeners.push_back(listener);
    // Without a connection the supervisor subscribes it on the next one.
    if (on != nullptr) rep_->SubscribeOne(*on, *listener);
  }
  return std::make_unique<NatsSubscription>(rep_, std::move(listener));
}

}  // namespace spillway
