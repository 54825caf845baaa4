#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch_all.hpp>
#include <csignal>
#include <cstdio>
#include <string>
#include <thread>

#include "dataplane/exchange/timer_wheel.h"
#include "dataplane/upstream/call.h"
#include "tests/fakes/temp_folder.h"
#include "tests/unit/dataplane/upstream/await.h"

namespace spillway {
namespace {

struct Freed {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using Key = std::unique_ptr<EVP_PKEY, Freed>;
using Certificate = std::unique_ptr<X509, Freed>;

// A self-signed certificate for `name` that ends `days` from now.
Certificate MakeCertificate(EVP_PKEY* key, const std::string& name, int days) {
  Certificate made(X509_new());
  ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 1);
  X509_set_version(made.get(), 2);
  X509_gmtime_adj(X509_getm_notBefore(made.get()), -86'400L * 30);
  X509_gmtime_adj(X509_getm_notAfter(made.get()), 86'400L * days);
  X509_set_pubkey(made.get(), key);
  X509_NAME* subject = X509_get_subject_name(made.get());
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("test"), -1, -1, 0);
  X509_set_issuer_name(made.get(), subject);
  const std::string alternative = "DNS:" + name;
  X509_EXTENSION* extension =
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, alternative.c_str());
  X509_add_ext(made.get(), extension, -1);
  X509_EXTENSION_free(extension);
  X509_sign(made.get(), key, EVP_sha256());
  return made;
}

void WritePem(const std::string& path, X509* certificate) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  PEM_write_X509(file, certificate);
  std::fclose(file);
}

// Serves TLS connections on its own thread: one answer for each piece that it reads behind the
// first `silent_bytes`. With a `refusal` it says that to the first piece, and reads no more.
class TlsProvider {
 public:
  TlsProvider(const std::string& name, int days, int version_max = TLS1_3_VERSION,
              std::string refusal = {}, int64_t silent_bytes = 0)
      : refusal_(std::move(refusal)),
        silent_bytes_(silent_bytes),
        key_(EVP_EC_gen("P-256")),
        certificate_(MakeCertificate(key_.get(), name, days)),
        context_(SSL_CTX_new(TLS_server_method())) {
    SSL_CTX_use_certificate(context_.get(), certificate_.get());
    SSL_CTX_use_PrivateKey(context_.get(), key_.get());
    SSL_CTX_set_max_proto_version(context_.get(), version_max);
    SSL_CTX_set_min_proto_version(context_.get(), TLS1_VERSION);
    SSL_CTX_set_cipher_list(context_.get(), "DEFAULT:@SECLEVEL=0");
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
    REQUIRE(::listen(listener_, 8) == 0);
    socklen_t size = sizeof(address);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
    ca_file = folder_.Path("ca.pem");
    WritePem(ca_file, certificate_.get());
    thread_ = std::thread([this] { Serve(); });
  }
  ~TlsProvider() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }

  uint16_t port = 0;
  std::string ca_file;
  std::atomic<int> resumed{0};

 private:
  void Serve() {
    for (;;) {
      const int fd = ::accept(listener_, nullptr, nullptr);
      if (fd < 0) return;
      SSL* ssl = SSL_new(context_.get());
      SSL_set_fd(ssl, fd);
      if (SSL_accept(ssl) == 1) {
        if (SSL_session_reused(ssl)) ++resumed;
        char bytes[4096];
        int64_t seen = 0;
        for (int n = 0; (n = SSL_read(ssl, bytes, sizeof(bytes))) > 0;) {
          seen += n;
          if (seen <= silent_bytes_) continue;
          if (!refusal_.empty()) {
            SSL_write(ssl, refusal_.data(), static_cast<int>(refusal_.size()));
            pollfd end{.fd = listener_, .events = POLLIN, .revents = 0};
            ::poll(&end, 1, -1);
            break;
          }
          const std::string answer = JsonAnswer(200, "{\"tls\":true}");
          if (SSL_write(ssl, answer.data(), static_cast<int>(answer.size())) <= 0) break;
        }
        SSL_shutdown(ssl);
      }
      SSL_free(ssl);
      ::close(fd);
    }
  }

