#include "controlplane/api/admin_rpcs.h"

#include <atomic>
#include <string>
#include <utility>

#include "common/clock.h"
#include "common/log.h"
#include "controlplane/api/roles.h"

namespace spillway::api {
namespace {

// Statuses travel in headers, and many clients take 8 KiB of those in all.
constexpr size_t kMessageBytesMax = 1024;
constexpr size_t kViolationsBytesMax = 4096;

grpc::StatusCode CodeOf(Refusal::Kind kind) {
  switch (kind) {
    case Refusal::Kind::kInvalid:
      return grpc::StatusCode::INVALID_ARGUMENT;
    case Refusal::Kind::kNotFound:
      return grpc::StatusCode::NOT_FOUND;
    case Refusal::Kind::kAlreadyExists:
      return grpc::StatusCode::ALREADY_EXISTS;
    case Refusal::Kind::kNotNow:
      return grpc::StatusCode::FAILED_PRECONDITION;
    case Refusal::Kind::kUnauthenticated:
      return grpc::StatusCode::UNAUTHENTICATED;
    case Refusal::Kind::kDenied:
      return grpc::StatusCode::PERMISSION_DENIED;
    case Refusal::Kind::kUnavailable:
      return grpc::StatusCode::UNAVAILABLE;
    case Refusal::Kind::kInternal:
      break;
  }
  return grpc::StatusCode::INTERNAL;
}

// As many as fit; what is left out is counted in a last row.
v1::Violations Fitting(const std::vector<v1::Violation>& all) {
  v1::Violations some;
  size_t bytes = 0;
  for (const v1::Violation& violation : all) {
    bytes += violation.ByteSizeLong() + 4;
    if (bytes > kViolationsBytesMax) break;
    *some.add_violations() = violation;
  }
  const size_t left_out = all.size() - static_cast<size_t>(some.violations_size());
  if (left_out != 0) {
    *some.add_violations() = MakeViolation("", "", "", std::to_string(left_out) + " more");
  }
  return some;
}

// The name that a call is about; empty: it names nothing. Never a value: that may be a secret.
template <typename Request>
std::string ObjectOf([[maybe_unused]] const Request& request) {
  if constexpr (requires { request.instance(); }) {
    return request.instance();
  } else if constexpr (requires { request.name(); }) {
    return request.name();
  } else if constexpr (requires { request.key().name(); }) {
    return request.key().name();
  } else if constexpr (requires { request.provider(); }) {
    return request.provider();
  } else if constexpr (requires { request.sink(); }) {
    return request.sink();
  } else {
    return "";
  }
}

// What changes something: who, what, how it ended. Resources have their own audit in the
// revisions; tokens, backups and retirements have this line only.
template <typename Request>
void LogCall(const Caller& caller, std::string_view method, const Request& request, bool done) {
  if (RoleFor(method) == v1::ROLE_VIEWER) return;
  std::string object = ObjectOf(request);
  // A name that nobody knows may be a secret, given in its place.
  if (!done && object.starts_with("sk-")) object = "sk-...";
  const std::string_view outcome = done ? "ok" : "refused";
  if constexpr (requires { request.free_leases(); }) {
    log::Info("admin call", {{"method", method},
                             {"author", caller.name},
                             {"object", std::move(object)},
                             {"free_leases", request.free_leases() ? "true" : "false"},
                             {"outcome", outcome}});
  } else {
    log::Info("admin call", {{"method", method},
                             {"author", caller.name},
                             {"object", std::move(object)},
                             {"outcome", outcome}});
  }
}

// A call without a good token, or without the role for it. Of guesses at tokens one line a second.
void LogDenied(std::string_view method, const grpc::ServerContext& context,
               const Refusal& refusal) {
  static std::atomic<int64_t> last_second = 0;
  const int64_t second = SystemClock().MonotonicNs() / 1'000'000'000;
  if (refusal.kind != Refusal::Kind::kDenied && last_second.exchange(second) == second) return;
  log::Warn("admin call denied",
            {{"method", method}, {"peer", context.peer()}, {"why", refusal.message}});
}

grpc::Status StatusOf(const Refusal& refusal, std::string_view method,
                      grpc::ServerContext& context) {
  if (refusal.kind == Refusal::Kind::kInternal) {
    log::Fault("an admin call failed", {{"method", method}, {"error", refusal.message}});
  }
  if (!refusal.violations.empty()) {
    context.AddTrailingMetadata("spillway-violations-bin",
                                Fitting(refusal.violations).SerializeAsString());
  }
  std::string message = refusal.message;
  if (message.size() > kMessageBytesMax) message = message.substr(0, kMessageBytesMax) + "...";
  return {CodeOf(refusal.kind), message};
}

}  // namespace

AdminRpcs::AdminRpcs(AdminServices s)
    : writer_(s.config, s.clock, s.epoch, s.may_write),
      config_(s.config, writer_, s.seal_key, s.clock),
      keys_(writer_, s.clock),
      history_(s.config, writer_),
      operations_({.config = s.config,
                   .tokens = s.tokens,
                   .ledger = s.ledger,
                   .clock = s.clock,
                   .epoch = s.epoch,
                   .may_write = s.may_write,
                   .fleet = std::move(s.fleet),
                   .backups_path = std::move(s.backups_path)}),
      ledger_(s.ledger),
      alerts_(std::move(s.alerts)),
      budgets_(s.config, writer_, s.clock, std::move(s.budgets), s.may_write) {}

Outcome<Caller> AdminRpcs::Admit(const grpc::ServerContext& context,
                                 std::string_view method) const {
  const auto [begin, end] = context.client_metadata().equal_range("authorization");
  std::string_view value;
  if (begin != end && std::next(begin) == end) value = {begin->second.data(), begin->second.size()};
  SW_TRY(Caller caller, operations_.Authenticate(value));
  SW_CHECK(Authorize(caller, method));
  return caller;
}

template <typename Request, typename Response, typename Call>
grpc::Status AdminRpcs::Serve(grpc::ServerContext* context, std::string_view method,
                              const Request& request, Response* response, Call&& call) const {
  const Outcome<Caller> caller = Admit(*context, method);
  if (!caller) {
    LogDenied(method, *context, caller.error());
    return StatusOf(caller.error(), method, *context);
  }
  auto outcome = std::forward<Call>(call)(*caller);
  LogCall(*caller, method, request, outcome.has_value());
  if (!outcome) return StatusOf(Refusal(std::move(outcome).error()), method, *context);
  *response = *std::move(outcome);
  return grpc::Status::OK;
}

#define SW_RPC(Method, Request, Response, Answer)                                          \
  grpc::Status AdminRpcs::Method(grpc::ServerContext* context, const v1::Request* request, \
                                 v1::Response* response) {                                 \
    return Serve(context, #Method, *request, response, [&](const Caller& caller) {         \
      (void)caller;                                                                        \
      return Answer;                                                                       \
    });                                                                                    \
  }

