#include "controlplane/api/admin_server.h"

#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/unknown_field_set.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <catch2/catch_all.hpp>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "spillway/v1/admin.grpc.pb.h"
#include "tests/fakes/captured_log.h"
#include "tests/unit/controlplane/api/admin_world.h"

namespace spillway::api {
namespace {

using Stub = v1::AdminService::Stub;

std::unique_ptr<Stub> StubFor(const std::string& address,
                              const std::shared_ptr<grpc::ChannelCredentials>& credentials =
                                  grpc::InsecureChannelCredentials()) {
  return v1::AdminService::NewStub(grpc::CreateChannel(address, credentials));
}

struct Called {
  grpc::Status status;
  std::vector<v1::Violation> violations;
};

template <typename Request, typename Response>
Called Call(Stub& stub,
            grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
            const Request& request, Response& response, const std::string& token) {
  grpc::ClientContext context;
  if (!token.empty()) context.AddMetadata("authorization", "Bearer " + token);
  Called called{.status = (stub.*method)(&context, request, &response), .violations = {}};
  const auto& trailers = context.GetServerTrailingMetadata();
  if (const auto it = trailers.find("spillway-violations-bin"); it != trailers.end()) {
    v1::Violations parsed;
    REQUIRE(parsed.ParseFromArray(it->second.data(), static_cast<int>(it->second.size())));
    called.violations.assign(parsed.violations().begin(), parsed.violations().end());
  }
  return called;
}

std::string ReadText(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

TEST_CASE("an operator applies, makes a key and reads it back") {
  AdminWorld world;
  const auto stub = StubFor(world.address());
  const std::string& editor = world.secrets[v1::ROLE_EDITOR];
  v1::ApplyResponse applied;
  REQUIRE(Call(*stub, &Stub::Apply, ApiWorld::Request(kGateway), applied, editor).status.ok());
  CHECK(applied.revision() == 1);
  v1::CreateKeyRequest create;
  create.mutable_key()->set_name("support-bot");
  v1::KeySecretResponse made;
  REQUIRE(Call(*stub, &Stub::CreateKey, create, made, editor).status.ok());
  CHECK(made.secret().starts_with("sk-sw-"));
  v1::ListRevisionsResponse revisions;
  REQUIRE(
      Call(*stub, &Stub::ListRevisions, v1::ListRevisionsRequest(), revisions, editor).status.ok());
  CHECK(revisions.revisions(0).author() == "role-2");
  v1::GetServerInfoResponse info;
  REQUIRE(Call(*stub, &Stub::GetServerInfo, v1::GetServerInfoRequest(), info, editor).status.ok());
  CHECK(info.revision() == 2);
  CHECK(info.epoch() == 1);
  CHECK(info.writable());
  CHECK(info.cluster_id() == world.api.store->cluster_id());
}

TEST_CASE("without a good token nothing is answered and no hint is given") {
  AdminWorld world;
  const auto stub = StubFor(world.address());
  const std::string good = world.secrets[v1::ROLE_ADMIN];
  for (const std::string& token : {std::string(), std::string("x"), "sk-admin-aaaaaaaaaaaa-" + good,
                                   good + "x", good.substr(0, good.size() - 1)}) {
    v1::GetServerInfoResponse info;
    const Called called =
        Call(*stub, &Stub::GetServerInfo, v1::GetServerInfoRequest(), info, token);
    CHECK(called.status.error_code() == grpc::StatusCode::UNAUTHENTICATED);
    CHECK(called.status.error_message() ==
          "this needs a valid admin token in \"authorization: Bearer sk-admin-...\"");
  }
}

TEST_CASE("an expired or revoked token is a bad token") {
  AdminWorld world;
  const auto stub = StubFor(world.address());
  v1::GetServerInfoResponse info;
  const auto code = [&](const std::string& token) {
    return Call(*stub, &Stub::GetServerInfo, v1::GetServerInfoRequest(), info, token)
        .status.error_code();
  };
  const auto brief = world.tokens->Create("brief", v1::ROLE_VIEWER, world.api.clock.WallMs() + 1000,
                                          world.api.clock.WallMs());
  REQUIRE(brief.has_value());
  CHECK(code(brief->secret) == grpc::StatusCode::OK);
  world.api.clock.AdvanceMs(1000);
  CHECK(code(brief->secret) == grpc::StatusCode::UNAUTHENTICATED);
  REQUIRE(world.tokens->Revoke("role-1").has_value());
  CHECK(code(world.secrets[v1::ROLE_VIEWER]) == grpc::StatusCode::UNAUTHENTICATED);
}

TEST_CASE("a viewer may look and not touch") {
  AdminWorld world;
  const auto stub = StubFor(world.address());
  const std::string& viewer = world.secrets[v1::ROLE_VIEWER];
  v1::ApplyResponse response;
  CHECK(Call(*stub, &Stub::Diff, ApiWorld::Request(kGateway), response, viewer).status.ok());
  const Called refused = Call(*stub, &Stub::Apply, ApiWorld::Request(kGateway), response, viewer);
  CHECK(refused.status.error_code() == grpc::StatusCode::PERMISSION_DENIED);
  CHECK(refused.status.error_message().find("editor") != std::string::npos);
  v1::CreateBackupResponse backup;
  const Called editor = Call(*stub, &Stub::CreateBackup, v1::CreateBackupRequest(), backup,
                             world.secrets[v1::ROLE_EDITOR]);
  CHECK(editor.status.error_code() == grpc::StatusCode::PERMISSION_DENIED);
  CHECK(editor.status.error_message().find("admin") != std::string::npos);
}

TEST_CASE("refusals arrive with their code, their line and their violations") {
  AdminWorld world;
  const auto stub = StubFor(world.address());
  const std::string& editor = world.secrets[v1::ROLE_EDITOR];
  v1::ApplyResponse response;
  const Called invalid = Call(
      *stub, &Stub::Apply, ApiWorld::Request("users: [{name: u, team: nobody}]"), response, editor);
  CHECK(invalid.status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  REQUIRE(invalid.violations.size() == 1);
  CHECK(invalid.violations[0].resource() == "user/u");
  CHECK(invalid.violations[0].field() == "team");
  CHECK(invalid.status.error_message().find("user/u") != std::string::npos);

  v1::GetRequest get;
  get.set_kind(v1::KIND_MODEL);
  get.set_name("nobody");
  v1::GetResponse got;
  CHECK(Call(*stub, &Stub::Get, get, got, editor).status.error_code() ==
        grpc::StatusCode::NOT_FOUND);
  world.api.closed = "NATS is away";
  const Called closed =
      Call(*stub, &Stub::Apply, ApiWorld::Request("teams: [{name: t}]"), response, editor);
  CHECK(closed.status.error_code() == grpc::StatusCode::FAILED_PRECONDITION);
  CHECK(closed.status.error_message().find("NATS is away") != std::string::npos);
}

TEST_CASE("hundreds of violations still fit a client's headers") {
  AdminWorld world;
  const auto stub = StubFor(world.address());
  std::string yaml = "users:\n";
  for (int i = 0; i < 500; ++i) {
    yaml += "  - {name: user-" + std::to_string(i) + ", team: nobody-at-all}\n";
  }
  v1::ApplyResponse response;
  const Called called =
      Call(*stub, &Stub::Apply, ApiWorld::Request(yaml), response, world.secrets[v1::ROLE_EDITOR]);
  CHECK(called.status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  REQUIRE(called.violations.size() > 10);
  CHECK(called.violations.back().allowed().ends_with(" more"));
}

TEST_CASE("backups and tokens over the wire") {
  AdminWorld world;
  const auto stub = StubFor(world.address());
  const std::string& admin = world.secrets[v1::ROLE_ADMIN];
  v1::CreateBackupResponse backup;
  REQUIRE(Call(*stub, &Stub::CreateBackup, v1::CreateBackupRequest(), backup, admin).status.ok());
  v1::ListBackupsResponse backups;
  REQUIRE(Call(*stub, &Stub::ListBackups, v1::ListBackupsRequest(), backups, admin).status.ok());
  REQUIRE(backups.backups_size() == 1);
  CHECK(backups.backups(0).path() == backup.path());

  v1::CreateAdminTokenRequest create;
  create.set_name("ci");
  create.set_role(v1::ROLE_EDITOR);
  v1::CreateAdminTokenResponse token;
  REQUIRE(Call(*stub, &Stub::CreateAdminToken, create, token, admin).status.ok());
  CHECK(token.secret().starts_with("sk-admin-"));
  CHECK(Call(*stub, &Stub::CreateAdminToken, create, token, admin).status.error_code() ==
        grpc::StatusCode::ALREADY_EXISTS);
  v1::RevokeAdminTokenRequest revoke;
  revoke.set_name("role-3");
  v1::RevokeAdminTokenResponse revoked;
  CHECK(Call(*stub, &Stub::RevokeAdminToken, revoke, revoked, admin).status.error_code() ==
        grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_CASE("the log says who did what to which token and instance, and no secret") {
  AdminWorld world;
  const auto stub = StubFor(world.address());
  const std::string& admin = world.secrets[v1::ROLE_ADMIN];
  const std::string log = CapturedLog([&] {
    v1::CreateAdminTokenRequest create;
    create.set_name("ci");
    create.set_role(v1::ROLE_EDITOR);
    v1::CreateAdminTokenResponse created;
    CHECK(Call(*stub, &Stub::CreateAdminToken, create, created, admin).status.ok());
    v1::RevokeAdminTokenRequest revoke;
    v1::RevokeAdminTokenResponse revoked;
    for (const std::string& name : {std::string("ci"), created.secret()}) {
      revoke.set_name(name);
      const Called called = Call(*stub, &Stub::RevokeAdminToken, revoke, revoked, admin);
      CHECK(called.status.ok() == (name == "ci"));
    }
    v1::RetireInstanceRequest retire;
    retire.set_instance("dp-1");
    v1::RetireInstanceResponse retired;
    CHECK(Call(*stub, &Stub::RetireInstance, retire, retired, admin).status.ok());
    retire.set_free_leases(true);
    CHECK(Call(*stub, &Stub::RetireInstance, retire, retired, admin).status.ok());
    v1::SetSecretRequest secret;
    secret.set_provider("openai");
    secret.set_value("sk-of-the-provider");
    v1::ApplyResponse applied;
    CHECK_FALSE(Call(*stub, &Stub::SetSecret, secret, applied, admin).status.ok());
    v1::GetServerInfoResponse info;
    CHECK(Call(*stub, &Stub::GetServerInfo, v1::GetServerInfoRequest(), info, admin).status.ok());
  });
  CAPTURE(log);
  for (const char* line :
       {R"("method":"CreateAdminToken","author":"role-3","object":"ci","outcome":"ok"})",
        R"("method":"RevokeAdminToken","author":"role-3","object":"ci","outcome":"ok"})",
        R"("method":"RevokeAdminToken","author":"role-3","object":"sk-...","outcome":"refused"})",
        R"("object":"dp-1","free_leases":"false","outcome":"ok"})",
        R"("object":"dp-1","free_leases":"true","outcome":"ok"})",
        R"("method":"SetSecret","author":"role-3","object":"openai","outcome":"refused"})"}) {
    CHECK(log.contains(line));
  }
  CHECK_FALSE(log.contains("sk-admin-"));
  CHECK_FALSE(log.contains("sk-of-the-provider"));
  CHECK_FALSE(log.contains("GetServerInfo"));
}

TEST_CASE("waiting for the fleet ends with its answer, or with the server") {
  AdminWorld world;
  const auto stub = StubFor(world.address());
  const std::string& viewer = world.secrets[v1::ROLE_VIEWER];
  world.api.MustApply(kGateway);
  v1::WaitActiveRequest request;
  request.set_revision(1);
  request.set_timeout_ms(60'000);
  v1::WaitActiveResponse answer;
  SECTION("the fleet's answer is passed on") {
    v1::WaitActiveResponse done;
    done.set_active(1);
    done.set_connected(1);
    world.fleet.Set(done);
    REQUIRE(Call(*stub, &Stub::WaitActive, request, answer, viewer).status.ok());
    CHECK(answer.active() == 1);
    CHECK(world.fleet.waits() == 1);
  }
  SECTION("a shutdown ends the wait") {
    v1::WaitActiveResponse behind;
    behind.set_connected(1);
    behind.add_behind()->set_instance("dp-1");
    world.fleet.Set(behind);
    std::thread stopper([&] {
      while (world.fleet.waits() < 1) std::this_thread::yield();
      world.server->Shutdown(5000);
    });
    REQUIRE(Call(*stub, &Stub::WaitActive, request, answer, viewer).status.ok());
    CHECK(answer.behind_size() == 1);
    stopper.join();
  }
  SECTION("a wait of more than ten minutes is refused") {
    request.set_timeout_ms(600'001);
    CHECK(Call(*stub, &Stub::WaitActive, request, answer, viewer).status.error_code() ==
          grpc::StatusCode::INVALID_ARGUMENT);
  }
  SECTION("a revision that is not there is refused") {
    request.set_revision(2);
    CHECK(Call(*stub, &Stub::WaitActive, request, answer, viewer).status.error_code() ==
          grpc::StatusCode::NOT_FOUND);
  }
}

std::string BytesOf(const grpc::ByteBuffer& buffer) {
  grpc::Slice joined;
  REQUIRE(buffer.DumpToSingleSlice(&joined).ok());
  return {reinterpret_cast<const char*>(joined.begin()), joined.size()};
}

// One unary call of a service whose generated code is not at hand.
std::string CallRaw(const std::string& address, const std::string& method,
                    const std::string& request) {
  grpc::GenericStub stub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const grpc::Slice slice(request);
  const grpc::ByteBuffer sent(&slice, 1);
  const auto call = stub.PrepareUnaryCall(&context, method, sent, &queue);
  call->StartCall();
  grpc::ByteBuffer received;
  grpc::Status status;
  call->Finish(&received, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  REQUIRE(queue.Next(&tag, &ok));
  return status.ok() ? BytesOf(received) : "";
}

// The first answer of such a service to the first message of a stream.
std::string CallStream(const std::string& address, const std::string& method,
                       const std::string& request) {
  grpc::GenericStub stub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  void* tag = nullptr;
  bool ok = false;
  const auto done = [&] {
    REQUIRE(queue.Next(&tag, &ok));
    REQUIRE(ok);
  };
  const auto call = stub.PrepareCall(&context, method, &queue);
  call->StartCall(nullptr);
  done();
  const grpc::Slice slice(request);
  call->WriteLast(grpc::ByteBuffer(&slice, 1), {}, nullptr);
  done();
  grpc::ByteBuffer received;
  call->Read(&received, nullptr);
  done();
  grpc::Status status;
  call->Finish(&status, nullptr);
  done();
  CHECK(status.ok());
  return BytesOf(received);
}

// The nested message or text in `field` of a message whose generated code is not at hand.
std::string FieldOf(const std::string& message, int field) {
  google::protobuf::UnknownFieldSet fields;
  REQUIRE(fields.ParseFromString(message));
  for (int i = 0; i < fields.field_count(); ++i) {
    if (fields.field(i).number() == field) return fields.field(i).length_delimited();
  }
  FAIL("no field " << field);
  return "";
}

TEST_CASE("reflection shows the service by its name, without a token") {
  AdminWorld world;
  const std::string name = v1::AdminService::service_full_name();
  // ServerReflectionRequest{file_containing_symbol}: its answer holds the file's descriptor.
  const std::string answer =
      CallStream(world.address(), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                 std::string{0x22, static_cast<char>(name.size())} + name);
  google::protobuf::FileDescriptorProto file;
  REQUIRE(file.ParseFromString(FieldOf(FieldOf(answer, 4), 1)));
  REQUIRE(file.service_size() == 1);
  CHECK(file.package() + "." + file.service(0).name() == name);
  CHECK(file.service(0).method_size() ==
        v1::ApplyRequest::descriptor()->file()->service(0)->method_count());
}

TEST_CASE("health is answered without a token") {
  AdminWorld world;
  // HealthCheckResponse{status: SERVING}
  CHECK(CallRaw(world.address(), "/grpc.health.v1.Health/Check", "") == std::string("\x08\x01"));
}

TEST_CASE("a second server cannot share the port") {
  AdminWorld world;
  const auto second = AdminServer::Create({.listen = world.address()}, world.Services());
  REQUIRE_FALSE(second.has_value());
  CHECK(second.error().code == ErrorCode::kUnavailable);
  CHECK(second.error().message.contains(world.address()));
}

TEST_CASE("TLS files that make no sense are refused before anything listens") {
  AdminWorld world;
  const TestCertificates pem = MakeCertificates(world.api.folder);
  const std::vector<AdminServerOptions> bad{
      {.listen = "127.0.0.1:0", .tls_cert_file = pem.server_cert},
      {.listen = "127.0.0.1:0", .tls_client_ca_file = pem.ca},
      {.listen = "127.0.0.1:0", .tls_cert_file = "/nowhere", .tls_key_file = pem.server_key},
      {.listen = "127.0.0.1:0",
       .tls_cert_file = world.api.folder.Path("seal.key"),
       .tls_key_file = pem.server_key},
      {.listen = "nonsense"}};
  for (const AdminServerOptions& options : bad) {
    const auto server = AdminServer::Create(options, world.Services());
    REQUIRE_FALSE(server.has_value());
    CHECK(server.error().code == ErrorCode::kInvalidConfig);
  }
}

TEST_CASE("TLS, and clients that must show a certificate") {
  const TempFolder folder;
  const TestCertificates pem = MakeCertificates(folder);
  const bool mutual = GENERATE(false, true);
  AdminWorld world({.tls_cert_file = pem.server_cert,
                    .tls_key_file = pem.server_key,
                    .tls_client_ca_file = mutual ? pem.ca : ""});
  const auto code = [&](const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
    const auto stub = StubFor(world.address(), credentials);
    v1::GetServerInfoResponse info;
    return Call(*stub, &Stub::GetServerInfo, v1::GetServerInfoRequest(), info,
                world.secrets[v1::ROLE_VIEWER])
        .status.error_code();
  };
  const std::string ca = ReadText(pem.ca);
  CHECK(code(grpc::InsecureChannelCredentials()) == grpc::StatusCode::UNAVAILABLE);
  CHECK(code(grpc::SslCredentials({.pem_root_certs = ReadText(pem.client_cert)})) ==
        grpc::StatusCode::UNAVAILABLE);
  CHECK(code(grpc::SslCredentials({.pem_root_certs = ca})) ==
        (mutual ? grpc::StatusCode::UNAVAILABLE : grpc::StatusCode::OK));
  CHECK(code(grpc::SslCredentials({.pem_root_certs = ca,
                                   .pem_private_key = ReadText(pem.client_key),
                                   .pem_cert_chain = ReadText(pem.client_cert)})) ==
        grpc::StatusCode::OK);
}

}  // namespace
}  // namespace spillway::api
