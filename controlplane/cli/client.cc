#include "controlplane/cli/client.h"

#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <grpcpp/grpcpp.h>

#include <format>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>

#include "spillway/v1/admin.grpc.pb.h"

namespace spillway::cli {
namespace {

constexpr int kMessageBytesMax = 64 << 20;
constexpr int kMetadataBytesMax = 64 << 10;
constexpr int64_t kDeadlineMs = 60'000;

Answer<std::string> ReadPem(const std::string& path, std::string_view flag) {
  if (path.empty()) return std::string();
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) {
    return FailUsage(std::format("{}: cannot read {}", flag, path));
  }
  return std::move(text).str();
}

Answer<std::shared_ptr<grpc::ChannelCredentials>> CredentialsFor(const Connection& connection) {
  if (!connection.tls) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions ssl;
  SW_TRY(ssl.pem_root_certs, ReadPem(connection.ca_file, "--ca-file"));
  SW_TRY(ssl.pem_cert_chain, ReadPem(connection.cert_file, "--cert"));
  SW_TRY(ssl.pem_private_key, ReadPem(connection.key_file, "--key"));
  return grpc::SslCredentials(ssl);
}

std::vector<v1::Violation> ViolationsIn(const grpc::ClientContext& context) {
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto it = trailers.find("spillway-violations-bin");
  v1::Violations parsed;
  if (it == trailers.end() ||
      !parsed.ParseFromArray(it->second.data(), static_cast<int>(it->second.size()))) {
    return {};
  }
  return {parsed.violations().begin(), parsed.violations().end()};
}

// "failed to connect to all addresses; last error: UNKNOWN: ipv4:...: Connection refused" -> the
// last part, which is what helps.
std::string LastCause(const std::string& message) {
  const size_t at = message.rfind(": ");
  return at == std::string::npos ? message : message.substr(at + 2);
}

bool IsTransport(const std::string& message) {
  return message.contains("failed to connect") || message.contains("Socket closed") ||
         message.contains("connections to all backends") || message.contains("Connection reset") ||
         message.contains("DNS resolution") || message.contains("GOAWAY");
}

std::string UnreachableText(const Connection& connection, const std::string& message) {
  std::string text = std::format("cannot reach the control plane at {}: {}. ", connection.address,
                                 LastCause(message));
  text += connection.tls
              ? "Does it serve TLS there, with a certificate that --ca-file vouches for? Does it "
                "ask for one of yours (--cert, --key)?"
              : "Is it running there? --admin or SPILLWAY_ADMIN says where it is; one that serves "
                "TLS needs https:// in front";
  return text;
}

std::string TokenText(const Connection& connection) {
  if (connection.token.empty()) {
    return "no admin token was given: set SPILLWAY_ADMIN_TOKEN, --token-file or "
           "SPILLWAY_ADMIN_TOKEN in ~/.config/spillway/config";
  }
  return std::format(
      "the control plane at {} refuses this admin token: it is unknown, revoked or expired "
      "(SPILLWAY_ADMIN_TOKEN, --token-file)",
      connection.address);
}

Failure FailureOf(const grpc::Status& status, const grpc::ClientContext& context,
                  const Connection& connection, int64_t deadline_ms) {
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      if (!IsTransport(status.error_message())) break;
      return Failure(UnreachableText(connection, status.error_message()));
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return Failure(std::format("the control plane at {} did not answer within {} s",
                                 connection.address, deadline_ms / 1000));
    case grpc::StatusCode::UNAUTHENTICATED:
      return Failure(TokenText(connection));
    case grpc::StatusCode::UNIMPLEMENTED:
      return Failure(
          std::format("the server at {} does not know this call: is it a Spillway "
                      "control plane of this version?",
                      connection.address));
    default:
      break;
  }
  Failure failure(status.error_message().empty() ? "the call failed without a reason"
                                                 : status.error_message());
  failure.violations = ViolationsIn(context);
  return failure;
}

}  // namespace

