// Posts over real sockets: what is sent, and what is refused.
#include "controlplane/alerts/http_poster.h"

#include <httplib.h>

#include <catch2/catch_all.hpp>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "tests/unit/controlplane/api/admin_world.h"

namespace spillway::alerts {
namespace {

// A sink on the loopback.
class Receiver {
 public:
  explicit Receiver(std::unique_ptr<httplib::Server> server) : server_(std::move(server)) {
    port_ = server_->bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_->listen_after_bind(); });
    server_->wait_until_ready();
  }
  ~Receiver() {
    server_->stop();
    thread_.join();
  }
  std::string Url(const std::string& host, const std::string& path, bool tls = false) const {
    return (tls ? "https://" : "http://") + host + ":" + std::to_string(port_) + path;
  }

 private:
  std::unique_ptr<httplib::Server> server_;
  int port_ = 0;
  std::thread thread_;
};

std::unique_ptr<httplib::Server> PlainServer(httplib::Request& last) {
  auto server = std::make_unique<httplib::Server>();
  server->Post("/moved", [](const httplib::Request&, httplib::Response& response) {
    response.set_redirect("/target");
  });
  server->Post("/slow", [](const httplib::Request&, httplib::Response& response) {
    // One byte at a time, for as long as anybody listens.
    response.set_chunked_content_provider("text/plain", [](size_t, httplib::DataSink& sink) {
      std::mutex mutex;
      std::condition_variable never;
      std::unique_lock lock(mutex);
      never.wait_for(lock, std::chrono::milliseconds(20), [] { return false; });
      return sink.write("x", 1);
    });
  });
  server->Post("/flood", [](const httplib::Request&, httplib::Response& response) {
    std::string flood;
    flood.resize(10'000'000, 'x');
    response.set_content(flood, "text/plain");
  });
  server->Post(".*", [&last](const httplib::Request& request, httplib::Response& response) {
    last = request;
    response.status = 202;
  });
  return server;
}

TEST_CASE("a post arrives as it was made") {
  httplib::Request last;
  const Receiver receiver(PlainServer(last));
  HttpPoster poster({});
  const std::string url = receiver.Url("127.0.0.1", "/a/b");
  const auto answer = poster.Post(
      {.url = url, .body = R"({"a":1})", .headers = {{"x-spillway-signature", "v1=ab"}}});
  REQUIRE(answer.has_value());
  CHECK(*answer == 202);
  CHECK(last.path == "/a/b");
  CHECK(last.body == R"({"a":1})");
  CHECK(last.get_header_value("x-spillway-signature") == "v1=ab");
  CHECK(last.get_header_value("Content-Type") == "application/json");
  CHECK(last.get_header_value("Host") == url.substr(7, url.find('/', 7) - 7));
  // A query is part of the address.
  CHECK(poster.Post(
            {.url = receiver.Url("127.0.0.1", "/q?key=a%2Fb&x=1"), .body = "{}", .headers = {}}) ==
        202);
  CHECK(last.target == "/q?key=a%2Fb&x=1");
  // By name, too.
  CHECK(poster.Post({.url = receiver.Url("localhost", ""), .body = "{}", .headers = {}}) == 202);
}

TEST_CASE("a redirect is not followed") {
  httplib::Request last;
  const Receiver receiver(PlainServer(last));
  HttpPoster poster({});
  CHECK(poster.Post({.url = receiver.Url("127.0.0.1", "/moved"), .body = "{}", .headers = {}}) ==
        302);
  CHECK(last.path.empty());
}

TEST_CASE("addresses that no sink may have are refused, and no error repeats the URL") {
  HttpPoster poster({});
  for (const char* url :
       {"http://169.254.169.254/latest/token", "http://[fe80::1]/token", "http://0.0.0.0/token",
        "http://2130706433/token", "ftp://x.test/token", "http://user:token@x.test/",
        "http://metadata.google.internal/token", "http://127.0.0.1:1/token",
        "http://127.0.0.1:1/?token=a\r\nHost: x", "http://nowhere.invalid/token", ""}) {
    INFO(url);
    const auto answer = poster.Post({.url = url, .body = "{}", .headers = {}});
    REQUIRE_FALSE(answer.has_value());
    CHECK_FALSE(answer.error().message.empty());
    CHECK_FALSE(answer.error().message.contains("token"));
  }
}

TEST_CASE("an answer that never ends is cut, and one that is huge") {
  httplib::Request last;
  const Receiver receiver(PlainServer(last));
  HttpPoster poster({.ca_file = "", .connect_ms = 1'000, .total_ms = 300});
  const auto begun = std::chrono::steady_clock::now();
  CHECK_FALSE(
      poster.Post({.url = receiver.Url("127.0.0.1", "/slow"), .body = "{}", .headers = {}}));
  CHECK(std::chrono::steady_clock::now() - begun < std::chrono::seconds(10));
  CHECK_FALSE(
      poster.Post({.url = receiver.Url("127.0.0.1", "/flood"), .body = "{}", .headers = {}}));
}

TEST_CASE("after Stop nothing is sent any more") {
  httplib::Request last;
  const Receiver receiver(PlainServer(last));
  HttpPoster poster({});
  poster.Stop();
  CHECK_FALSE(poster.Post({.url = receiver.Url("127.0.0.1", "/x"), .body = "{}", .headers = {}}));
  CHECK(last.path.empty());
}

TEST_CASE("TLS: only a trusted certificate for the right name") {
  const TempFolder folder;
  const api::TestCertificates pem = api::MakeCertificates(folder);
  auto server =
      std::make_unique<httplib::SSLServer>(pem.server_cert.c_str(), pem.server_key.c_str());
  server->Post(".*", [](const httplib::Request&, httplib::Response& r) { r.status = 200; });
  const Receiver receiver(std::move(server));
  HttpPoster trusting({.ca_file = pem.ca});
  CHECK(trusting.Post(
            {.url = receiver.Url("localhost", "/x", true), .body = "{}", .headers = {}}) == 200);
  CHECK(trusting.Post(
            {.url = receiver.Url("127.0.0.1", "/x", true), .body = "{}", .headers = {}}) == 200);
  HttpPoster of_system({});
  const auto unknown =
      of_system.Post({.url = receiver.Url("localhost", "/x", true), .body = "{}", .headers = {}});
  REQUIRE_FALSE(unknown.has_value());
  CHECK(unknown.error().message.contains("certificate"));
}

}  // namespace
}  // namespace spillway::alerts
