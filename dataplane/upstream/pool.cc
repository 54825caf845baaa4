#include "dataplane/upstream/pool.h"

#include <algorithm>

#include "common/clock.h"

namespace spillway {
UpstreamPool::UpstreamPool(Loop& loop, UpstreamLimits limits)
    : loop_(loop),
      limits_(limits),
      resolver_(loop, limits.resolver),
      tls_(*loop.clock),
      sweep_(*loop.timers, [this] { Sweep(); }) {}

UpstreamPool::UpstreamPool(Loop& loop, UpstreamLimits limits, Lookup lookup)
    : loop_(loop),
      limits_(limits),
      resolver_(loop, limits.resolver, std::move(lookup)),
      tls_(*loop.clock),
      sweep_(*loop.timers, [this] { Sweep(); }) {}

UpstreamPool::~UpstreamPool() = default;

std::unique_ptr<UpstreamConnection> UpstreamPool::TakeIdle(uint64_t endpoint_id) {
  const auto found = endpoints_.find(endpoint_id);
  if (found == endpoints_.end()) return nullptr;
  std::vector<std::unique_ptr<UpstreamConnection>>& idle = found->second->idle;
  const int64_t now = idle.empty() ? 0 : loop_.clock->MonotonicNs();
  while (!idle.empty()) {
    std::unique_ptr<UpstreamConnection> connection = std::move(idle.back());
    idle.pop_back();
    const int64_t idle_ns = now - connection->idle_since_ns;
    if (idle_ns >= limits_.idle_ms * kNsPerMs) continue;
    if (!connection->Silent()) continue;
    ++counters_.reused;
    return connection;
  }
  return nullptr;
}

std::unique_ptr<UpstreamConnection> UpstreamPool::MakeNew(uint64_t endpoint_id) {
  std::unique_ptr<Endpoint>& endpoint = endpoints_[endpoint_id];
  if (!endpoint) endpoint = std::make_unique<Endpoint>();
  ++counters_.opened;
  return std::make_unique<UpstreamConnection>(loop_, endpoint_id, endpoint->ticket);
}

Task<Result<void>> UpstreamPool::Open(UpstreamConnection& connection, const ProviderSpec& provider,
                                      int64_t timeout_ms) {
  return connection.Open(provider, std::min(timeout_ms, provider.connect_timeout_ms), resolver_,
                         tls_);
}

void UpstreamPool::GiveBack(std::unique_ptr<UpstreamConnection> connection) {
  connection->ClearDeadlines();
  std::vector<std::unique_ptr<UpstreamConnection>>& idle =
      endpoints_[connection->endpoint_id()]->idle;
  if (idle.size() >= limits_.idle_per_endpoint_max) return;
  connection->idle_since_ns = loop_.clock->MonotonicNs();
  if (connection->WatchReadable() && !connection->Silent()) return;
  idle.push_back(std::move(connection));
  if (!sweeping_) {
    sweeping_ = true;
    sweep_.SetAfterMs(limits_.sweep_ms);
  }
}

size_t UpstreamPool::idle_count() const {
  size_t count = 0;
  for (const auto& [id, endpoint] : endpoints_) count += endpoint->idle.size();
  return count;
}

void UpstreamPool::Sweep() {
  const int64_t now = loop_.clock->MonotonicNs();
  for (auto& [id, endpoint] : endpoints_) {
    std::erase_if(endpoint->idle, [&](const std::unique_ptr<UpstreamConnection>& connection) {
      const int64_t idle_ns = now - connection->idle_since_ns;
      if (idle_ns >= limits_.idle_ms * kNsPerMs) return true;
      return !connection->Silent();
    });
  }
  sweeping_ = idle_count() > 0;
  if (sweeping_) sweep_.SetAfterMs(limits_.sweep_ms);
}

}  // namespace spillway
