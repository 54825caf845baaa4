#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>

#include "controlplane/api/admin_server.h"
#include "controlplane/api/budget_service.h"
#include "controlplane/api/config_service.h"
#include "controlplane/api/history_service.h"
#include "controlplane/api/key_service.h"
#include "controlplane/api/operations_service.h"
#include "spillway/v1/admin.grpc.pb.h"

namespace spillway::api {

// gRPC's view of the services: who calls, may he, and refusals as statuses. Nothing is decided
// here. Thread-safe. The only header with gRPC in it: included by admin_rpcs.cc and
// admin_server.cc.
class AdminRpcs final : public v1::AdminService::Service {
 public:
  explicit AdminRpcs(AdminServices services);

  // Calls that wait return at once from now on.
  void StopWaiting() { stopping_ = true; }

#define SW_RPC(Method, Request, Response)                                       \
  grpc::Status Method(grpc::ServerContext* context, const v1::Request* request, \
                      v1::Response* response) override;
  SW_RPC(Apply, ApplyRequest, ApplyResponse)
  SW_RPC(Validate, ApplyRequest, ApplyResponse)
  SW_RPC(Diff, ApplyRequest, ApplyResponse)
  SW_RPC(Get, GetRequest, GetResponse)
  SW_RPC(List, ListRequest, ListResponse)
  SW_RPC(Delete, DeleteRequest, ApplyResponse)
  SW_RPC(SetSecret, SetSecretRequest, ApplyResponse)
  SW_RPC(CreateKey, CreateKeyRequest, KeySecretResponse)
  SW_RPC(RotateKey, RotateKeyRequest, KeySecretResponse)
  SW_RPC(RevokeKey, RevokeKeyRequest, ApplyResponse)
  SW_RPC(ListRevisions, ListRevisionsRequest, ListRevisionsResponse)
  SW_RPC(DiffRevisions, DiffRevisionsRequest, ApplyResponse)
  SW_RPC(Rollback, RollbackRequest, ApplyResponse)
  SW_RPC(ListFleet, ListFleetRequest, ListFleetResponse)
  SW_RPC(WaitActive, WaitActiveRequest, WaitActiveResponse)
  SW_RPC(RetireInstance, RetireInstanceRequest, RetireInstanceResponse)
  SW_RPC(QuerySpend, QuerySpendRequest, QuerySpendResponse)
  SW_RPC(ListLedgerGaps, ListLedgerGapsRequest, ListLedgerGapsResponse)
  SW_RPC(VerifyLedger, VerifyLedgerRequest, VerifyLedgerResponse)
  SW_RPC(ListLedgerEvents, ListLedgerEventsRequest, ListLedgerEventsResponse)
  SW_RPC(ListAlerts, ListAlertsRequest, ListAlertsResponse)
  SW_RPC(TestAlertSink, TestAlertSinkRequest, TestAlertSinkResponse)
  SW_RPC(ListBudgets, ListBudgetsRequest, ListBudgetsResponse)
  SW_RPC(ShowBudget, ShowBudgetRequest, ShowBudgetResponse)
  SW_RPC(FreezeBudget, FreezeBudgetRequest, ApplyResponse)
  SW_RPC(RaiseBudget, RaiseBudgetRequest, ApplyResponse)
  SW_RPC(LowerRaise, LowerRaiseRequest, ApplyResponse)
  SW_RPC(OpenBudgetGate, OpenBudgetGateRequest, OpenBudgetGateResponse)
  SW_RPC(CreateBackup, CreateBackupRequest, CreateBackupResponse)
  SW_RPC(ListBackups, ListBackupsRequest, ListBackupsResponse)
  SW_RPC(CreateAdminToken, CreateAdminTokenRequest, CreateAdminTokenResponse)
  SW_RPC(ListAdminTokens, ListAdminTokensRequest, ListAdminTokensResponse)
  SW_RPC(RevokeAdminToken, RevokeAdminTokenRequest, RevokeAdminTokenResponse)
  SW_RPC(GetServerInfo, GetServerInfoRequest, GetServerInfoResponse)
#undef SW_RPC

 private:
  Outcome<Caller> Admit(const grpc::ServerContext& context, std::string_view method) const;
  template <typename Request, typename Response, typename Call>
  grpc::Status Serve(grpc::ServerContext* context, std::string_view method, const Request& request,
                     Response* response, Call&& call) const;

  ConfigWriter writer_;
  ConfigService config_;
  KeyService keys_;
  HistoryService history_;
  OperationsService operations_;
  Ledger& ledger_;
  AlertsView alerts_;
  BudgetService budgets_;
  std::atomic<bool> stopping_{false};
};

}  // namespace spillway::api
