#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <unordered_map>
#include <vector>

#include "dataplane/exchange/loop.h"
#include "dataplane/upstream/connection.h"
#include "dataplane/upstream/resolver.h"
#include "dataplane/upstream/tls.h"

namespace spillway {

struct UpstreamLimits {
  size_t idle_per_endpoint_max = 128;
  int64_t idle_ms = 60'000;  // longer idle connections are closed
  int64_t sweep_ms = 5'000;
  ResolverLimits resolver = {};
};

struct UpstreamCounters {
  int64_t opened = 0;  // connections begun
  int64_t reused = 0;  // calls on a connection that was idle
};

// The connections of one loop to every provider: idle ones kept per endpoint, the last used first.
// Each is watched meanwhile: one that was closed, or on which the provider said something that
// nobody asked for, is given up, as far as the loop has seen. What arrived since the loop last
// looked goes unseen: a close then fails the call before any answer, and its caller may repeat it
// on a fresh one; surplus bytes of a provider that breaks HTTP's framing would be read as the next
// caller's answer. To close that gap takes a system call per reuse (MSG_PEEK), about a tenth of
// what a request costs. Loop thread only; outlives its calls.
class UpstreamPool {
 public:
  explicit UpstreamPool(Loop& loop, UpstreamLimits limits = {});
  UpstreamPool(Loop& loop, UpstreamLimits limits, Lookup lookup);  // tests
  ~UpstreamPool();

  // The connection of that endpoint that was used last; nullptr: none is idle.
  std::unique_ptr<UpstreamConnection> TakeIdle(uint64_t endpoint_id);
  // A connection object that is not open yet.
  std::unique_ptr<UpstreamConnection> MakeNew(uint64_t endpoint_id);
  // Within `timeout_ms`, and never longer than the provider's connect timeout.
  Task<Result<void>> Open(UpstreamConnection& connection, const ProviderSpec& provider,
                          int64_t timeout_ms = std::numeric_limits<int64_t>::max());
  // Keeps an open connection whose last answer was read to its end.
  void GiveBack(std::unique_ptr<UpstreamConnection> connection);

  const UpstreamCounters& counters() const { return counters_; }
  size_t idle_count() const;
  Loop& loop() { return loop_; }

 private:
  struct Endpoint {
    TlsTicket ticket;
    std::vector<std::unique_ptr<UpstreamConnection>> idle;  // least recently used first
  };

  void Sweep();

  Loop& loop_;
  const UpstreamLimits limits_;
  Resolver resolver_;
  TlsContexts tls_;
  // Endpoints stay: there are as many as configurations named, and connections refer to them.
  std::unordered_map<uint64_t, std::unique_ptr<Endpoint>> endpoints_;
  UpstreamCounters counters_;
  Deadline sweep_;
  bool sweeping_ = false;
};

}  // namespace spillway
