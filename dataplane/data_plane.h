#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/metrics.h"
#include "common/nats_bus.h"
#include "dataplane/budgets/budgets.h"
#include "dataplane/budgets/estimator.h"
#include "dataplane/budgets/lease_client.h"
#include "dataplane/limits/gossip.h"
#include "dataplane/limits/limits.h"
#include "dataplane/metering/journal.h"
#include "dataplane/metering/meter.h"
#include "dataplane/metering/shipper.h"
#include "dataplane/options.h"
#include "dataplane/pipeline/distinct_names.h"
#include "dataplane/pipeline/pipeline.h"
#include "dataplane/server/ops_server.h"
#include "dataplane/server/server.h"
#include "dataplane/snapshot/crash_marker.h"
#include "dataplane/snapshot/feed.h"
#include "dataplane/snapshot/file_config.h"
#include "dataplane/telemetry/telemetry.h"
#include "dataplane/upstream/pool.h"

namespace spillway {

// The whole process, put together: the only place that knows every concrete class. One per process;
// main's thread only. Members are destroyed in reverse order, so each stands below what it uses.
class DataPlane {
 public:
  // Opens the data-dir, binds and starts everything. An error is the operator's to mend (exit 2).
  static Result<std::unique_ptr<DataPlane>> Start(const DataPlaneOptions& options);
  ~DataPlane();

  // SIGHUP: configuration files and access log are opened again.
  void Reload();
  // Not ready any more; no new connections.
  void BeginDrain();
  // True: no connection is left.
  bool AwaitDrained(int64_t timeout_ms) { return server_->AwaitDrained(timeout_ms); }
  // Ends connections that are left, flushes journal and logs, says goodbye.
  void Finish();

 private:
  explicit DataPlane(DataPlaneOptions options) : options_(std::move(options)) {}
  bool standalone() const { return !options_.config.empty(); }
  Result<void> OpenStorage();
  Result<void> OpenBudgets();
  Result<void> OpenBus();
  Result<void> StartTraffic();
  Result<void> StartOperators();
  Result<void> StartConfiguration();
  Result<void> StartFeed();
  Result<void> StartLimitGossip();
  Result<void> WritePortFile() const;
  FeedStatus Status() const;
  std::string NotReadyReason() const;
  void RegisterMetrics();

  const DataPlaneOptions options_;
  std::atomic<bool> draining_{false};
  MetricsRegistry metrics_;
  std::optional<DataDir> data_dir_;
  std::unique_ptr<CrashMarker> marker_;
  std::unique_ptr<Journal> journal_;
  std::optional<Meter> meter_;
  Estimator estimator_;
  std::unique_ptr<Budgets> budgets_;         // the loops' frames hold reservations of it
  std::unique_ptr<RateLimits> rate_limits_;  // the loops' frames hold tickets of it
  std::optional<DistinctNames> names_;
  std::optional<Verifier> verifier_;
  std::unique_ptr<NatsBus> bus_;  // nullptr: standalone
  std::unique_ptr<Shipper> shipper_;
  std::unique_ptr<LeaseClient> lease_client_;  // nullptr: standalone
  std::unique_ptr<Server> server_;
  std::unique_ptr<Telemetry> telemetry_;
  std::vector<std::unique_ptr<UpstreamPool>> pools_;
  std::vector<std::unique_ptr<Pipeline>> pipelines_;
  std::unique_ptr<SnapshotFeed> feed_;  // one of the two
  std::unique_ptr<FileConfig> files_;
  std::unique_ptr<LimitGossip> limit_gossip_;  // nullptr: standalone
  std::unique_ptr<OpsServer> ops_;
};

}  // namespace spillway