struct Client::Rep {
  Connection connection;
  std::unique_ptr<v1::AdminService::Stub> stub;
  int64_t deadline_ms = kDeadlineMs;

  template <typename Request, typename Response>
  Answer<Response> Call(grpc::Status (v1::AdminService::Stub::*method)(grpc::ClientContext*,
                                                                       const Request&, Response*),
                        const Request& request) {
    grpc::ClientContext context;
    if (!connection.token.empty()) {
      context.AddMetadata("authorization", "Bearer " + std::string(connection.token.Reveal()));
    }
    context.set_deadline(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                      gpr_time_from_millis(deadline_ms, GPR_TIMESPAN)));
    Response response;
    const grpc::Status status = ((*stub).*method)(&context, request, &response);
    if (status.ok()) return response;
    return std::unexpected(FailureOf(status, context, connection, deadline_ms));
  }
};

Client::Client(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
Client::~Client() = default;

Answer<std::unique_ptr<Client>> Client::Create(Connection connection) {
  // gRPC writes its own lines to stderr beside the one that the operator gets.
  gpr_set_log_function([](gpr_log_func_args*) {});
  SW_TRY(const std::shared_ptr<grpc::ChannelCredentials> credentials, CredentialsFor(connection));
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  arguments.SetMaxSendMessageSize(kMessageBytesMax);
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, kMetadataBytesMax);
  // A token is not for a proxy that some variable of the environment happens to name.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  auto rep = std::make_unique<Rep>();
  rep->stub = v1::AdminService::NewStub(
      grpc::CreateCustomChannel(connection.address, credentials, arguments));
  rep->connection = std::move(connection);
  return std::unique_ptr<Client>(new Client(std::move(rep)));
}

void Client::SetDeadline(int64_t ms) { rep_->deadline_ms = ms > 0 ? ms : kDeadlineMs; }

using Stub = v1::AdminService::Stub;

