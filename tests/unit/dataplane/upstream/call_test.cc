#include "dataplane/upstream/call.h"

#include <catch2/catch_all.hpp>
#include <functional>
#include <span>
#include <string>

#include "dataplane/exchange/timer_wheel.h"
#include "tests/unit/dataplane/upstream/await.h"

namespace spillway {
namespace {

struct Bench {
  ManualClock clock;
  Loop loop{clock};
  ScriptedProvider provider{loop};
  UpstreamPool pool{loop};
  ProviderSpec spec = Spec(provider.port());

  static ProviderSpec Spec(uint16_t port) {
    ProviderSpec spec;
    spec.name = "p";
    spec.host = "127.0.0.1";
    spec.port = port;
    spec.endpoint_id = 7;
    return spec;
  }
  // The loop sees what arrived.
  void Look() {
    loop.io.restart();
    loop.io.poll();
  }
  // Time passes, as far as deadlines go.
  void Pass(int64_t ms) {
    clock.AdvanceMs(ms);
    loop.timers->Advance();
  }
};

const std::string kHead = "POST /v1/x HTTP/1.1\r\nContent-Length: 4\r\n\r\n";
const std::vector<std::string_view> kBody = {"bo", "", "dy"};

// One whole call: status and body, or the error's name.
Task<std::string> CallOnce(Bench& b, bool fresh = false, size_t bytes_max = 1 << 20) {
  UpstreamCall call(b.pool, b.spec, {});
  if (Result<void> sent = co_await call.Send(kHead, kBody, fresh); !sent) {
    co_return std::string(InfoOf(sent.error().code).name) + (call.reused() ? " reused" : "") +
        (call.Unacknowledged() ? " unacknowledged" : "");
  }
  const int status = call.head().status;
  call.FirstTokenSeen();
  const Result<std::string_view> body = co_await call.Collect(bytes_max);
  if (!body) co_return std::string(InfoOf(body.error().code).name);
  co_return std::to_string(status) + " " + std::string(*body);
}

TEST_CASE("a call sends head and body and reads the answer") {
  Bench b;
  b.provider.Next({Send(JsonAnswer(200, "{\"a\":1}"))});
  CHECK(Await(b.loop, CallOnce(b)) == "200 {\"a\":1}");
  REQUIRE(b.provider.requests().size() == 1);
  CHECK(b.provider.requests()[0].head == kHead);
  CHECK(b.provider.requests()[0].body == "body");
}

TEST_CASE("answers are read in every framing and in any pieces") {
  const std::string whole = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
  const std::string chunked =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
  const std::string until_close = "HTTP/1.1 200 OK\r\n\r\nhello";
  struct Row {
    const char* name;
    std::string text;
    bool close;
    bool reusable;
  };
  const Row rows[] = {
      {"length", whole, false, true},
      {"chunked", chunked, false, true},
      {"until close", until_close, true, false},
      {"interim first", "HTTP/1.1 100 Continue\r\n\r\n" + whole, false, true},
      {"connection: close",
       "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", false, false},
      {"bytes behind the body", whole + "x", false, false}};
  for (const Row& row : rows) {
    for (const size_t step : {size_t{1}, size_t{16}, size_t{100'000}}) {
      DYNAMIC_SECTION(row.name << " in pieces of " << step) {
        Bench b;
        std::vector<ScriptedProvider::Step> steps;
        for (size_t at = 0; at < row.text.size(); at += step)
          steps.push_back(Send(row.text.substr(at, step)));
        if (row.close) steps.push_back(CloseIt());
        b.provider.Next(steps);
        CHECK(Await(b.loop, CallOnce(b)) == "200 hello");
        // What comes behind the answer later is for the look at an idle connection to find.
        if (step > 1 || row.reusable || row.close)
          CHECK(b.pool.idle_count() == (row.reusable ? 1 : 0));
      }
    }
  }
}

TEST_CASE("a large answer is collected whole, by length and by chunks") {
  std::string body;
  for (int i = 0; i < 60'000; ++i) body += std::to_string(i) + ",";
  std::string chunks;
  for (size_t at = 0; at < body.size(); at += 1'000) chunks += Chunk(body.substr(at, 1'000));
  Bench b;
  b.provider.Next({Send(JsonAnswer(200, body))});
  CHECK(Await(b.loop, CallOnce(b)) == "200 " + body);
  b.provider.Next(
      {Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + kLastChunk)});
  CHECK(Await(b.loop, CallOnce(b)) == "200 " + body);
  CHECK(b.provider.accepted() == 1);
}

TEST_CASE("an answer over the limit is refused, whatever it says of its length") {
  Bench b;
  b.provider.Next({Send(JsonAnswer(200, std::string(2'000, 'a')))});
  CHECK(Await(b.loop, CallOnce(b, false, 1'000)) == "upstream_invalid");
  b.provider.Next({Send("HTTP/1.1 200 OK\r\n\r\n" + std::string(200'000, 'a')), CloseIt()});
  CHECK(Await(b.loop, CallOnce(b, false, 100'000)) == "upstream_invalid");
  CHECK(b.pool.idle_count() == 0);
}

TEST_CASE("a head larger than a buffer is read, within its limit") {
  Bench b;
  b.provider.Next({Send("HTTP/1.1 200 OK\r\nX-Big: " + std::string(40'000, 'a') +
                        "\r\nContent-Length: 2\r\n\r\nok")});
  CHECK(Await(b.loop, CallOnce(b)) == "200 ok");
  b.provider.Next({Send("HTTP/1.1 200 OK\r\nX-Big: " + std::string(80'000, 'a') +
                        "\r\nContent-Length: 2\r\n\r\nok")});
  CHECK(Await(b.loop, CallOnce(b)) == "upstream_invalid reused");
}

TEST_CASE("connections are kept and used again, the last one first") {
  Bench b;
  for (int i = 0; i < 3; ++i) b.provider.Next({Send(JsonAnswer(200, "{}"))});
  CHECK(Await(b.loop, CallOnce(b)) == "200 {}");
  CHECK(Await(b.loop, CallOnce(b)) == "200 {}");
  CHECK(b.provider.accepted() == 1);
  CHECK(b.pool.counters().opened == 1);
  CHECK(b.pool.counters().reused == 1);
  CHECK(Await(b.loop, CallOnce(b, true)) == "200 {}");
  CHECK(b.provider.accepted() == 2);
}

TEST_CASE("a kept connection that was closed is found out") {
  Bench b;
  b.provider.Next({Send(JsonAnswer(200, "{}"))});
  CHECK(Await(b.loop, CallOnce(b)) == "200 {}");
  b.provider.CloseIdle();
  SECTION("by the call that uses it at once") {
    const std::string failed = Await(b.loop, CallOnce(b));
    CHECK(failed.starts_with("upstream_truncated reused"));
  }
  SECTION("by the loop, before it is used") {
    b.Look();
    b.provider.Next({Send(JsonAnswer(200, "{}"))});
    CHECK(Await(b.loop, CallOnce(b)) == "200 {}");
    CHECK(b.provider.accepted() == 2);
  }
  SECTION("by the sweep") {
    b.Look();
    b.Pass(5'000);
    b.Pass(10);
    CHECK(b.pool.idle_count() == 0);
  }
}

// TCP acknowledges late on a connection that is used to and fro: the provider may have read the
// request, and acted on it, before it resets.
TEST_CASE("a reset on a kept connection does not prove that the request never arrived") {
  Bench b;
  for (int i = 0; i < 30; ++i) {
    b.provider.Next({Send(JsonAnswer(200, "{}"))});
    REQUIRE(Await(b.loop, CallOnce(b)) == "200 {}");
  }
  b.provider.Next({ResetIt()});
  CHECK(Await(b.loop, CallOnce(b)) == "upstream_truncated reused");
  CHECK(b.provider.requests().size() == 31);
}

TEST_CASE("what a provider says unasked reaches no later caller") {
  Bench b;
  b.provider.Next({Send(JsonAnswer(200, "{}"))});
  CHECK(Await(b.loop, CallOnce(b)) == "200 {}");
  b.provider.SpeakIdle(JsonAnswer(200, R"({"for":"somebody else"})"));
  b.Look();
  b.provider.Next({Send(JsonAnswer(200, R"({"for":"me"})"))});
  CHECK(Await(b.loop, CallOnce(b)) == R"(200 {"for":"me"})");
  CHECK(b.provider.accepted() == 2);
}

TEST_CASE("idle connections have an age and a number") {
  ManualClock clock;
  Loop loop(clock);
  ScriptedProvider provider(loop);
  UpstreamPool pool(loop, {.idle_per_endpoint_max = 1, .idle_ms = 1'000, .sweep_ms = 500});
  Bench b;  // for its spec only
  const ProviderSpec spec = Bench::Spec(provider.port());
  const auto open = [&] {
    auto connection = pool.MakeNew(spec.endpoint_id);
    REQUIRE(Await(loop, pool.Open(*connection, spec)).has_value());
    return connection;
  };
  auto first = open();
  auto second = open();
  pool.GiveBack(std::move(first));
  pool.GiveBack(std::move(second));
  CHECK(pool.idle_count() == 1);
  clock.AdvanceMs(1'001);
  loop.timers->Advance();
  CHECK(pool.idle_count() == 0);
}

TEST_CASE("failures say how far a call came") {
  struct Row {
    const char* name;
    ScriptedProvider::Script script;
    const char* want;
  };
  const Row rows[] = {
      {"closed without an answer", {.steps = {CloseIt()}}, "upstream_truncated"},
      {"reset without an answer", {.steps = {ResetIt()}}, "upstream_truncated"},
      {"half a head",
       {.steps = {Send("HTTP/1.1 200 OK\r\nConte"), CloseIt()}},
       "upstream_truncated"},
      {"no HTTP", {.steps = {Send("hello, who is there?\r\n\r\n")}}, "upstream_invalid"},
      {"body cut",
       {.steps = {Send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"), CloseIt()}},
       "upstream_truncated"},
      {"chunks cut",
       {.steps = {Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"),
                  CloseIt()}},
       "upstream_truncated"},
      {"chunks broken",
       {.steps = {Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!!")}},
       "upstream_truncated"},
      {"body reset",
       {.steps = {Send("HTTP/1.1 200 OK\r\n\r\nhello"), Hold(), ResetIt()}},
       "upstream_truncated"},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      Bench b;
      b.provider.Next(row.script);
      Running<std::string> call(b.loop, CallOnce(b));
      if (row.script.steps.size() > 1 &&
          row.script.steps[1].kind == ScriptedProvider::Step::Kind::kHold) {
        REQUIRE(RunUntil(b.loop, [&] { return b.provider.holding() == 1; }));
        b.loop.io.poll();
        b.provider.Resume();
      }
      CHECK(call.Wait() == row.want);
      CHECK(b.pool.idle_count() == 0);
    }
  }
}

TEST_CASE("an answer that comes before a large request was read counts") {
  Bench b;
  const std::string large(8'000'000, 'x');
  const std::string head = "POST / HTTP/1.1\r\nContent-Length: 8000000\r\n\r\n";
  b.provider.Next({.steps = {Send(JsonAnswer(413, "{}")), CloseIt()}, .before_body = true});
  const auto run = [](Bench& b, std::string_view head, std::string_view body) -> Task<std::string> {
    UpstreamCall call(b.pool, b.spec, {});
    const Result<void> sent = co_await call.Send(head, {&body, 1}, false);
    if (!sent) co_return call.progress() == UpstreamCall::Progress::kSending ? "sending" : "sent";
    co_return std::to_string(call.head().status);
  };
  const std::string got = Await(b.loop, run(b, head, large));
  // The reset that follows may overtake the answer.
  CHECK((got == "413" || got == "sending"));
  CHECK(b.pool.idle_count() == 0);
}

TEST_CASE("a large request in many pieces arrives whole") {
  Bench b;
  std::vector<std::string> texts;
  std::vector<std::string_view> pieces;
  size_t size = 0;
  texts.reserve(50);
  for (int i = 0; i < 50; ++i) texts.emplace_back(100'000, static_cast<char>('a' + i % 26));
  for (const std::string& text : texts) {
    pieces.push_back(text);
    size += text.size();
  }
  const std::string head =
      "POST / HTTP/1.1\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n";
  b.provider.Next({Send(JsonAnswer(200, "{}"))});
  const auto run = [](Bench& b, std::string_view head,
                      std::span<const std::string_view> pieces) -> Task<bool> {
    UpstreamCall call(b.pool, b.spec, {});
    co_return (co_await call.Send(head, pieces, false)).has_value();
  };
  REQUIRE(Await(b.loop, run(b, head, pieces)));
  std::string want;
  for (const std::string& text : texts) want += text;
  CHECK(b.provider.requests()[0].body == want);
}

TEST_CASE("deadlines end a call: first token, silence, total, connect") {
  Bench b;
  struct Got {
    std::string error;
    UpstreamCall::Progress progress;
  };
  const auto run = [](Bench& b, CallTimeouts timeouts, bool seen) -> Task<Got> {
    UpstreamCall call(b.pool, b.spec, timeouts);
    Result<void> step = co_await call.Send(kHead, kBody, false);
    if (step && seen) call.FirstTokenSeen();
    while (step && !call.ended()) {
      CHECK(call.Next().has_value());
      step = co_await call.Fill();
    }
    co_return Got{step ? "" : std::string(InfoOf(step.error().code).name), call.progress()};
  };
  const auto expect = [&](CallTimeouts timeouts, bool seen, int64_t early_ms, int64_t late_ms) {
    Running<Got> call(b.loop, run(b, timeouts, seen));
    REQUIRE(RunUntil(b.loop, [&] { return b.provider.holding() == 1; }));
    b.loop.io.poll();
    b.Pass(early_ms);
    b.loop.io.poll();
    CHECK_FALSE(call.done());
    b.Pass(late_ms - early_ms);
    b.Pass(20);
    const Got got = call.Wait();
    CHECK(got.error == "upstream_timeout");
    return got.progress;
  };
  SECTION("no answer") {
    b.provider.Next({Hold(), PeerClose()});
    CHECK(expect({.first_token_ms = 100, .total_ms = 9'000}, false, 80, 120) ==
          UpstreamCall::Progress::kSent);
  }
  SECTION("a head and nothing more") {
    b.provider.Next({Send(StreamHead()), Hold(), PeerClose()});
    CHECK(expect({.first_token_ms = 100, .total_ms = 9'000}, false, 80, 120) ==
          UpstreamCall::Progress::kAnswered);
  }
  SECTION("silence in the middle") {
    b.provider.Next({Send(StreamHead() + Chunk("a")), Hold(), PeerClose()});
    CHECK(expect({.first_token_ms = 10, .idle_ms = 200, .total_ms = 9'000}, true, 150, 230) ==
          UpstreamCall::Progress::kAnswered);
  }
  SECTION("in total") {
    b.provider.Next({Send(StreamHead() + Chunk("a")), Hold(), PeerClose()});
    CHECK(expect({.first_token_ms = 10, .idle_ms = 9'000, .total_ms = 500}, true, 450, 530) ==
          UpstreamCall::Progress::kAnswered);
  }
  REQUIRE(RunUntil(b.loop, [&] { return b.provider.holding() == 1; }));
  b.provider.Resume();
  CHECK(RunUntil(b.loop, [&] { return b.provider.cuts() == 1; }));
}

TEST_CASE("a name that does not resolve in time is unreachable") {
  ManualClock clock;
  Loop loop(clock);
  int asked = 0;
  UpstreamPool pool(loop, {}, [&](const std::string&, const auto&) { ++asked; });
  ProviderSpec spec = Bench::Spec(1);
  spec.host = "slow.example";
  spec.connect_timeout_ms = 50;
  auto connection = pool.MakeNew(1);
  Running<Result<void>> open(loop, pool.Open(*connection, spec));
  REQUIRE(RunUntil(loop, [&] { return asked == 1; }));
  clock.AdvanceMs(70);
  loop.timers->Advance();
  CHECK(open.Wait().error().code == ErrorCode::kUpstreamUnreachable);
}

TEST_CASE("connecting counts: the total bounds it, and what it took is missing for the rest") {
  ManualClock clock;
  Loop loop(clock);
  ScriptedProvider provider(loop);
  std::function<void(Result<Addresses>)> resolve;
  UpstreamPool pool(loop, {}, [&](const std::string&, auto done) { resolve = std::move(done); });
  ProviderSpec spec = Bench::Spec(provider.port());
  spec.host = "slow.example";
  spec.connect_timeout_ms = 9'000;
  UpstreamCall call(pool, spec, {.first_token_ms = 9'000, .total_ms = 500});
  provider.Next({Hold(), PeerClose()});
  Running<Result<void>> sent(loop, call.Send(kHead, kBody, false));
  REQUIRE(RunUntil(loop, [&] { return resolve != nullptr; }));
  const auto pass = [&](int64_t ms) {
    clock.AdvanceMs(ms);
    loop.timers->Advance();
    loop.io.restart();
    loop.io.poll();
  };
  SECTION("connecting takes it all") {
    pass(530);
    REQUIRE(sent.done());
    CHECK(sent.Wait().error().code == ErrorCode::kUpstreamUnreachable);
    CHECK(call.progress() == UpstreamCall::Progress::kConnecting);
  }
  SECTION("the answer takes the rest") {
    pass(300);
    resolve(Addresses{boost::asio::ip::make_address("127.0.0.1")});
    REQUIRE(RunUntil(loop, [&] { return provider.holding() == 1; }));
    pass(150);
    CHECK_FALSE(sent.done());
    pass(80);
    REQUIRE(sent.done());
    CHECK(sent.Wait().error().code == ErrorCode::kUpstreamTimeout);
    CHECK(call.progress() == UpstreamCall::Progress::kSent);
    call.Finish();
    provider.Resume();
    CHECK(RunUntil(loop, [&] { return provider.cuts() == 1; }));
  }
}

TEST_CASE("a refused connection goes on to the next address, then fails") {
  ManualClock clock;
  Loop loop(clock);
  ScriptedProvider provider(loop);
  const auto nowhere =
      boost::asio::ip::make_address("127.0.0.2");  // nobody listens on this port there
  const auto here = boost::asio::ip::make_address("127.0.0.1");
  Addresses addresses = {nowhere, here};
  UpstreamPool pool(loop, {}, [&](const std::string&, const auto& done) { done(addresses); });
  ProviderSpec spec = Bench::Spec(provider.port());
  spec.host = "two.example";
  auto connection = pool.MakeNew(1);
  CHECK(Await(loop, pool.Open(*connection, spec)).has_value());
  spec.host = "one.example";
  addresses = {nowhere};
  auto other = pool.MakeNew(1);
  const Result<void> failed = Await(loop, pool.Open(*other, spec));
  REQUIRE_FALSE(failed.has_value());
  CHECK(failed.error().code == ErrorCode::kUpstreamUnreachable);
}

TEST_CASE("a cancelled call ends at once and closes its connection") {
  Bench b;
  b.provider.Next({Send(StreamHead()), PeerClose()});
  UpstreamCall* live = nullptr;
  const auto run = [](Bench& b, UpstreamCall*& live) -> Task<std::string> {
    UpstreamCall call(b.pool, b.spec, {});
    live = &call;
    Result<void> step = co_await call.Send(kHead, kBody, false);
    if (step) step = co_await call.Fill();
    co_return step ? "" : std::string(InfoOf(step.error().code).name);
  };
  Running<std::string> call(b.loop, run(b, live));
  REQUIRE(RunUntil(b.loop, [&] { return !b.provider.requests().empty(); }));
  b.loop.io.poll();
  CHECK_FALSE(call.done());
  live->Cancel();
  CHECK(call.Wait() == InfoOf(ErrorCode::kCancelled).name);
  CHECK(RunUntil(b.loop, [&] { return b.provider.cuts() == 1; }));
}

TEST_CASE("a stream is read piece by piece, and a waiting one holds no buffer") {
  Bench b;
  b.provider.Next({Send(StreamHead() + Chunk("one")), Hold(), Send(Chunk("two") + kLastChunk)});
  std::vector<std::string> pieces;
  const auto run = [](Bench& b, std::vector<std::string>& pieces) -> Task<bool> {
    UpstreamCall call(b.pool, b.spec, {});
    if (!co_await call.Send(kHead, kBody, false)) co_return false;
    while (!call.ended()) {
      const Result<std::string_view> bytes = call.Next();
      if (!bytes) co_return false;
      if (!bytes->empty()) {
        pieces.emplace_back(*bytes);
      } else if (!co_await call.Fill()) {
        co_return false;
      }
    }
    co_return true;
  };
  Running<bool> call(b.loop, run(b, pieces));
  REQUIRE(RunUntil(b.loop, [&] { return pieces.size() == 1 && b.provider.holding() == 1; }));
  b.loop.io.poll();
  b.provider.Resume();
  CHECK(call.Wait());
  CHECK(pieces == std::vector<std::string>{"one", "two"});
  CHECK(b.pool.idle_count() == 1);
}

}  // namespace
}  // namespace spillway
