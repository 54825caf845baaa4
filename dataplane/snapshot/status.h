#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "common/metrics.h"
#include "dataplane/snapshot/refusal.h"
#include "spillway/v1/snapshot.pb.h"

namespace spillway {

// Where the data plane's configuration stands; for /readyz, /debug/snapshot and /metrics. A value.
struct FeedStatus {
  bool ready = false;
  std::string reason;           // why it is not ready; empty when ready
  v1::Position position;        // active
  std::string source;           // nats, disk, seed, file; empty: none yet
  int64_t activated_at_ms = 0;  // wall time
  int64_t age_ms = 0;           // since the activation
  int64_t unconfirmed_ms = -1;  // since somebody last confirmed that this is the newest; -1: never
  int64_t keys = 0;
  int64_t routes = 0;
  int64_t fleet_size = 0;  // as the control plane last said
  std::array<int64_t, kRefusalClasses> refused = {};
  int64_t refused_revision = 0;  // the last refusal, until a later revision is active
  std::string refused_reason;
  std::vector<int64_t> quarantined;
  bool restricted = false;  // carries the revocations of a quarantined revision
  std::string bus_state;    // connecting, connected, closed, none
  int64_t disk_failures = 0;
  int64_t disk_revision = 0;  // newest revision safe on disk
};

// spillway_snapshot_* families.
void AppendMetrics(const FeedStatus& status, MetricsText& out);
// One JSON object, without secrets, for /debug/snapshot.
std::string RenderJson(const FeedStatus& status);

}  // namespace spillway
