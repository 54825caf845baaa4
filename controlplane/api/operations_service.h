#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "common/clock.h"
#include "controlplane/api/fleet_view.h"
#include "controlplane/api/refusal.h"
#include "controlplane/api/roles.h"
#include "controlplane/ledger/ledger.h"
#include "controlplane/store/admin_tokens.h"
#include "controlplane/store/config_store.h"
#include "spillway/v1/admin.pb.h"

namespace spillway::api {

// Data planes, backups, admin tokens, the server itself. Thread-safe; the references must outlive
// it. Backups and tokens do not ask the write gate: they are this database's own affair, and a
// leaked token must be revocable while the bus is away.
class OperationsService {
 public:
  struct Parts {
    ConfigStore& config;
    AdminTokens& tokens;
    Ledger& ledger;
    const Clock& clock;
    std::function<int64_t()> epoch;
    MayWrite may_write;
    FleetView fleet;
    std::string backups_path;
  };
  explicit OperationsService(Parts parts) : parts_(std::move(parts)) {}

  Outcome<v1::ListFleetResponse> ListFleet() const;
  // Waits at most 10 minutes, in steps: `cancelled` ends it early (the client left, a shutdown).
  Outcome<v1::WaitActiveResponse> WaitActive(const v1::WaitActiveRequest& request,
                                             const std::function<bool()>& cancelled) const;
  Outcome<v1::RetireInstanceResponse> Retire(const v1::RetireInstanceRequest& request) const;

  Outcome<v1::CreateBackupResponse> CreateBackup() const;
  Outcome<v1::ListBackupsResponse> ListBackups() const;

  Outcome<v1::CreateAdminTokenResponse> CreateToken(
      const v1::CreateAdminTokenRequest& request) const;
  Outcome<v1::ListAdminTokensResponse> ListTokens() const;
  Outcome<v1::RevokeAdminTokenResponse> RevokeToken(
      const v1::RevokeAdminTokenRequest& request) const;
  // Of "Bearer <token>". kUnauthenticated without a hint which part was wrong.
  Outcome<Caller> Authenticate(std::string_view authorization) const;

  Outcome<v1::GetServerInfoResponse> Info() const;

 private:
  Parts parts_;
};

}  // namespace spillway::api