SW_RPC(Apply, ApplyRequest, ApplyResponse, config_.Apply(*request, caller.name))
SW_RPC(Validate, ApplyRequest, ApplyResponse, config_.Diff(*request))
SW_RPC(Diff, ApplyRequest, ApplyResponse, config_.Diff(*request))
SW_RPC(Get, GetRequest, GetResponse, config_.Get(*request))
SW_RPC(List, ListRequest, ListResponse, config_.List(*request))
SW_RPC(Delete, DeleteRequest, ApplyResponse, config_.Delete(*request, caller.name))
SW_RPC(SetSecret, SetSecretRequest, ApplyResponse, config_.SetSecret(*request, caller.name))
SW_RPC(CreateKey, CreateKeyRequest, KeySecretResponse, keys_.Create(*request, caller.name))
SW_RPC(RotateKey, RotateKeyRequest, KeySecretResponse, keys_.Rotate(*request, caller.name))
SW_RPC(RevokeKey, RevokeKeyRequest, ApplyResponse, keys_.Revoke(*request, caller.name))
SW_RPC(ListRevisions, ListRevisionsRequest, ListRevisionsResponse, history_.List(*request))
SW_RPC(DiffRevisions, DiffRevisionsRequest, ApplyResponse, history_.Diff(*request))
SW_RPC(Rollback, RollbackRequest, ApplyResponse, history_.Rollback(*request, caller.name))
SW_RPC(ListFleet, ListFleetRequest, ListFleetResponse, operations_.ListFleet())
SW_RPC(WaitActive, WaitActiveRequest, WaitActiveResponse,
       operations_.WaitActive(*request, [&] { return stopping_ || context->IsCancelled(); }))
SW_RPC(RetireInstance, RetireInstanceRequest, RetireInstanceResponse, operations_.Retire(*request))
SW_RPC(QuerySpend, QuerySpendRequest, QuerySpendResponse, ledger_.QuerySpend(*request))
SW_RPC(ListLedgerGaps, ListLedgerGapsRequest, ListLedgerGapsResponse, ledger_.ListGaps())
SW_RPC(VerifyLedger, VerifyLedgerRequest, VerifyLedgerResponse, ledger_.Verify())
SW_RPC(ListLedgerEvents, ListLedgerEventsRequest, ListLedgerEventsResponse,
       ledger_.ListEvents(*request))
SW_RPC(ListAlerts, ListAlertsRequest, ListAlertsResponse, alerts_.List(*request))
SW_RPC(TestAlertSink, TestAlertSinkRequest, TestAlertSinkResponse, alerts_.Test(*request))
SW_RPC(ListBudgets, ListBudgetsRequest, ListBudgetsResponse, budgets_.List(*request))
SW_RPC(ShowBudget, ShowBudgetRequest, ShowBudgetResponse, budgets_.Show(*request))
SW_RPC(FreezeBudget, FreezeBudgetRequest, ApplyResponse, budgets_.Freeze(*request, caller.name))
SW_RPC(RaiseBudget, RaiseBudgetRequest, ApplyResponse, budgets_.Raise(*request, caller.name))
SW_RPC(LowerRaise, LowerRaiseRequest, ApplyResponse, budgets_.LowerRaise(*request, caller.name))
SW_RPC(OpenBudgetGate, OpenBudgetGateRequest, OpenBudgetGateResponse, budgets_.OpenGate())
SW_RPC(CreateBackup, CreateBackupRequest, CreateBackupResponse, operations_.CreateBackup())
SW_RPC(ListBackups, ListBackupsRequest, ListBackupsResponse, operations_.ListBackups())
SW_RPC(CreateAdminToken, CreateAdminTokenRequest, CreateAdminTokenResponse,
       operations_.CreateToken(*request))
SW_RPC(ListAdminTokens, ListAdminTokensRequest, ListAdminTokensResponse, operations_.ListTokens())
SW_RPC(RevokeAdminToken, RevokeAdminTokenRequest, RevokeAdminTokenResponse,
       operations_.RevokeToken(*request))
SW_RPC(GetServerInfo, GetServerInfoRequest, GetServerInfoResponse, operations_.Info())
#undef SW_RPC

}  // namespace spillway::api
