#include <catch2/catch_all.hpp>
#include <string>

#include "dataplane/exchange/timer_wheel.h"
#include "dataplane/upstream/call.h"
#include "tests/unit/dataplane/upstream/await.h"

namespace spillway {
namespace {

// More than the buffers of both sockets hold.
constexpr size_t kBodyBytes = size_t{16} * 1024 * 1024;
// What a provider reads of it when it reads all but a little, which the socket holds.
constexpr size_t kMostBytes = kBodyBytes - size_t{64} * 1024;

// A provider that answers before it has read the whole request, and a clock that stands still.
struct EarlyBench {
  ManualClock clock;
  Loop loop{clock};
  ScriptedProvider provider{loop};
  UpstreamPool pool{loop};
  ProviderSpec spec;
  const std::string head =
      "POST / HTTP/1.1\r\nContent-Length: " + std::to_string(kBodyBytes) + "\r\n\r\n";
  const std::string body = std::string(kBodyBytes, 'x');

  EarlyBench() {
    spec.host = "127.0.0.1";
    spec.port = provider.port();
    spec.endpoint_id = 7;
  }
  // "status body", or the error's name.
  Task<std::string> Call() {
    UpstreamCall call(pool, spec, {});
    const std::string_view whole = body;
    Result<void> sent = co_await call.Send(head, {&whole, 1}, false);
    if (!sent) co_return std::string(InfoOf(sent.error().code).name);
    const Result<std::string_view> answer = co_await call.Collect(1'000);
    if (!answer) co_return std::string(InfoOf(answer.error().code).name);
    co_return std::to_string(call.head().status) + " " + std::string(*answer);
  }
};

TEST_CASE("a refusal is heard though the provider reads no more of the request") {
  for (const int status : {401, 413, 429}) {
    DYNAMIC_SECTION(status) {
      EarlyBench b;
      b.provider.Next({.steps = {ReadSome(64 * 1024), Send(JsonAnswer(status, "{}")), Hold()},
                       .before_body = true});
      CHECK(Await(b.loop, b.Call()) == std::to_string(status) + " {}");
      // What was not sent would be taken for the next request.
      CHECK(b.pool.idle_count() == 0);
      REQUIRE(RunUntil(b.loop, [&] { return b.provider.holding() == 1; }));
      b.provider.Resume();
      CHECK(RunUntil(b.loop, [&] { return b.provider.holding() == 0; }));
    }
  }
}

TEST_CASE("a connection that is closed while a request is being sent ends the call") {
  EarlyBench b;
  b.provider.Next({.steps = {ReadSome(64 * 1024), CloseIt()}, .before_body = true});
  CHECK(Await(b.loop, b.Call()) == "upstream_truncated");
}

TEST_CASE("who answers early and refuses nothing gets the whole request") {
  struct Row {
    const char* name;
    std::vector<ScriptedProvider::Step> steps;
  };
  const Row rows[] = {
      {"an interim answer",
       {Send("HTTP/1.1 100 Continue\r\n\r\n"), ReadSome(kMostBytes), Send(JsonAnswer(200, "{}"))}},
      {"two of them, one in pieces",
       {Send("HTTP/1.1 103 Early Hints\r\nLink"), ReadSome(1'024), Send(": x\r\n\r\n"),
        ReadSome(1'024 * 1'024), Send("HTTP/1.1 102 Processing\r\n\r\n"),
        ReadSome(kMostBytes - 1'024 * 1'025), Send(JsonAnswer(200, "{}"))}},
      {"the answer itself", {Send(JsonAnswer(200, "{}")), ReadSome(kMostBytes)}},
      {"the head, and the body when all was read",
       {Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"), ReadSome(kMostBytes), Send("{}")}},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      EarlyBench b;
      b.provider.Next({.steps = row.steps, .before_body = true});
      CHECK(Await(b.loop, b.Call()) == "200 {}");
      CHECK(b.pool.idle_count() == 1);
    }
  }
}

TEST_CASE("a call is cancelled while the provider reads no more of the request") {
  EarlyBench b;
  UpstreamCall call(b.pool, b.spec, {});
  const std::string_view whole = b.body;
  b.provider.Next({.steps = {ReadSome(64 * 1024), Hold()}, .before_body = true});
  Running<Result<void>> sent(b.loop, call.Send(b.head, {&whole, 1}, false));
  REQUIRE(RunUntil(b.loop, [&] { return b.provider.holding() == 1; }));
  b.loop.io.poll();
  CHECK_FALSE(sent.done());
  call.Cancel();
  CHECK(sent.Wait().error().code == ErrorCode::kCancelled);
  CHECK(call.progress() == UpstreamCall::Progress::kSending);
  b.provider.Resume();
  CHECK(RunUntil(b.loop, [&] { return b.provider.holding() == 0; }));
}

}  // namespace
}  // namespace spillway