  const std::string refusal_;
  const int64_t silent_bytes_;
  Key key_;
  Certificate certificate_;
  std::unique_ptr<SSL_CTX, Freed> context_;
  TempFolder folder_;
  int listener_ = -1;
  std::thread thread_;
};

struct TlsBench {
  Loop loop{SystemClock()};
  UpstreamPool pool{loop, {}, [](const std::string&, const auto& done) {
                      done(Addresses{boost::asio::ip::make_address("127.0.0.1")});
                    }};
  ProviderSpec spec;

  explicit TlsBench(const TlsProvider& provider, const std::string& host) {
    spec.host = host;
    spec.port = provider.port;
    spec.tls = true;
    spec.ca_file = provider.ca_file;
    spec.endpoint_id = 3;
    spec.connect_timeout_ms = 3'000;
  }
};

Task<Result<std::string>> CallTls(TlsBench& b, bool fresh, std::string_view body = "{}") {
  UpstreamCall call(b.pool, b.spec, {});
  const std::string head =
      "POST / HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n";
  SW_CO_CHECK(co_await call.Send(head, {&body, 1}, fresh));
  SW_CO_TRY(const std::string_view answer, co_await call.Collect(1'000));
  co_return std::string(answer);
}

TEST_CASE("TLS verifies the provider, keeps its connections and resumes sessions") {
  std::signal(SIGPIPE, SIG_IGN);  // the server side of this test; the gateway's side sends none
  TlsProvider provider("api.example", 10);
  TlsBench b(provider, "api.example");
  CHECK(Await(b.loop, CallTls(b, false)).value() == "{\"tls\":true}");
  CHECK(Await(b.loop, CallTls(b, false)).value() == "{\"tls\":true}");
  CHECK(b.pool.counters().opened == 1);
  CHECK(b.pool.counters().reused == 1);
  b.pool.TakeIdle(3).reset();
  CHECK(Await(b.loop, CallTls(b, true)).value() == "{\"tls\":true}");
  CHECK(provider.resumed == 1);
  b.pool.TakeIdle(3).reset();
}

TEST_CASE("a refusal is heard over TLS though the provider reads no more of the request") {
  std::signal(SIGPIPE, SIG_IGN);
  const std::string large(size_t{16} * 1024 * 1024, 'x');
  TlsProvider refusing("api.example", 10, TLS1_3_VERSION, JsonAnswer(413, R"({"too":"large"})"));
  TlsBench refused(refusing, "api.example");
  CHECK(Await(refused.loop, CallTls(refused, false, large)).value() == R"({"too":"large"})");
  CHECK(refused.pool.idle_count() == 0);
  // Session tickets come meanwhile, too; they are no answer.
  TlsProvider reading("api.example", 10, TLS1_3_VERSION, "", static_cast<int64_t>(large.size()));
  TlsBench b(reading, "api.example");
  CHECK(Await(b.loop, CallTls(b, false, large)).value() == "{\"tls\":true}");
  b.pool.TakeIdle(3).reset();
}

TEST_CASE("TLS is never weakened") {
  std::signal(SIGPIPE, SIG_IGN);
  struct Row {
    const char* name;
    const char* certified;
    int days;
    int version;
    const char* host;
    const char* server_name;
    bool system_trust;
    bool want;
  };
  const Row rows[] = {
      {"right name", "api.example", 10, TLS1_2_VERSION, "api.example", "", false, true},
      {"server_name instead of the host", "api.example", 10, TLS1_3_VERSION, "other.example",
       "api.example", false, true},
      {"wrong host", "other.example", 10, TLS1_3_VERSION, "api.example", "", false, false},
      {"wrong server_name", "api.example", 10, TLS1_3_VERSION, "api.example", "other.example",
       false, false},
      {"expired", "api.example", -1, TLS1_3_VERSION, "api.example", "", false, false},
      {"not trusted", "api.example", 10, TLS1_3_VERSION, "api.example", "", true, false},
      {"TLS 1.1", "api.example", 10, TLS1_1_VERSION, "api.example", "", false, false},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      TlsProvider provider(row.certified, row.days, row.version);
      TlsBench b(provider, row.host);
      b.spec.server_name = row.server_name;
      if (row.system_trust) b.spec.ca_file.clear();
      const Result<std::string> got = Await(b.loop, CallTls(b, false));
      CHECK(got.has_value() == row.want);
      if (!got) CHECK(got.error().code == ErrorCode::kUpstreamTls);
      b.pool.TakeIdle(3).reset();
    }
  }
}

// The only certificate that a context trusts.
X509* Trusted(SSL_CTX* context) {
  const auto* objects = X509_STORE_get0_objects(SSL_CTX_get_cert_store(context));
  REQUIRE(sk_X509_OBJECT_num(objects) == 1);
  return X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, 0));
}

