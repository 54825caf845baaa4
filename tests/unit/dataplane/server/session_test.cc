#include <catch2/catch_all.hpp>
#include <string>

#include "tests/unit/dataplane/server/server_fixture.h"

namespace spillway {
namespace {

const std::string kHost = "Host: gw\r\n";

std::string Get(const std::string& path, const std::string& headers = "") {
  return "GET " + path + " HTTP/1.1\r\n" + kHost + headers + "\r\n";
}

std::string Post(const std::string& path, const std::string& body,
                 const std::string& headers = "") {
  return "POST " + path + " HTTP/1.1\r\n" + kHost + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string BodyOf(const std::string& answer) {
  const size_t end = answer.find("\r\n\r\n");
  return end == std::string::npos ? "" : answer.substr(end + 4);
}

TEST_CASE("requests follow each other on one connection") {
  RunningServer server;
  TestClient client(server.port());
  for (const size_t size : {0, 1, 100, 3'000, 16'000, 16'384, 16'385, 100'000, 700'000}) {
    CAPTURE(size);
    std::string body(size, 'b');
    if (!body.empty()) body.back() = '!';
    REQUIRE(client.Send(Post("/echo", body)));
    REQUIRE(client.ReadUntil("\r\n\r\n" + body));
    CHECK(client.received().starts_with("HTTP/1.1 200 OK\r\nDate: "));
    CHECK(client.received().find("\r\nContent-Length: " + std::to_string(size) + "\r\n") !=
          std::string::npos);
    CHECK(client.received().find("Connection") == std::string::npos);
    CHECK(BodyOf(client.received()) == body);
    client.Forget();
  }
  CHECK(server.Metric("spillway_connections_total") == 1);
}

TEST_CASE("a request that arrives byte by byte is served") {
  RunningServer server;
  TestClient client(server.port());
  for (const char c : Post("/echo", "hello")) REQUIRE(client.Send({&c, 1}));
  REQUIRE(client.ReadUntil("\r\n\r\nhello"));
}

TEST_CASE("pipelined requests are answered in order") {
  RunningServer server;
  TestClient client(server.port());
  std::string requests;
  for (int i = 0; i < 50; ++i)
    requests += Post("/echo", "<" + std::to_string(i) + ">") + Get("/stream");
  requests += Get("/count", "Connection: close\r\n");
  REQUIRE(client.Send(requests));
  REQUIRE(client.ReadToEnd());
  size_t at = 0;
  for (int i = 0; i < 50; ++i) {
    at = client.received().find("<" + std::to_string(i) + ">", at);
    REQUIRE(at != std::string::npos);
  }
  CHECK(client.received().ends_with("\r\n\r\n101"));
}

TEST_CASE("chunked request bodies are decoded") {
  RunningServer server;
  TestClient client(server.port());
  const std::string head = "POST /echo HTTP/1.1\r\n" + kHost + "Transfer-Encoding: chunked\r\n\r\n";
  REQUIRE(client.Send(head + "5\r\nhello\r\n"));
  REQUIRE(client.Send("6\r\n world\r\n0\r\nTrailer: x\r\n\r\n" + Get("/count")));
  REQUIRE(client.ReadUntil("\r\n\r\nhello world"));
  REQUIRE(client.ReadUntil("\r\n\r\n2"));
}

TEST_CASE("a large chunked body passes, one over the cap does not") {
  ServerOptions options;
  options.limits.body_bytes_max = 100'000;
  RunningServer server(options);
  const std::string head = "POST /echo HTTP/1.1\r\n" + kHost + "Transfer-Encoding: chunked\r\n\r\n";
  TestClient fits(server.port());
  std::string body;
  for (int i = 0; i < 100; ++i) body += "3e8\r\n" + std::string(1'000, 'c') + "\r\n";
  REQUIRE(fits.Send(head + body + "0\r\n\r\n"));
  REQUIRE(fits.ReadUntil("\r\n\r\n" + std::string(100'000, 'c')));
  TestClient over(server.port());
  REQUIRE(over.Send(head + body + "1\r\nx\r\n0\r\n\r\n"));
  REQUIRE(over.ReadToEnd());
  CHECK(over.received().starts_with("HTTP/1.1 413 "));
}

TEST_CASE("streams are chunked, also empty ones") {
  RunningServer server;
  TestClient client(server.port());
  REQUIRE(client.Send(Get("/stream")));
  REQUIRE(client.ReadUntil("0\r\n\r\n"));
  CHECK(client.received().find("Transfer-Encoding: chunked\r\n") != std::string::npos);
  CHECK(client.received().find("Content-Length") == std::string::npos);
  CHECK(BodyOf(client.received()) == "4\r\none\n\r\n4\r\ntwo\n\r\n6\r\nthree\n\r\n0\r\n\r\n");
  client.Forget();
  REQUIRE(client.Send(Get("/empty")));
  REQUIRE(client.ReadUntil("\r\n\r\n0\r\n\r\n"));
  client.Forget();
  REQUIRE(client.Send(Post("/release", std::string(50'000, 'r'))));
  REQUIRE(client.ReadUntil("three\n\r\n0\r\n\r\n"));
  CHECK(server.Metric("spillway_streams_open") == 0);
}

TEST_CASE("HTTP/1.0 gets its stream until the connection ends") {
  RunningServer server;
  TestClient client(server.port());
  REQUIRE(client.Send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
  REQUIRE(client.ReadToEnd());
  CHECK(client.received().find("chunked") == std::string::npos);
  CHECK(client.received().find("Connection: close\r\n") != std::string::npos);
  CHECK(BodyOf(client.received()) == "one\ntwo\nthree\n");
}

TEST_CASE("HTTP/1.0 keeps the connection only when it asks") {
  RunningServer server;
  TestClient keeps(server.port());
  REQUIRE(keeps.Send("GET /count HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
  REQUIRE(keeps.ReadUntil("\r\n\r\n1"));
  CHECK(keeps.received().find("Connection: keep-alive\r\n") != std::string::npos);
  REQUIRE(keeps.Send("GET /count HTTP/1.0\r\n\r\n"));
  REQUIRE(keeps.ReadToEnd());
  CHECK(keeps.received().ends_with("\r\n\r\n2"));
}

TEST_CASE("HEAD gets the head only") {
  RunningServer server;
  TestClient client(server.port());
  REQUIRE(client.Send("HEAD /count HTTP/1.1\r\n" + kHost + "\r\nHEAD /stream HTTP/1.1\r\n" + kHost +
                      "\r\n" + Get("/count", "Connection: close\r\n")));
  REQUIRE(client.ReadToEnd());
  CHECK(client.received().find("Content-Length: 1\r\n") != std::string::npos);
  CHECK(client.received().find("one") == std::string::npos);
  CHECK(client.received().ends_with("\r\n\r\n3"));
}

TEST_CASE("an aborted stream never looks complete") {
  const std::string path = GENERATE("/abort", "/throw");
  CAPTURE(path);
  RunningServer server;
  TestClient chunked(server.port());
  REQUIRE(chunked.Send(Get(path)));
  CHECK(chunked.ReadToEnd());
  CHECK(BodyOf(chunked.received()) == "7\r\npartial\r\n");
  // Without chunks only a reset shows that something is missing.
  TestClient until_close(server.port());
  REQUIRE(until_close.Send("GET " + path + " HTTP/1.0\r\n\r\n"));
  CHECK_FALSE(until_close.ReadToEnd());
}

TEST_CASE("100 Continue is sent when the body is wanted, and only then") {
  RunningServer server;
  TestClient wanted(server.port());
  const std::string head =
      " HTTP/1.1\r\n" + kHost + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n";
  REQUIRE(wanted.Send("POST /echo" + head));
  REQUIRE(wanted.ReadUntil("HTTP/1.1 100 Continue\r\n\r\n"));
  REQUIRE(wanted.Send("hello"));
  REQUIRE(wanted.ReadUntil("\r\n\r\nhello"));

  TestClient unwanted(server.port());
  REQUIRE(unwanted.Send("POST /early" + head));
  REQUIRE(unwanted.ReadToEnd());
  CHECK(unwanted.received().starts_with("HTTP/1.1 401 "));
  CHECK(unwanted.received().find("Connection: close\r\n") != std::string::npos);

  TestClient impatient(server.port());
  REQUIRE(impatient.Send("POST /echo" + head + "hello"));
  REQUIRE(impatient.ReadUntil("\r\n\r\nhello"));
  CHECK(impatient.received().starts_with("HTTP/1.1 200 "));
}

TEST_CASE("an unread body is skipped when it is small, and ends the connection when it is not") {
  ServerOptions options;
  options.limits.skip_bytes_max = 1'000;
  RunningServer server(options);
  TestClient small(server.port());
  const std::string request = Post("/early", std::string(900, 's'));
  REQUIRE(small.Send(request.substr(0, request.size() - 500)));
  REQUIRE(small.ReadUntil("early"));
  REQUIRE(small.Send(request.substr(request.size() - 500) + Get("/count")));
  REQUIRE(small.ReadUntil("\r\n\r\n2"));

  TestClient large(server.port());
  const std::string big = Post("/early", std::string(200'000, 'l'));
  REQUIRE(large.Send(big.substr(0, 300)));
  REQUIRE(large.ReadUntil("early"));
  CHECK(large.received().find("Connection: close\r\n") != std::string::npos);
  // What is still sent is drained, so that the answer is not lost to a reset.
  CHECK(large.Send(big.substr(300)));
  CHECK(large.ReadToEnd());
}

TEST_CASE("the client's request id is taken over when it is sane") {
  RunningServer server;
  TestClient client(server.port());
  REQUIRE(client.Send(Post("/echo", "x", "X-Request-Id: abc-123\r\n")));
  REQUIRE(client.ReadUntil("x-request-id: abc-123\r\n"));
  client.Forget();
  REQUIRE(client.Send(Post("/echo", "x", "X-Request-Id: a b\"c\r\n")));
  REQUIRE(client.ReadUntil("\r\n\r\nx"));
  CHECK(client.received().find("a b") == std::string::npos);
}

struct RefusedRow {
  std::string name, text;
  int status;
};

TEST_CASE("what cannot be served is refused and the connection ends") {
  ServerOptions options;
  options.limits.body_bytes_max = 1'000;
  const auto row = GENERATE(values<RefusedRow>({
      {"bad framing",
       "GET / HTTP/1.1\r\nHost: gw\r\nContent-Length: 1\r\nTransfer-Encoding: "
       "chunked\r\n\r\n0\r\n\r\n",
       400},
      {"bare LF", "GET / HTTP/1.1\nHost: gw\n\n", 400},
      {"no HTTP", "\x16\x03\x01\x02\n", 400},
      {"head too large",
       "GET / HTTP/1.1\r\nHost: gw\r\nX: " + std::string(40'000, 'x') + "\r\n\r\n", 431},
      {"announced body too large",
       "POST /echo HTTP/1.1\r\nHost: gw\r\nContent-Length: 1001\r\n\r\n", 413},
      {"gzip",
       "POST /echo HTTP/1.1\r\nHost: gw\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
       415},
      {"expectation", "POST /echo HTTP/1.1\r\nHost: gw\r\nExpect: x\r\nContent-Length: 1\r\n\r\nx",
       417},
      {"bad chunk",
       "POST /echo HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n",
       400},
      {"version", "GET / HTTP/2.0\r\nHost: gw\r\n\r\n", 505},
  }));
  CAPTURE(row.name);
  RunningServer server(options);
  TestClient client(server.port());
  // A request behind it must never be served: it may be the refused one's body.
  REQUIRE(client.Send(row.text + Get("/count")));
  REQUIRE(client.ReadToEnd());
  CHECK(client.received().starts_with("HTTP/1.1 " + std::to_string(row.status) + " "));
  CHECK(client.received().find("\r\nConnection: close\r\n") != std::string::npos);
  CHECK(client.received().find("HTTP/1.1", 1) == std::string::npos);
}

TEST_CASE("whoever is too slow is refused or closed") {
  ServerOptions options;
  options.limits.header_ms = 80;
  options.limits.idle_ms = 80;
  options.limits.body_window_ms = 80;
  options.limits.body_window_bytes = 10;
  RunningServer server(options);
  TestClient silent(server.port());
  TestClient slow_head(server.port());
  TestClient slow_body(server.port());
  TestClient idle(server.port());
  REQUIRE(slow_head.Send("GET / HTTP/1.1\r\nHo"));
  REQUIRE(slow_body.Send("POST /echo HTTP/1.1\r\n" + kHost + "Content-Length: 100\r\n\r\nabc"));
  REQUIRE(idle.Send(Get("/count")));
  REQUIRE(idle.ReadUntil("\r\n\r\n"));
  CHECK(silent.ReadToEnd());
  CHECK(silent.received().empty());
  CHECK(slow_head.ReadToEnd());
  CHECK(slow_head.received().starts_with("HTTP/1.1 408 "));
  CHECK(slow_body.ReadToEnd());
  CHECK(slow_body.received().starts_with("HTTP/1.1 408 "));
  CHECK(idle.ReadToEnd());
  CHECK(Eventually([&] { return server.Metric("spillway_connections_open") == 0; }));
}

TEST_CASE("a client that reads nothing is given up") {
  ServerOptions options;
  options.limits.write_stall_ms = 80;
  RunningServer server(options);
  TestClient client(server.port());
  REQUIRE(client.Send(Get("/flood")));
  CHECK(Eventually([] { return Facts().broken_writes == 1; }));
  CHECK(Eventually([&] { return server.Metric("spillway_connections_open") == 0; }));
  CHECK(server.Metric("spillway_streams_open") == 0);
}

TEST_CASE("a client that reads gets everything, in order") {
  RunningServer server;
  TestClient client(server.port());
  REQUIRE(client.Send(Get("/flood", "Connection: close\r\n")));
  REQUIRE(client.ReadToEnd());
  CHECK(client.received().size() > 64 * 1024 * 1024);
  CHECK(client.received().ends_with("f\r\n0\r\n\r\n"));
}

TEST_CASE("a client that leaves is noticed while nothing is read") {
  RunningServer server;
  const bool reset = GENERATE(true, false);
  {
    TestClient client(server.port());
    REQUIRE(client.Send(Get("/watch")));
    REQUIRE(client.ReadUntil("begun"));
    CHECK(server.Metric("spillway_streams_open") == 1);
    if (reset) client.Reset();
  }
  CHECK(Eventually([] { return Facts().gone == 1; }));
  CHECK(Eventually([&] { return server.Metric("spillway_connections_open") == 0; }));
}

TEST_CASE("a client that pipelines its next request has not left") {
  RunningServer server;
  TestClient client(server.port());
  REQUIRE(client.Send(Get("/watch")));
  REQUIRE(client.ReadUntil("begun"));
  REQUIRE(client.Send(Get("/count")));
  TestClient other(server.port());
  REQUIRE(other.Send(Get("/count")));
  REQUIRE(other.ReadUntil("\r\n\r\n2"));  // the loop has run since
  CHECK(Facts().gone == 0);
}

}  // namespace
}  // namespace spillway
