#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "common/error.h"
#include "common/metrics.h"
#include "common/settings.h"

namespace spillway {

struct OpsHooks {
  // Why traffic should not be sent here; empty: ready.
  std::function<std::string()> not_ready_reason;
  const MetricsRegistry* metrics = nullptr;
  // One JSON object: positions, counts, names; no secrets.
  std::function<std::string()> snapshot_json;
};

// The operators' HTTP: /livez, /readyz, /metrics, /debug/snapshot. A few threads of its own; hooks
// run on them. Owned by main.
class OpsServer {
 public:
  // Binds and serves. kInvalidConfig: the address is bad or taken.
  static Result<std::unique_ptr<OpsServer>> Start(const HostPort& listen, OpsHooks hooks);
  ~OpsServer();

  uint16_t port() const;

 private:
  struct Rep;
  explicit OpsServer(std::unique_ptr<Rep> rep);
  std::unique_ptr<Rep> rep_;
};

}  // namespace spillway
