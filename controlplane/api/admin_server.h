#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "common/clock.h"
#include "common/crypto/sealing.h"
#include "common/error.h"
#include "controlplane/api/alerts_view.h"
#include "controlplane/api/budget_view.h"
#include "controlplane/api/fleet_view.h"
#include "controlplane/ledger/ledger.h"
#include "controlplane/store/admin_tokens.h"
#include "controlplane/store/config_store.h"

namespace spillway::api {

// Everything behind the RPCs. The references must outlive the server. Thread-safe, all of them.
struct AdminServices {
  ConfigStore& config;
  AdminTokens& tokens;
  Ledger& ledger;
  const SealKey& seal_key;
  const Clock& clock;
  std::function<int64_t()> epoch;  // that stamps new revisions; 0: not claimed yet
  MayWrite may_write;
  FleetView fleet;
  std::string backups_path;
  AlertsView alerts = {};
  BudgetView budgets = {};
};

struct AdminServerOptions {
  std::string listen = "127.0.0.1:7070";  // port 0: any free one
  std::string tls_cert_file;              // PEM; empty: plain text
  std::string tls_key_file;
  std::string tls_client_ca_file;  // not empty: clients must show a certificate of this CA
};

// The operators' gRPC server: AdminService with bearer tokens and roles, health, reflection. One
// process binds the port (no SO_REUSEPORT). Owns its threads.
class AdminServer {
 public:
  // kUnavailable: the address is taken or cannot be bound; kInvalidConfig: a bad TLS file.
  static Result<std::unique_ptr<AdminServer>> Create(const AdminServerOptions& options,
                                                     AdminServices services);
  ~AdminServer();

  int port() const;
  // Stops accepting, lets calls finish up to `deadline_ms`, then cuts them. Idempotent.
  void Shutdown(int64_t deadline_ms);

 private:
  struct Rep;
  explicit AdminServer(std::unique_ptr<Rep> rep);
  std::unique_ptr<Rep> rep_;
};

}  // namespace spillway::api
