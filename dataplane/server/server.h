#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/error.h"
#include "common/metrics.h"
#include "common/settings.h"
#include "dataplane/server/address_counts.h"
#include "dataplane/server/limits.h"
#include "dataplane/snapshot/snapshot.h"

namespace spillway {

class Pipeline;
struct Loop;

struct ServerOptions {
  HostPort listen;
  int threads = 0;  // 0: one per processor
  int64_t connections_max = 16'384;
  int64_t connections_per_address = 0;  // further ones are closed; 0: no limit
  int64_t memory_bytes_max = 0;         // resident; above it new requests are refused; 0: no limit
  SessionLimits limits = {};
  std::string tls_cert_file = {};  // both empty: plain TCP
  std::string tls_key_file = {};
  std::function<void()> on_thread_start = {};  // called first on every loop's thread
};

// The traffic side: one loop, thread and listening socket each per core. Owned by main. Public
// methods: main's thread, unless they say otherwise.
class Server {
 public:
  // Binds; accepts nothing yet. kInvalidConfig.
  static Result<std::unique_ptr<Server>> Create(const ServerOptions& options, const Clock& clock);
  // Stops if need be. What the pipelines use must be alive.
  ~Server();

  const std::vector<Loop*>& loops() const { return loop_pointers_; }
  uint16_t port() const { return port_; }

  // Starts threads and accepting; one pipeline per loop, which must outlive Stop.
  void Start(const std::vector<Pipeline*>& pipelines);
  // Every loop uses it from its next request on. Any thread, until Stop.
  void SetSnapshot(const std::shared_ptr<const Snapshot>& snapshot);

  // Stops accepting; answers say `Connection: close` from now on, idle connections end soon.
  void BeginDrain();
  // True: every connection has ended; false: some have not after the time.
  bool AwaitDrained(int64_t timeout_ms);
  // Ends what is left, threads included. Idempotent.
  void Stop();

  // Whether every loop has one.
  bool has_snapshot() const {
    return loops_with_snapshot_.load(std::memory_order_acquire) == shards_.size();
  }

  bool shedding() const { return shedding_.load(std::memory_order_relaxed); }
  // spillway_connections_*, spillway_streams_open and so on. Any thread.
  void Append(MetricsText& text) const;

 private:
  struct Shard;
  Server(ServerOptions options, const Clock& clock);
  Result<void> Bind();
  void RunLoop(Shard& shard);
  void Supervise();
  void OnSessionEnd();
  void Retire(std::shared_ptr<const Snapshot> snapshot);
  void FreeRetired();
  void PostAll(const std::function<void(Shard&)>& function);

  const ServerOptions options_;
  const Clock& clock_;
  struct TlsHolder;
  std::unique_ptr<TlsHolder> tls_;
  AddressCounts addresses_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::vector<Loop*> loop_pointers_;
  uint16_t port_ = 0;
  std::atomic<bool> shedding_{false};
  std::atomic<int64_t> connections_{0};
  std::atomic<int64_t> resident_bytes_{0};
  std::atomic<bool> draining_{false};
  std::atomic<size_t> loops_with_snapshot_{0};

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;  // of the supervisor
  // Replaced snapshots: freeing a large one takes long, so no loop does it.
  std::vector<std::shared_ptr<const Snapshot>> retired_;
  std::thread supervisor_;
  bool stopped_ = false;
};

}  // namespace spillway