TEST_CASE("a CA file is read again when it changed, and a bad one leaves the old in force") {
  const Key key(EVP_EC_gen("P-256"));
  const Certificate first = MakeCertificate(key.get(), "first.example", 10);
  const Certificate second = MakeCertificate(key.get(), "the-second.example", 10);
  const TempFolder folder;
  const std::string path = folder.Path("ca.pem");
  ManualClock clock;
  TlsContexts contexts(clock);
  CHECK_FALSE(contexts.For(path).has_value());
  WritePem(path, first.get());
  CHECK(X509_cmp(Trusted(contexts.For(path).value()), first.get()) == 0);

  WritePem(path, second.get());
  CHECK(X509_cmp(Trusted(contexts.For(path).value()), first.get()) == 0);  // not looked yet
  clock.AdvanceMs(5'000);
  CHECK(X509_cmp(Trusted(contexts.For(path).value()), second.get()) == 0);

  for (const bool missing : {false, true}) {
    folder.Write("ca.pem", "no certificate");
    if (missing) std::remove(path.c_str());
    clock.AdvanceMs(5'000);
    CHECK(X509_cmp(Trusted(contexts.For(path).value()), second.get()) == 0);
  }
  WritePem(path, first.get());
  clock.AdvanceMs(5'000);
  CHECK(X509_cmp(Trusted(contexts.For(path).value()), first.get()) == 0);
}

TEST_CASE("a provider that speaks no TLS, or nothing at all, is a TLS failure") {
  ManualClock clock;
  Loop loop(clock);
  ScriptedProvider provider(loop);
  UpstreamPool pool(loop);
  ProviderSpec spec;
  spec.host = "127.0.0.1";
  spec.port = provider.port();
  spec.tls = true;
  spec.connect_timeout_ms = 100;
  SECTION("plain HTTP") {
    provider.Next(
        {.steps = {Send("HTTP/1.1 400 Bad Request\r\n\r\n"), CloseIt()}, .on_accept = true});
    auto connection = pool.MakeNew(1);
    CHECK(Await(loop, pool.Open(*connection, spec)).error().code == ErrorCode::kUpstreamTls);
  }
  SECTION("silence") {
    auto connection = pool.MakeNew(1);
    Running<Result<void>> open(loop, pool.Open(*connection, spec));
    REQUIRE(RunUntil(loop, [&] { return provider.accepted() == 1; }));
    loop.io.poll();
    clock.AdvanceMs(120);
    loop.timers->Advance();
    CHECK(open.Wait().error().code == ErrorCode::kUpstreamTls);
  }
  SECTION("a CA file that is not there") {
    spec.ca_file = "/nonexistent/ca.pem";
    auto connection = pool.MakeNew(1);
    CHECK(Await(loop, pool.Open(*connection, spec)).error().code == ErrorCode::kUpstreamTls);
  }
}

}  // namespace
}  // namespace spillway