Answer<v1::ApplyResponse> Client::Apply(const v1::ApplyRequest& request) {
  return rep_->Call(&Stub::Apply, request);
}
Answer<v1::ApplyResponse> Client::Validate(const v1::ApplyRequest& request) {
  return rep_->Call(&Stub::Validate, request);
}
Answer<v1::ApplyResponse> Client::Diff(const v1::ApplyRequest& request) {
  return rep_->Call(&Stub::Diff, request);
}
Answer<v1::GetResponse> Client::Get(const v1::GetRequest& request) {
  return rep_->Call(&Stub::Get, request);
}
Answer<v1::ListResponse> Client::List(const v1::ListRequest& request) {
  return rep_->Call(&Stub::List, request);
}
Answer<v1::ApplyResponse> Client::Delete(const v1::DeleteRequest& request) {
  return rep_->Call(&Stub::Delete, request);
}
Answer<v1::ApplyResponse> Client::SetSecret(const v1::SetSecretRequest& request) {
  return rep_->Call(&Stub::SetSecret, request);
}
Answer<v1::KeySecretResponse> Client::CreateKey(const v1::CreateKeyRequest& request) {
  return rep_->Call(&Stub::CreateKey, request);
}
Answer<v1::KeySecretResponse> Client::RotateKey(const v1::RotateKeyRequest& request) {
  return rep_->Call(&Stub::RotateKey, request);
}
Answer<v1::ApplyResponse> Client::RevokeKey(const v1::RevokeKeyRequest& request) {
  return rep_->Call(&Stub::RevokeKey, request);
}
Answer<v1::ListRevisionsResponse> Client::ListRevisions(const v1::ListRevisionsRequest& request) {
  return rep_->Call(&Stub::ListRevisions, request);
}
Answer<v1::ApplyResponse> Client::DiffRevisions(const v1::DiffRevisionsRequest& request) {
  return rep_->Call(&Stub::DiffRevisions, request);
}
Answer<v1::ApplyResponse> Client::Rollback(const v1::RollbackRequest& request) {
  return rep_->Call(&Stub::Rollback, request);
}
Answer<v1::ListFleetResponse> Client::ListFleet() {
  return rep_->Call(&Stub::ListFleet, v1::ListFleetRequest());
}
Answer<v1::WaitActiveResponse> Client::WaitActive(const v1::WaitActiveRequest& request) {
  return rep_->Call(&Stub::WaitActive, request);
}
Answer<v1::RetireInstanceResponse> Client::RetireInstance(
    const v1::RetireInstanceRequest& request) {
  return rep_->Call(&Stub::RetireInstance, request);
}
Answer<v1::QuerySpendResponse> Client::QuerySpend(const v1::QuerySpendRequest& request) {
  return rep_->Call(&Stub::QuerySpend, request);
}
Answer<v1::ListLedgerGapsResponse> Client::ListLedgerGaps() {
  return rep_->Call(&Stub::ListLedgerGaps, v1::ListLedgerGapsRequest());
}
Answer<v1::VerifyLedgerResponse> Client::VerifyLedger() {
  return rep_->Call(&Stub::VerifyLedger, v1::VerifyLedgerRequest());
}
Answer<v1::ListLedgerEventsResponse> Client::ListLedgerEvents(
    const v1::ListLedgerEventsRequest& request) {
  return rep_->Call(&Stub::ListLedgerEvents, request);
}
Answer<v1::ListAlertsResponse> Client::ListAlerts(const v1::ListAlertsRequest& request) {
  return rep_->Call(&Stub::ListAlerts, request);
}
Answer<v1::TestAlertSinkResponse> Client::TestAlertSink(const v1::TestAlertSinkRequest& request) {
  return rep_->Call(&Stub::TestAlertSink, request);
}
Answer<v1::ListBudgetsResponse> Client::ListBudgets(const v1::ListBudgetsRequest& request) {
  return rep_->Call(&Stub::ListBudgets, request);
}
Answer<v1::ShowBudgetResponse> Client::ShowBudget(const v1::ShowBudgetRequest& request) {
  return rep_->Call(&Stub::ShowBudget, request);
}
Answer<v1::ApplyResponse> Client::FreezeBudget(const v1::FreezeBudgetRequest& request) {
  return rep_->Call(&Stub::FreezeBudget, request);
}
Answer<v1::ApplyResponse> Client::RaiseBudget(const v1::RaiseBudgetRequest& request) {
  return rep_->Call(&Stub::RaiseBudget, request);
}
Answer<v1::ApplyResponse> Client::LowerRaise(const v1::LowerRaiseRequest& request) {
  return rep_->Call(&Stub::LowerRaise, request);
}
Answer<v1::OpenBudgetGateResponse> Client::OpenBudgetGate() {
  return rep_->Call(&Stub::OpenBudgetGate, v1::OpenBudgetGateRequest());
}
Answer<v1::CreateBackupResponse> Client::CreateBackup() {
  return rep_->Call(&Stub::CreateBackup, v1::CreateBackupRequest());
}
Answer<v1::ListBackupsResponse> Client::ListBackups() {
  return rep_->Call(&Stub::ListBackups, v1::ListBackupsRequest());
}
Answer<v1::CreateAdminTokenResponse> Client::CreateAdminToken(
    const v1::CreateAdminTokenRequest& request) {
  return rep_->Call(&Stub::CreateAdminToken, request);
}
Answer<v1::ListAdminTokensResponse> Client::ListAdminTokens() {
  return rep_->Call(&Stub::ListAdminTokens, v1::ListAdminTokensRequest());
}
Answer<v1::RevokeAdminTokenResponse> Client::RevokeAdminToken(
    const v1::RevokeAdminTokenRequest& request) {
  return rep_->Call(&Stub::RevokeAdminToken, request);
}
Answer<v1::GetServerInfoResponse> Client::GetServerInfo() {
  return rep_->Call(&Stub::GetServerInfo, v1::GetServerInfoRequest());
}

}  // namespace spillway::cli
