#include "controlplane/api/operations_service.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "common/settings.h"

namespace spillway::api {
namespace {

constexpr int64_t kWaitMsMax = 600'000;

bool IsBearer(std::string_view scheme) {
  constexpr std::string_view kBearer = "bearer ";
  return scheme.size() == kBearer.size() && std::ranges::equal(scheme, kBearer, [](char a, char b) {
           return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
         });
}

}  // namespace

Outcome<v1::ListFleetResponse> OperationsService::ListFleet() const { return parts_.fleet.list(); }

Outcome<v1::WaitActiveResponse> OperationsService::WaitActive(
    const v1::WaitActiveRequest& request, const std::function<bool()>& cancelled) const {
  const int64_t current = parts_.config.position().revision();
  if (request.revision() < 0 || request.revision() > current) {
    return Refuse(Refusal::Kind::kNotFound, "there is no revision " +
                                                std::to_string(request.revision()) +
                                                "; the current one is " + std::to_string(current));
  }
  if (request.timeout_ms() < 0 || request.timeout_ms() > kWaitMsMax) {
    return RefuseInvalid({MakeViolation("", "timeout_ms", std::to_string(request.timeout_ms()),
                                        "must be between 0 and 10m")});
  }
  return parts_.fleet.wait_active(request.revision(), request.timeout_ms(), cancelled);
}

Outcome<v1::RetireInstanceResponse> OperationsService::Retire(
    const v1::RetireInstanceRequest& request) const {
  if (request.instance().empty()) {
    return RefuseInvalid({MakeViolation("", "instance", "", "must be named")});
  }
  if (parts_.may_write) {
    if (Result<void> may = parts_.may_write(); !may) {
      return Refuse(Refusal::Kind::kNotNow, may.error().message);
    }
  }
  SW_TRY(v1::RetireInstanceResponse response, parts_.fleet.retire(request));
  return response;
}

Outcome<v1::CreateBackupResponse> OperationsService::CreateBackup() const {
  // Read before: the backup holds at least this revision.
  const int64_t revision = parts_.config.position().revision();
  SW_TRY(const Store::Backup backup,
         parts_.ledger.BackUp(parts_.backups_path, parts_.clock.WallMs()));
  v1::CreateBackupResponse response;
  response.set_path(backup.path);
  response.set_bytes(backup.bytes);
  response.set_revision(revision);
  return response;
}

Outcome<v1::ListBackupsResponse> OperationsService::ListBackups() const {
  SW_TRY(const std::vector<Store::Backup> backups, Store::ListBackups(parts_.backups_path));
  v1::ListBackupsResponse response;
  for (const Store::Backup& backup : backups) {
    v1::BackupInfo& row = *response.add_backups();
    row.set_path(backup.path);
    row.set_bytes(backup.bytes);
    row.set_created_at_ms(backup.created_at_ms);
  }
  return response;
}

Outcome<v1::CreateAdminTokenResponse> OperationsService::CreateToken(
    const v1::CreateAdminTokenRequest& request) const {
  auto created = parts_.tokens.Create(request.name(), request.role(), request.expires_at_ms(),
                                      parts_.clock.WallMs());
  if (!created) {
    if (created.error().code != ErrorCode::kConflict) return std::unexpected(created.error());
    return Refuse(Refusal::Kind::kAlreadyExists, created.error().message);
  }
  v1::CreateAdminTokenResponse response;
  *response.mutable_token() = std::move(created->token);
  response.set_secret(std::move(created->secret));
  return response;
}

Outcome<v1::ListAdminTokensResponse> OperationsService::ListTokens() const {
  v1::ListAdminTokensResponse response;
  for (v1::AdminToken& token : parts_.tokens.List()) *response.add_tokens() = std::move(token);
  return response;
}

Outcome<v1::RevokeAdminTokenResponse> OperationsService::RevokeToken(
    const v1::RevokeAdminTokenRequest& request) const {
  SW_CHECK(parts_.tokens.Revoke(request.name()));
  return v1::RevokeAdminTokenResponse();
}

Outcome<Caller> OperationsService::Authenticate(std::string_view authorization) const {
  constexpr std::string_view kRefused =
      "this needs a valid admin token in \"authorization: Bearer sk-admin-...\"";
  constexpr size_t kSchemeBytes = 7;
  if (authorization.size() <= kSchemeBytes || !IsBearer(authorization.substr(0, kSchemeBytes))) {
    return Refuse(Refusal::Kind::kUnauthenticated, std::string(kRefused));
  }
  auto identity = parts_.tokens.Verify(authorization.substr(kSchemeBytes), parts_.clock.WallMs());
  if (!identity) return Refuse(Refusal::Kind::kUnauthenticated, std::string(kRefused));
  return Caller{.name = std::move(identity->name), .role = identity->role};
}

Outcome<v1::GetServerInfoResponse> OperationsService::Info() const {
  const v1::Position position = parts_.config.position();
  v1::GetServerInfoResponse response;
  response.set_version(std::string(Version()));
  response.set_cluster_id(parts_.config.cluster_id());
  response.set_epoch(parts_.epoch ? parts_.epoch() : 0);
  response.set_revision(position.revision());
  response.set_writable(true);
  if (!parts_.may_write) return response;
  if (Result<void> may = parts_.may_write(); !may) {
    response.set_writable(false);
    response.set_why_not_writable(may.error().message);
  }
  return response;
}

}  // namespace spillway::api
