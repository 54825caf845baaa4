#include "controlplane/api/admin_server.h"

#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>

#include <fstream>
#include <mutex>
#include <sstream>
#include <utility>

#include "common/log.h"
#include "common/settings.h"
#include "controlplane/api/admin_rpcs.h"

namespace spillway::api {
namespace {

constexpr int kRpcMessageBytesMax = 64 << 20;
constexpr int kThreadsMax = 128;  // calls that wait for the fleet hold one each
constexpr size_t kPemBytesMax = 1 << 20;

Result<std::string> ReadPem(const std::string& path, std::string_view flag) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) {
    return Fail(ErrorCode::kInvalidConfig, std::string(flag) + ": cannot read " + path);
  }
  std::string pem = std::move(text).str();
  if (pem.size() > kPemBytesMax || !pem.contains("-----BEGIN ")) {
    return Fail(ErrorCode::kInvalidConfig, std::string(flag) + ": " + path + " is no PEM file");
  }
  return pem;
}

Result<std::shared_ptr<grpc::ServerCredentials>> CredentialsFor(const AdminServerOptions& options) {
  const bool cert = !options.tls_cert_file.empty();
  if (cert != !options.tls_key_file.empty()) {
    return Fail(ErrorCode::kInvalidConfig, "a TLS certificate and its key go together");
  }
  if (!cert) {
    if (options.tls_client_ca_file.empty()) return grpc::InsecureServerCredentials();
    return Fail(ErrorCode::kInvalidConfig, "a client CA needs a TLS certificate and key");
  }
  grpc::SslServerCredentialsOptions ssl;
  SW_TRY(std::string chain, ReadPem(options.tls_cert_file, "TLS certificate"));
  SW_TRY(std::string key, ReadPem(options.tls_key_file, "TLS key"));
  ssl.pem_key_cert_pairs.push_back({.private_key = std::move(key), .cert_chain = std::move(chain)});
  if (!options.tls_client_ca_file.empty()) {
    SW_TRY(ssl.pem_root_certs, ReadPem(options.tls_client_ca_file, "client CA"));
    ssl.client_certificate_request = GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY;
  }
  return grpc::SslServerCredentials(ssl);
}

// gRPC's own lines (failed handshakes, mostly) in the form of all others.
void LogAsJson(gpr_log_func_args* line) {
  if (line->severity != GPR_LOG_SEVERITY_ERROR) return;
  log::Warn("grpc", {{"detail", line->message}});
}

void SetLimits(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kRpcMessageBytesMax);
  builder.SetMaxSendMessageSize(kRpcMessageBytesMax);
  // Two processes on one port would each take a part of the calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  grpc::ResourceQuota quota("spillway-admin");
  quota.SetMaxThreads(kThreadsMax);
  builder.SetResourceQuota(quota);
}

}  // namespace

struct AdminServer::Rep {
  explicit Rep(AdminServices services) : rpcs(std::move(services)) {}

  AdminRpcs rpcs;
  std::unique_ptr<grpc::Server> server;  // after what it calls: dies before it
  int port = 0;
  std::once_flag stopped;
};

Result<std::unique_ptr<AdminServer>> AdminServer::Create(const AdminServerOptions& options,
                                                         AdminServices services) {
  SW_CHECK(ParseHostPort(options.listen));
  SW_TRY(const std::shared_ptr<grpc::ServerCredentials> credentials, CredentialsFor(options));
  static std::once_flag plugins;
  std::call_once(plugins, [] {
    gpr_set_log_function(&LogAsJson);
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
  auto rep = std::make_unique<Rep>(std::move(services));
  grpc::ServerBuilder builder;
  SetLimits(builder);
  builder.AddListeningPort(options.listen, credentials, &rep->port);
  builder.RegisterService(&rep->rpcs);
  rep->server = builder.BuildAndStart();
  if (rep->server == nullptr || rep->port == 0) {
    return Fail(ErrorCode::kUnavailable,
                "cannot listen on " + options.listen +
                    (options.tls_cert_file.empty()
                         ? ": the address is in use or not this machine's"
                         : ": the address is in use, or the TLS certificate and key do not fit"));
  }
  return std::unique_ptr<AdminServer>(new AdminServer(std::move(rep)));
}

AdminServer::AdminServer(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}

AdminServer::~AdminServer() { Shutdown(0); }

int AdminServer::port() const { return rep_->port; }

void AdminServer::Shutdown(int64_t deadline_ms) {
  std::call_once(rep_->stopped, [&] {
    rep_->rpcs.StopWaiting();
    rep_->server->Shutdown(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                        gpr_time_from_millis(deadline_ms, GPR_TIMESPAN)));
    rep_->server->Wait();
  });
}

}  // namespace spillway::api
