#include "dataplane/server/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch_all.hpp>
#include <filesystem>
#include <fstream>

#include "dataplane/exchange/loop.h"
#include "dataplane/server/address_counts.h"
#include "dataplane/server/listener.h"
#include "dataplane/server/loop_state.h"
#include "dataplane/server/ops_server.h"
#include "tests/fakes/temp_folder.h"
#include "tests/unit/dataplane/server/server_fixture.h"

namespace spillway {
namespace {

constexpr std::string_view kGet = "GET /count HTTP/1.1\r\nHost: gw\r\n\r\n";
constexpr std::string_view kWatch = "GET /watch HTTP/1.1\r\nHost: gw\r\n\r\n";

TEST_CASE("a port that is taken is refused, also by another of our own") {
  RunningServer first({.threads = 3});
  const auto second = Server::Create(
      {.listen = {.host = "127.0.0.1", .port = first.port()}, .threads = 2}, SystemClock());
  REQUIRE_FALSE(second);
  CHECK(second.error().code == ErrorCode::kInvalidConfig);
  CHECK(second.error().message.find(std::to_string(first.port())) != std::string::npos);
  const auto bad = Server::Create({.listen = {.host = "no-address", .port = 0}}, SystemClock());
  CHECK_FALSE(bad);
}

TEST_CASE("every loop's listener takes connections") {
  RunningServer server({.threads = 3});
  std::vector<std::unique_ptr<TestClient>> clients;
  for (int i = 0; i < 60; ++i) {
    clients.push_back(std::make_unique<TestClient>(server.port()));
    REQUIRE(clients.back()->Send(kGet));
    REQUIRE(clients.back()->ReadUntil("\r\n\r\n"));
  }
  CHECK(server.Metric("spillway_connections_open") == 60);
  CHECK(Facts().requests == 60);
}

TEST_CASE("connections over the limit are refused with 503") {
  RunningServer server({.connections_max = 2});
  TestClient first(server.port());
  TestClient second(server.port());
  for (TestClient* client : {&first, &second}) {
    REQUIRE(client->Send(kGet));
    REQUIRE(client->ReadUntil("\r\n\r\n"));
  }
  TestClient third(server.port());
  REQUIRE(third.Send(kGet));
  REQUIRE(third.ReadToEnd());
  CHECK(third.received().starts_with("HTTP/1.1 503 "));
  CHECK(server.Metric("spillway_shed_total") == 1);
}

TEST_CASE("one address has no more connections than it may, and gets them back") {
  RunningServer server({.threads = 3, .connections_per_address = 2});
  TestClient first(server.port());
  auto second = std::make_unique<TestClient>(server.port());
  for (TestClient* client : {&first, second.get()}) {
    REQUIRE(client->Send(kGet));
    REQUIRE(client->ReadUntil("\r\n\r\n"));
  }
  TestClient third(server.port());
  third.ReadToEnd();
  CHECK(third.received().empty());
  CHECK(server.Metric("spillway_shed_total") == 1);
  second.reset();
  CHECK(Eventually([&] {
    TestClient again(server.port());
    return again.Send(kGet) && again.ReadUntil("\r\n\r\n");
  }));
}

sockaddr_storage AddressOf(const char* text) {
  sockaddr_storage address{};
  if (auto* ipv4 = reinterpret_cast<sockaddr_in*>(&address);
      ::inet_pton(AF_INET, text, &ipv4->sin_addr) == 1) {
    ipv4->sin_family = AF_INET;
    return address;
  }
  auto* ipv6 = reinterpret_cast<sockaddr_in6*>(&address);
  ipv6->sin6_family = AF_INET6;
  REQUIRE(::inet_pton(AF_INET6, text, &ipv6->sin6_addr) == 1);
  return address;
}

TEST_CASE("a client's address is an IPv4 address or a /64 of IPv6") {
  struct Row {
    const char* one;
    const char* other;
    bool same;
  };
  const Row rows[] = {
      {"192.0.2.1", "192.0.2.1", true},
      {"192.0.2.1", "192.0.2.2", false},
      {"192.0.2.1", "::ffff:192.0.2.1", true},
      {"::ffff:192.0.2.1", "::ffff:192.0.2.2", false},
      {"2001:db8::1", "2001:db8::ffff:0:0:1", true},
      {"2001:db8:0:1::1", "2001:db8:0:2::1", false},
      {"2001:db8::1", "2001:db9::1", false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.one, row.other);
    AddressCounts counts(1);
    auto place = counts.Take(AddressOf(row.one));
    REQUIRE(place);
    CHECK(counts.Take(AddressOf(row.other)).has_value() != row.same);
    place.reset();
    CHECK(counts.Take(AddressOf(row.other)).has_value());
  }
}

TEST_CASE("over the memory limit new requests are refused with 503") {
  RunningServer server({.memory_bytes_max = 1});
  REQUIRE(Eventually([&] { return server->shedding(); }));
  TestClient client(server.port());
  REQUIRE(client.Send(kGet));
  REQUIRE(client.ReadToEnd());
  CHECK(client.received().starts_with("HTTP/1.1 503 "));
}

TEST_CASE("a drain finishes what runs, closes what idles, accepts nothing") {
  RunningServer server;
  TestClient streaming(server.port());
  REQUIRE(streaming.Send(kWatch));
  REQUIRE(streaming.ReadUntil("begun"));
  TestClient idle(server.port());
  REQUIRE(idle.Send(kGet));
  REQUIRE(idle.ReadUntil("\r\n\r\n"));
  TestClient late(server.port());
  REQUIRE(late.Send(kGet));
  REQUIRE(late.ReadUntil("\r\n\r\n"));
  late.Forget();

  server->BeginDrain();
  CHECK_FALSE(TestClient(server.port()).connected());
  // A request that crosses with the drain is answered, and told that it was the last one.
  REQUIRE(late.Send(kGet));
  REQUIRE(late.ReadToEnd());
  CHECK(late.received().find("\r\nConnection: close\r\n") != std::string::npos);
  CHECK(idle.ReadToEnd());
  CHECK_FALSE(server->AwaitDrained(20));
  streaming.Reset();
  CHECK(server->AwaitDrained(10'000));
  CHECK(Facts().gone == 1);
}

TEST_CASE("a connection whose stream began before the drain may send one request more") {
  ServerOptions options;
  options.limits.idle_draining_ms = 3'600'000;
  RunningServer server(options);
  TestClient client(server.port());
  REQUIRE(client.Send("POST /both HTTP/1.1\r\nHost: gw\r\nContent-Length: 4\r\n\r\n"));
  REQUIRE(client.ReadUntil("begun"));
  server->BeginDrain();
  REQUIRE(client.Send("body"));
  REQUIRE(client.ReadUntil("0\r\n\r\n"));
  CHECK(client.received().find("Connection: close") == std::string::npos);
  client.Forget();
  CHECK_FALSE(server->AwaitDrained(50));
  REQUIRE(client.Send(kGet));
  REQUIRE(client.ReadToEnd());
  CHECK(client.received().starts_with("HTTP/1.1 200 "));
  CHECK(client.received().find("\r\nConnection: close\r\n") != std::string::npos);
  CHECK(server->AwaitDrained(10'000));
}

TEST_CASE("a listener that stops serves every connection that waits for it") {
  constexpr int kWaiting = 200;
  Loop loop(SystemClock());
  const SessionLimits limits;
  const std::atomic<bool> shedding{false};
  LoopState state{.loop = loop, .limits = limits, .shedding = shedding, .on_session_end = {}};
  std::atomic<int64_t> open{0};
  const Result<ListenSockets> sockets = BindAll({.host = "127.0.0.1", .port = 0}, 1);
  REQUIRE(sockets);
  std::vector<std::unique_ptr<TestClient>> clients;
  clients.reserve(kWaiting);
  for (int i = 0; i < kWaiting; ++i) clients.push_back(std::make_unique<TestClient>(sockets->port));
  AddressCounts addresses(0);
  Listener listener(state, sockets->fds[0], nullptr, open, 1'000, addresses);
  listener.Stop();
  loop.io.poll();
  CHECK(state.counters.connections == kWaiting);
  loop.io.DropPending();
}

TEST_CASE("stopping cuts what still runs, and tells it") {
  RunningServer server;
  TestClient streaming(server.port());
  REQUIRE(streaming.Send(kWatch));
  REQUIRE(streaming.ReadUntil("begun"));
  server->Stop();
  CHECK(Facts().gone == 1);
  CHECK(streaming.ReadToEnd());
  CHECK_FALSE(streaming.received().ends_with("0\r\n\r\n"));
}

TEST_CASE("a server that was never started ends cleanly") {
  CHECK(Server::Create({.listen = {.host = "127.0.0.1", .port = 0}, .threads = 2}, SystemClock()));
}

// A self-signed pair in a temporary folder.
class TestCertificate {
 public:
  TestCertificate() { Write(1); }
  std::string cert() const { return folder_.Path("cert.pem"); }
  std::string key() const { return folder_.Path("key.pem"); }

  void Write(long serial) {
    EVP_PKEY* key_pair = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256");
    X509* certificate = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3'600);
    X509_set_pubkey(certificate, key_pair);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("gw"), -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
    X509_sign(certificate, key_pair, EVP_sha256());
    std::FILE* file = std::fopen(cert().c_str(), "w");
    PEM_write_X509(file, certificate);
    std::fclose(file);
    file = std::fopen(key().c_str(), "w");
    PEM_write_PrivateKey(file, key_pair, nullptr, nullptr, 0, nullptr, nullptr);
    std::fclose(file);
    X509_free(certificate);
    EVP_PKEY_free(key_pair);
  }

 private:
  TempFolder folder_;
};

TEST_CASE("TLS carries requests of any size, streams, and ends cleanly") {
  TestCertificate certificate;
  RunningServer server({.tls_cert_file = certificate.cert(), .tls_key_file = certificate.key()});
  TestClient client(server.port(), /*tls=*/true);
  REQUIRE(client.connected());
  for (const size_t size : {1, 16'000, 400'000}) {
    const std::string body(size, 't');
    REQUIRE(client.Send("POST /echo HTTP/1.1\r\nHost: gw\r\nContent-Length: " +
                        std::to_string(size) + "\r\n\r\n" + body));
    REQUIRE(client.ReadUntil("\r\n\r\n" + body));
    client.Forget();
  }
  REQUIRE(
      client.Send("GET /stream HTTP/1.1\r\nHost: gw\r\n\r\nGET /flood HTTP/1.1\r\nHost: "
                  "gw\r\nConnection: close\r\n\r\n"));
  REQUIRE(client.ReadUntil("three\n\r\n0\r\n\r\n"));
  CHECK(client.ReadToEnd());
  CHECK(client.received().ends_with("f\r\n0\r\n\r\n"));
}

TEST_CASE("a TLS client that leaves is noticed; a plain one is turned away") {
  TestCertificate certificate;
  RunningServer server({.tls_cert_file = certificate.cert(), .tls_key_file = certificate.key()});
  {
    TestClient client(server.port(), /*tls=*/true);
    REQUIRE(client.Send(kWatch));
    REQUIRE(client.ReadUntil("begun"));
  }
  CHECK(Eventually([] { return Facts().gone == 1; }));
  TestClient plain(server.port());
  REQUIRE(plain.Send(kGet));
  plain.ReadToEnd();
  CHECK(plain.received().find("HTTP/1.1") == std::string::npos);
  CHECK(Eventually([&] { return server.Metric("spillway_tls_handshake_failures_total") == 1; }));
}

TEST_CASE("certificates are checked at start and read again when they change") {
  TestCertificate certificate;
  const HostPort any{.host = "127.0.0.1", .port = 0};
  CHECK_FALSE(Server::Create({.listen = any, .tls_cert_file = certificate.cert()}, SystemClock()));
  CHECK_FALSE(Server::Create(
      {.listen = any, .tls_cert_file = "/nonexistent", .tls_key_file = certificate.key()},
      SystemClock()));
  CHECK_FALSE(Server::Create(
      {.listen = any, .tls_cert_file = certificate.cert(), .tls_key_file = certificate.cert()},
      SystemClock()));
}

TEST_CASE("operators' pages") {
  MetricsRegistry metrics;
  metrics.Add([](MetricsText& text) { text.Sample("a_metric", {}, int64_t{7}); });
  std::string reason = "no configuration yet";
  auto ops = OpsServer::Start({.host = "127.0.0.1", .port = 0},
                              {.not_ready_reason = [&reason] { return reason; },
                               .metrics = &metrics,
                               .snapshot_json = [] { return "{\"revision\":1}"; }});
  REQUIRE(ops);
  const auto get = [&ops](const std::string& path) {
    TestClient client((*ops)->port());
    client.Send("GET " + path + " HTTP/1.1\r\nHost: ops\r\nConnection: close\r\n\r\n");
    client.ReadToEnd();
    return client.received();
  };
  CHECK(get("/livez").starts_with("HTTP/1.1 200 "));
  CHECK(get("/readyz").starts_with("HTTP/1.1 503 "));
  CHECK(get("/readyz").find("no configuration yet") != std::string::npos);
  reason.clear();
  CHECK(get("/readyz").starts_with("HTTP/1.1 200 "));
  CHECK(get("/metrics").find("a_metric 7\n") != std::string::npos);
  CHECK(get("/debug/snapshot").find("{\"revision\":1}") != std::string::npos);
  CHECK(get("/nothing").starts_with("HTTP/1.1 404 "));
  CHECK_FALSE(OpsServer::Start({.host = "127.0.0.1", .port = (*ops)->port()}, {}));
}

}  // namespace
}  // namespace spillway
