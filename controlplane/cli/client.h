#pragma once

#include <cstdint>
#include <memory>

#include "controlplane/cli/connection.h"
#include "controlplane/cli/failure.h"
#include "spillway/v1/admin.pb.h"
#include "spillway/v1/ledger.pb.h"

namespace spillway::cli {

// AdminService as plain calls: adds the token and a deadline, turns statuses into one clear line
// with the next step. client.cc is the only file of the CLI that knows gRPC. Connects at the first
// call. Not thread-safe.
class Client {
 public:
  // Fails with kUsage for a certificate or CA file that cannot be read.
  static Answer<std::unique_ptr<Client>> Create(Connection connection);
  ~Client();

  // How long a call may take; 0: the default, 60 s.
  void SetDeadline(int64_t ms);

  Answer<v1::ApplyResponse> Apply(const v1::ApplyRequest& request);
  Answer<v1::ApplyResponse> Validate(const v1::ApplyRequest& request);
  Answer<v1::ApplyResponse> Diff(const v1::ApplyRequest& request);
  Answer<v1::GetResponse> Get(const v1::GetRequest& request);
  Answer<v1::ListResponse> List(const v1::ListRequest& request);
  Answer<v1::ApplyResponse> Delete(const v1::DeleteRequest& request);
  Answer<v1::ApplyResponse> SetSecret(const v1::SetSecretRequest& request);
  Answer<v1::KeySecretResponse> CreateKey(const v1::CreateKeyRequest& request);
  Answer<v1::KeySecretResponse> RotateKey(const v1::RotateKeyRequest& request);
  Answer<v1::ApplyResponse> RevokeKey(const v1::RevokeKeyRequest& request);
  Answer<v1::ListRevisionsResponse> ListRevisions(const v1::ListRevisionsRequest& request);
  Answer<v1::ApplyResponse> DiffRevisions(const v1::DiffRevisionsRequest& request);
  Answer<v1::ApplyResponse> Rollback(const v1::RollbackRequest& request);
  Answer<v1::ListFleetResponse> ListFleet();
  Answer<v1::WaitActiveResponse> WaitActive(const v1::WaitActiveRequest& request);
  Answer<v1::RetireInstanceResponse> RetireInstance(const v1::RetireInstanceRequest& request);
  Answer<v1::QuerySpendResponse> QuerySpend(const v1::QuerySpendRequest& request);
  Answer<v1::ListLedgerGapsResponse> ListLedgerGaps();
  Answer<v1::VerifyLedgerResponse> VerifyLedger();
  Answer<v1::ListLedgerEventsResponse> ListLedgerEvents(const v1::ListLedgerEventsRequest& request);
  Answer<v1::ListAlertsResponse> ListAlerts(const v1::ListAlertsRequest& request);
  Answer<v1::TestAlertSinkResponse> TestAlertSink(const v1::TestAlertSinkRequest& request);
  Answer<v1::ListBudgetsResponse> ListBudgets(const v1::ListBudgetsRequest& request);
  Answer<v1::ShowBudgetResponse> ShowBudget(const v1::ShowBudgetRequest& request);
  Answer<v1::ApplyResponse> FreezeBudget(const v1::FreezeBudgetRequest& request);
  Answer<v1::ApplyResponse> RaiseBudget(const v1::RaiseBudgetRequest& request);
  Answer<v1::ApplyResponse> LowerRaise(const v1::LowerRaiseRequest& request);
  Answer<v1::OpenBudgetGateResponse> OpenBudgetGate();
  Answer<v1::CreateBackupResponse> CreateBackup();
  Answer<v1::ListBackupsResponse> ListBackups();
  Answer<v1::CreateAdminTokenResponse> CreateAdminToken(const v1::CreateAdminTokenRequest& request);
  Answer<v1::ListAdminTokensResponse> ListAdminTokens();
  Answer<v1::RevokeAdminTokenResponse> RevokeAdminToken(const v1::RevokeAdminTokenRequest& request);
  Answer<v1::GetServerInfoResponse> GetServerInfo();

 private:
  struct Rep;
  explicit Client(std::unique_ptr<Rep> rep);
  std::unique_ptr<Rep> rep_;
};

}  // namespace spillway::cli
