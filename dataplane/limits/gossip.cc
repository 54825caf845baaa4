#include "dataplane/limits/gossip.h"

#include <algorithm>
#include <chrono>
#include <tuple>
#include <utility>

#include "common/clock.h"
#include "common/subjects.h"
#include "dataplane/limits/rep.h"

namespace spillway {
namespace {

// Between two messages: what is urgent within it goes together.
constexpr int64_t kPauseNs = int64_t{2} * kNsPerMs;
constexpr int64_t kFleetEveryNs = int64_t{1'000} * kNsPerMs;

}  // namespace

LimitGossip::LimitGossip(LimitGossipOptions options, RateLimits& limits, Bus& bus,
                         const Clock& clock)
    : options_(std::move(options)),
      limits_(limits),
      bus_(bus),
      clock_(clock),
      core_(std::make_shared<GossipCore>(limits, options_.instance, options_.incarnation,
                                         clock.MonotonicNs())) {}

Result<std::unique_ptr<LimitGossip>> LimitGossip::Start(LimitGossipOptions options,
                                                        RateLimits& limits, Bus& bus,
                                                        const Clock& clock) {
  std::unique_ptr<LimitGossip> gossip(new LimitGossip(std::move(options), limits, bus, clock));
  auto subscribed =
      bus.Subscribe(subjects::kGossip, [core = gossip->core_, &clock](const BusMessage& message) {
        core->Receive(message.payload, clock.MonotonicNs());
      });
  if (!subscribed)
    return std::unexpected(std::move(subscribed).error().Within("gossip of rate limits"));
  gossip->subscription_ = *std::move(subscribed);
  gossip->thread_ = std::thread([raw = gossip.get()] { raw->Run(); });
  return gossip;
}

LimitGossip::~LimitGossip() { Stop(); }

void LimitGossip::Stop() {
  subscription_.reset();
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stop_wake_.notify_all();
  limits_.rep().table.Wake();
  if (thread_.joinable()) thread_.join();
}

bool LimitGossip::PauseOrStop(int64_t ns) {
  std::unique_lock lock(mutex_);
  return stop_wake_.wait_for(lock, std::chrono::nanoseconds(ns), [this] { return stop_; });
}

void LimitGossip::Run() {
  int64_t tick_ns = clock_.MonotonicNs();
  int64_t fleet_ns = tick_ns;
  while (!PauseOrStop(kPauseNs)) {
    std::ignore = limits_.rep().table.AwaitUrgent(tick_ns - clock_.MonotonicNs());
    const int64_t now_ns = clock_.MonotonicNs();
    const bool connected = bus_.state() == BusState::kConnected;
    core_->SetConnected(connected, now_ns);
    if (now_ns >= fleet_ns) {
      AskFleet(now_ns);
      fleet_ns = now_ns + kFleetEveryNs;
    }
    if (now_ns >= tick_ns) {
      tick_ns = std::max(tick_ns + GossipCore::kTickNs, now_ns);
      const std::vector<std::string> messages = core_->Tick(now_ns);
      if (connected) Publish(messages);
    } else if (connected) {
      Publish(core_->Urgent(now_ns));
    }
  }
}

void LimitGossip::AskFleet(int64_t now_ns) {
  if (!options_.fleet) return;
  const FleetWord word = options_.fleet();
  if (word.size > 0)
    core_->SetFleetSize(word.size, now_ns - std::max<int64_t>(word.age_ms, 0) * kNsPerMs, now_ns);
}

void LimitGossip::Publish(const std::vector<std::string>& messages) {
  for (const std::string& message : messages) {
    const bool sent = bus_.Publish(subjects::kGossip, message).has_value();
    (sent ? published_ : failed_).fetch_add(1, std::memory_order_relaxed);
  }
}

void LimitGossip::Collect(MetricsText& text) const {
  const std::shared_ptr<const FleetView> view = core_->members().view();
  text.Family("spillway_limit_fleet", "gauge", "Data planes that share the rate limits.");
  text.Sample("spillway_limit_fleet", {{"state", "counted"}}, view->fleet);
  text.Sample("spillway_limit_fleet", {{"state", "live"}}, view->live);
  const int64_t age_ns = core_->members().AgeNs(clock_.MonotonicNs());
  if (age_ns >= 0) {
    text.Family("spillway_limit_gossip_age_seconds", "gauge",
                "Since the live data plane that is silent for longest was heard.");
    text.Sample("spillway_limit_gossip_age_seconds", {}, static_cast<double>(age_ns) / 1e9);
  }
  text.Family("spillway_limit_gossip_messages_total", "counter", "Gossip messages by their fate.");
  const auto count = [&text](std::string_view fate, int64_t value) {
    text.Sample("spillway_limit_gossip_messages_total", {{"fate", fate}}, value);
  };
  count("published", published_.load(std::memory_order_relaxed));
  count("not_published", failed_.load(std::memory_order_relaxed));
  count("heard", core_->received());
  count("ignored", core_->ignored());
}

}  // namespace spillway
