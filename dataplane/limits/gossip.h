#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "common/bus.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/metrics.h"
#include "dataplane/limits/gossip_core.h"
#include "dataplane/limits/limits.h"

namespace spillway {

// What the control plane last said of the fleet.
struct FleetWord {
  int64_t size = 0;    // 0: nothing yet
  int64_t age_ms = 0;  // since it was confirmed
};

struct LimitGossipOptions {
  std::string instance;
  std::string incarnation;
  std::function<FleetWord()> fleet;  // asked once a second; empty: never said
};

// Tells the other data planes what this one admitted under rate limits, and hears them, on core
// NATS subject spillway.gossip: every 100 ms, and at once when it matters. While NATS is away this
// data plane keeps to its share of each limit. A thread of its own; hearing runs on the bus's.
// Owned by main; ends before the limits, the bus and the loops whose requests wait for limits.
class LimitGossip {
 public:
  static Result<std::unique_ptr<LimitGossip>> Start(LimitGossipOptions options, RateLimits& limits,
                                                    Bus& bus, const Clock& clock);
  ~LimitGossip();
  // No message is sent or heard after it. Idempotent.
  void Stop();
  void Collect(MetricsText& text) const;

 private:
  LimitGossip(LimitGossipOptions options, RateLimits& limits, Bus& bus, const Clock& clock);
  void Run();
  void Publish(const std::vector<std::string>& messages);
  void AskFleet(int64_t now_ns);
  bool PauseOrStop(int64_t ns);

  const LimitGossipOptions options_;
  RateLimits& limits_;
  Bus& bus_;
  const Clock& clock_;
  // Shared with the subscription's callback.
  std::shared_ptr<GossipCore> core_;
  std::unique_ptr<Bus::Subscription> subscription_;
  std::atomic<int64_t> published_{0};
  std::atomic<int64_t> failed_{0};
  std::mutex mutex_;
  std::condition_variable stop_wake_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace spillway
