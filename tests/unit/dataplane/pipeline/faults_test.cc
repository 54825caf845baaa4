// The upstream rows of the fault catalogue that concern whole answers, and those of streams up to
// their first event: what the client sees, what is tried next, what is billed.
#include <catch2/catch_all.hpp>

#include "tests/unit/dataplane/pipeline/bench.h"

namespace spillway {
namespace {

using Steps = std::vector<ScriptedProvider::Step>;

constexpr const char* kChat = "/v1/chat/completions";
const std::string kAnswer =
    R"({"choices":[{"message":{"content":"ok"}}],"usage":{"prompt_tokens":10,"completion_tokens":5}})";
const std::string kEvents =
    "data: "
    "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"ok\"},\"finish_reason\":\"stop\"}]}\n\n"
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5}}\n\n"
    "data: [DONE]\n\n";

std::string Request(const std::string& model, bool stream) {
  return R"({"model":")" + model + R"(","messages":[{"role":"user","content":"hi"}])" +
         (stream ? R"(,"stream":true)" : "") + "}";
}
Steps Good(bool stream) {
  if (!stream) return {Send(JsonAnswer(200, kAnswer))};
  return {Send(StreamHead() + Chunk(kEvents) + kLastChunk)};
}

struct Row {
  const char* name;
  Steps first;
  bool streams;            // also true of streams
  int64_t pass_ms;         // time that passes while the first provider holds
  bool tried_next;         // a second target is tried
  int alone_status;        // what the client sees when there is none
  const char* alone_code;  // the refusal's name
  v1::EndReason end;       // of the failed attempt
  v1::UsageSource source;
};

const std::string kRate =
    JsonAnswer(429, R"({"error":{"message":"slow","type":"rate_limit"}})", "Retry-After: 7\r\n");

const std::vector<Row>& Rows() {
  static const std::vector<Row> rows = {
      {"U5 closed before an answer",
       {CloseIt()},
       true,
       0,
       true,
       502,
       "upstream_unreachable",
       v1::END_UPSTREAM_CUT,
       v1::USAGE_SOURCE_ESTIMATED},
      {"U5 reset before an answer",
       {ResetIt()},
       true,
       0,
       true,
       502,
       "upstream_unreachable",
       v1::END_UPSTREAM_CUT,
       v1::USAGE_SOURCE_ESTIMATED},
      {"U6 no answer in time",
       {Hold(), PeerClose()},
       true,
       60'100,
       true,
       504,
       "upstream_timeout",
       v1::END_UPSTREAM_STALLED,
       v1::USAGE_SOURCE_ESTIMATED},
      {"half a head",
       {Send("HTTP/1.1 200 OK\r\nA"), CloseIt()},
       true,
       0,
       true,
       502,
       "upstream_unreachable",
       v1::END_UPSTREAM_CUT,
       v1::USAGE_SOURCE_ESTIMATED},
      {"no HTTP",
       {Send("220 smtp\r\n\r\n"), CloseIt()},
       true,
       0,
       true,
       502,
       "upstream_invalid",
       v1::END_UPSTREAM_ERROR,
       v1::USAGE_SOURCE_ESTIMATED},
      {"U11 body shorter than its length",
       {Send("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"a\":"), CloseIt()},
       false,
       0,
       true,
       502,
       "upstream_truncated",
       v1::END_UPSTREAM_CUT,
       v1::USAGE_SOURCE_ESTIMATED},
      {"U11 bad chunks",
       {Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"), CloseIt()},
       false,
       0,
       true,
       502,
       "upstream_truncated",
       v1::END_UPSTREAM_CUT,
       v1::USAGE_SOURCE_ESTIMATED},
      {"U11 length too short",
       {Send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{\"a\":1}")},
       false,
       0,
       true,
       502,
       "upstream_invalid",
       v1::END_UPSTREAM_ERROR,
       v1::USAGE_SOURCE_ESTIMATED},
      {"hang in the middle of a body",
       {Send("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), Hold(), PeerClose()},
       false,
       3'100,
       true,
       504,
       "upstream_timeout",
       v1::END_UPSTREAM_STALLED,
       v1::USAGE_SOURCE_ESTIMATED},
      {"U13 429 with retry-after",
       {Send(kRate)},
       true,
       0,
       true,
       429,
       "upstream_rate_limited",
       v1::END_UPSTREAM_ERROR,
       v1::USAGE_SOURCE_NONE},
      {"U15 500",
       {Send(JsonAnswer(500, "{\"error\":{}}"))},
       true,
       0,
       true,
       500,
       "upstream_error",
       v1::END_UPSTREAM_ERROR,
       v1::USAGE_SOURCE_NONE},
      {"U15 503 in HTML",
       {Send("HTTP/1.1 503 X\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>")},
       true,
       0,
       true,
       503,
       "upstream_error",
       v1::END_UPSTREAM_ERROR,
       v1::USAGE_SOURCE_NONE},
      {"U15 529",
       {Send(JsonAnswer(529, "{\"error\":{}}"))},
       true,
       0,
       true,
       529,
       "upstream_error",
       v1::END_UPSTREAM_ERROR,
       v1::USAGE_SOURCE_NONE},
      {"5xx with usage",
       {Send(JsonAnswer(500, R"({"error":{},"usage":{"prompt_tokens":3,"completion_tokens":0}})"))},
       true,
       0,
       true,
       500,
       "upstream_error",
       v1::END_UPSTREAM_ERROR,
       v1::USAGE_SOURCE_PROVIDER},
      {"U16 400",
       {Send(JsonAnswer(400, R"({"error":{"message":"no"}})"))},
       true,
       0,
       false,
       400,
       "upstream_error",
       v1::END_UPSTREAM_ERROR,
       v1::USAGE_SOURCE_NONE},
      {"U16 422",
       {Send(JsonAnswer(422, R"({"error":{"message":"no"}})"))},
       true,
       0,
       false,
       422,
       "upstream_error",
       v1::END_UPSTREAM_ERROR,
       v1::USAGE_SOURCE_NONE},
      {"U16 401",
       {Send(JsonAnswer(401, R"({"error":{"message":"key sk-123 is wrong"}})"))},
       true,
       0,
       true,
       502,
       "upstream_credentials",
       v1::END_UPSTREAM_ERROR,
       v1::USAGE_SOURCE_NONE},
      {"U16 403",
       {Send(JsonAnswer(403, "{}"))},
       true,
       0,
       true,
       502,
       "upstream_credentials",
       v1::END_UPSTREAM_ERROR,
       v1::USAGE_SOURCE_NONE},
      {"redirect",
       {Send(
           "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n")},
       true,
       0,
       true,
       502,
       "upstream_invalid",
       v1::END_UPSTREAM_ERROR,
       v1::USAGE_SOURCE_NONE},
      {"U17 200 with an error",
       {Send(JsonAnswer(200, R"({"error":{"message":"broken"}})"))},
       true,
       0,
       true,
       502,
       "upstream_error",
       v1::END_UPSTREAM_ERROR,
       v1::USAGE_SOURCE_NONE},
      {"200 that is no JSON",
       {Send(JsonAnswer(200, "<html>"))},
       true,
       0,
       true,
       502,
       "upstream_invalid",
       v1::END_UPSTREAM_ERROR,
       v1::USAGE_SOURCE_ESTIMATED},
      {"200 without a body",
       {Send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")},
       true,
       0,
       true,
       502,
       "upstream_invalid",
       v1::END_UPSTREAM_ERROR,
       v1::USAGE_SOURCE_ESTIMATED},
      {"U18 gzip",
       {Send(JsonAnswer(200, "\x1f\x8b", "Content-Encoding: gzip\r\n"))},
       true,
       0,
       true,
       502,
       "upstream_invalid",
       v1::END_UPSTREAM_ERROR,
       v1::USAGE_SOURCE_ESTIMATED},
  };
  return rows;
}

const std::vector<Row>& StreamRows() {
  static const std::vector<Row> rows = {
      {"U7 a head and no event",
       {Send(StreamHead()), Hold(), PeerClose()},
       true,
       2'100,
       true,
       504,
       "upstream_timeout",
       v1::END_UPSTREAM_STALLED,
       v1::USAGE_SOURCE_ESTIMATED},
      {"U7 comments and no event",
       {Send(StreamHead() + Chunk(": processing\n\n")), Hold(), PeerClose()},
       true,
       2'100,
       true,
       504,
       "upstream_timeout",
       v1::END_UPSTREAM_STALLED,
       v1::USAGE_SOURCE_ESTIMATED},
      {"U9 an empty stream",
       {Send(StreamHead() + kLastChunk)},
       true,
       0,
       true,
       502,
       "upstream_truncated",
       v1::END_UPSTREAM_CUT,
       v1::USAGE_SOURCE_ESTIMATED},
      {"cut before the first event",
       {Send(StreamHead() + Chunk("data: {\"cho")), CloseIt()},
       true,
       0,
       true,
       502,
       "upstream_truncated",
       v1::END_UPSTREAM_CUT,
       v1::USAGE_SOURCE_ESTIMATED},
      {"U12 an error before any event",
       {Send(StreamHead() + Chunk("data: {\"error\":{\"message\":\"overloaded\"}}\n\n"))},
       true,
       0,
       true,
       502,
       "upstream_error",
       v1::END_UPSTREAM_ERROR,
       v1::USAGE_SOURCE_ESTIMATED},
      {"U10 garbage instead of events",
       {Send(StreamHead() + Chunk("<html>no</html>\n\n"))},
       true,
       0,
       true,
       502,
       "upstream_invalid",
       v1::END_UPSTREAM_ERROR,
       v1::USAGE_SOURCE_ESTIMATED},
  };
  return rows;
}

void PlayFault(Bench& bench, Bench::Asked& asked, const Row& row) {
  if (row.pass_ms > 0) {
    REQUIRE(RunUntil(bench.loop, [&] { return bench.a.holding() == 1; }));
    bench.Settle();
    bench.Pass(row.pass_ms);
    bench.Pass(20);
    bench.a.Resume();
  }
  bench.Finish(asked);
}

void CheckBill(const Billed& bill, const Row& row) {
  CHECK(bill.finished.end() == row.end);
  CHECK(bill.finished.source() == row.source);
  CHECK_FALSE(bill.finished.winner());
  if (row.source == v1::USAGE_SOURCE_ESTIMATED) {
    CHECK(bill.finished.usage().input_tokens() == bill.started.estimate().input_tokens());
    CHECK(bill.finished.usage().output_tokens() == 0);
  }
  if (row.source == v1::USAGE_SOURCE_NONE) CHECK(bill.finished.cost_nanos() == 0);
}

void CheckAlone(const Row& row, bool stream) {
  Bench bench;
  bench.a.Next(row.first);
  const auto asked = bench.Ask(kChat, Request("one", stream));
  PlayFault(bench, *asked, row);
  CHECK(asked->client.status == row.alone_status);
  CHECK(asked->client.content_type == "application/json");
  CHECK(asked->client.body.find("\"error\"") != std::string::npos);
  CHECK(asked->client.body.find("sk-123") == std::string::npos);
  CHECK(asked->client.body.find("secret-pa") == std::string::npos);
  CHECK(asked->client.ended);
  CHECK(asked->x->record.refusal == row.alone_code);
  CHECK(asked->x->record.attempts == 1);
  const std::vector<Billed> bills = bench.Bills();
  REQUIRE(bills.size() == 1);
  CheckBill(bills[0], row);
}

void CheckWithFallback(const Row& row, bool stream) {
  Bench bench;
  bench.a.Next(row.first);
  bench.b.Next(Good(stream));
  const auto asked = bench.Ask(kChat, Request("both", stream));
  PlayFault(bench, *asked, row);
  CHECK(bench.b.accepted() == (row.tried_next ? 1 : 0));
  const std::vector<Billed> bills = bench.Bills();
  REQUIRE(bills.size() == (row.tried_next ? 2 : 1));
  CheckBill(bills[0], row);
  if (!row.tried_next) return;
  CHECK(asked->client.status == 200);
  CHECK(asked->client.ended);
  CHECK(asked->client.Header("x-spillway-model") == "b");
  CHECK(asked->client.Header("x-spillway-attempts") == "2");
  CHECK(asked->client.Header("x-spillway-fallback") == "true");
  CHECK(bills[1].finished.end() == v1::END_FINISHED);
  CHECK(bills[1].finished.source() == v1::USAGE_SOURCE_PROVIDER);
  CHECK(bills[1].finished.winner());
  CHECK(bills[1].started.attempt() == 2);
  CHECK(bills[1].started.attempt_id() != bills[0].started.attempt_id());
  CHECK(asked->x->record.cost == bills[0].finished.cost_nanos() + bills[1].finished.cost_nanos());
}

TEST_CASE("faults before an answer: alone, the client gets a typed error") {
  for (const Row& row : Rows()) {
    DYNAMIC_SECTION(row.name) { CheckAlone(row, false); }
    if (row.streams) DYNAMIC_SECTION(row.name << ", of a stream") {
        CheckAlone(row, true);
      }
  }
  for (const Row& row : StreamRows()) DYNAMIC_SECTION(row.name) {
      CheckAlone(row, true);
    }
}

TEST_CASE("faults before an answer: with a fallback, the client sees nothing of them") {
  for (const Row& row : Rows()) {
    DYNAMIC_SECTION(row.name) { CheckWithFallback(row, false); }
    if (row.streams) DYNAMIC_SECTION(row.name << ", of a stream") {
        CheckWithFallback(row, true);
      }
  }
  for (const Row& row : StreamRows()) DYNAMIC_SECTION(row.name) {
      CheckWithFallback(row, true);
    }
}

TEST_CASE("a provider's last word is passed on as it is, with its retry-after") {
  Bench bench;
  bench.a.Next({Send(kRate)});
  bench.b.Next({Send(kRate)});
  const auto asked = bench.Call(kChat, Request("both", false));
  CHECK(asked->client.status == 429);
  CHECK(asked->client.body == R"({"error":{"message":"slow","type":"rate_limit"}})");
  CHECK(asked->client.Header("Retry-After") == "7");
  CHECK(asked->client.Header("x-should-retry") == "false");
  CHECK(asked->client.Header("x-spillway-attempts") == "2");
}

TEST_CASE("a body that is no JSON is wrapped, with its status and retry-after") {
  Bench bench;
  bench.a.Next({Send("HTTP/1.1 503 X\r\nRetry-After: 3\r\nContent-Length: 4\r\n\r\nbusy")});
  const auto asked = bench.Call(kChat, Request("one", false));
  CHECK(asked->client.status == 503);
  CHECK(asked->client.body.starts_with("{\"error\":{"));
  CHECK(asked->client.Header("retry-after") == "3");
}

TEST_CASE("U2 nobody listens: the next target, free of charge") {
  Bench bench;
  bench.a.StopListening();
  bench.b.Next(Good(false));
  const auto asked = bench.Call(kChat, Request("both", false));
  CHECK(asked->client.status == 200);
  const auto alone = bench.Call(kChat, Request("one", true));
  CHECK(alone->client.status == 502);
  CHECK(alone->x->record.refusal == "upstream_unreachable");
  const std::vector<Billed> bills = bench.Bills();
  REQUIRE(bills.size() == 3);
  for (const size_t i : {size_t{0}, size_t{2}}) {
    CHECK(bills[i].finished.end() == v1::END_UNREACHABLE);
    CHECK(bills[i].finished.source() == v1::USAGE_SOURCE_NONE);
    CHECK(bills[i].finished.cost_nanos() == 0);
  }
}

TEST_CASE("U16 a refused credential is followed by the next one of the same provider") {
  Bench bench;
  bench.a.Next({Send(JsonAnswer(401, "{}"))});
  bench.a.Next({Send(JsonAnswer(200, kAnswer))});
  const auto asked = bench.Call(kChat, Request("keys", false));
  CHECK(asked->client.status == 200);
  REQUIRE(bench.a.requests().size() == 2);
  CHECK(bench.a.requests()[0].Header("Authorization") !=
        bench.a.requests()[1].Header("Authorization"));
  CHECK(asked->client.Header("x-spillway-fallback").empty());
}

TEST_CASE("U19 a kept connection that was closed costs nothing and nobody notices") {
  for (const bool stream : {false, true}) {
    DYNAMIC_SECTION((stream ? "stream" : "whole")) {
      Bench bench;
      bench.a.Next(Good(false));
      CHECK(bench.Call(kChat, Request("one", false))->client.status == 200);
      bench.a.CloseIdle();
      bench.a.Next(Good(stream));
      const auto asked = bench.Call(kChat, Request("one", stream));
      CHECK(asked->client.status == 200);
      CHECK(bench.a.accepted() == 2);
      const std::vector<Billed> bills = bench.Bills();
      REQUIRE(bills.size() == 3);
      CHECK(bills[1].finished.source() == v1::USAGE_SOURCE_NONE);
      CHECK(bills[1].finished.cost_nanos() == 0);
      CHECK(bills[2].finished.source() == v1::USAGE_SOURCE_PROVIDER);
      CHECK(bills[2].started.attempt_id() != bills[1].started.attempt_id());
    }
  }
}

TEST_CASE("U19 a kept connection that closes on the next request is tried once more") {
  Bench bench;
  bench.a.Next(Good(false));
  CHECK(bench.Call(kChat, Request("one", false))->client.status == 200);
  bench.a.Next({CloseIt()});
  bench.a.Next(Good(false));
  CHECK(bench.Call(kChat, Request("one", false))->client.status == 200);
  CHECK(bench.a.accepted() == 2);
  const std::vector<Billed> bills = bench.Bills();
  REQUIRE(bills.size() == 3);
  CHECK(bills[2].finished.source() == v1::USAGE_SOURCE_PROVIDER);
  CHECK(bills[2].started.attempt_id() != bills[1].started.attempt_id());
}

TEST_CASE("a kept connection that breaks twice is no loop") {
  Bench bench;
  bench.a.Next(Good(false));
  CHECK(bench.Call(kChat, Request("one", false))->client.status == 200);
  bench.a.Next({CloseIt()});
  bench.a.Next({CloseIt()});
  const auto asked = bench.Call(kChat, Request("one", false));
  CHECK(asked->client.status == 502);
  CHECK(bench.a.accepted() == 2);
  const std::vector<Billed> bills = bench.Bills();
  REQUIRE(bills.size() == 3);
  // The provider had the whole request both times: it may have worked on it.
  CHECK(bills[1].finished.source() == v1::USAGE_SOURCE_ESTIMATED);
  CHECK(bills[2].finished.source() == v1::USAGE_SOURCE_ESTIMATED);
}

TEST_CASE("the client's own timeout ends all attempts together") {
  Bench bench;
  bench.a.Next({Hold(), PeerClose()});
  bench.b.Next({Hold(), PeerClose()});
  auto asked = bench.Prepare(kChat, Request("both", false));
  asked->own_headers.emplace_back("x-spillway-timeout-ms", "500");
  bench.Go(*asked);
  REQUIRE(RunUntil(bench.loop, [&] { return bench.a.holding() == 1; }));
  bench.Settle();
  bench.Pass(520);
  bench.Pass(20);
  bench.Finish(*asked);
  CHECK(asked->client.status == 504);
  CHECK(bench.b.accepted() == 0);
}

TEST_CASE("U20 a client that leaves before the answer is billed, and the provider is told") {
  for (const bool stream : {false, true}) {
    DYNAMIC_SECTION((stream ? "stream" : "whole")) {
      Bench bench;
      bench.a.Next({Hold(), PeerClose()});
      const auto asked = bench.Ask(kChat, Request("both", stream));
      REQUIRE(RunUntil(bench.loop, [&] { return bench.a.holding() == 1; }));
      bench.Settle();
      CHECK_FALSE(asked->client.watched());
      bench.Pass(60);
      bench.Pass(20);
      REQUIRE(asked->client.watched());
      asked->client.Leave();
      bench.Finish(*asked);
      bench.a.Resume();
      CHECK(RunUntil(bench.loop, [&] { return bench.a.cuts() == 1; }));
      CHECK(asked->client.status == 0);
      CHECK(asked->client.aborted);
      CHECK(asked->x->record.end == "client_left");
      CHECK(bench.b.accepted() == 0);
      const std::vector<Billed> bills = bench.Bills();
      REQUIRE(bills.size() == 1);
      CHECK(bills[0].finished.end() == v1::END_CLIENT_LEFT);
      CHECK(bills[0].finished.source() == v1::USAGE_SOURCE_ESTIMATED);
      CHECK(bills[0].finished.usage().input_tokens() > 0);
    }
  }
}

TEST_CASE("U20 with policy drain the answer is waited for and billed by the provider's figures") {
  Bench bench(OnDisconnect::kDrain);
  bench.a.Next({Hold(), Send(JsonAnswer(200, kAnswer))});
  const auto asked = bench.Ask(kChat, Request("one", false));
  REQUIRE(RunUntil(bench.loop, [&] { return bench.a.holding() == 1; }));
  bench.Settle();
  bench.Pass(60);
  bench.Pass(20);
  asked->client.Leave();
  bench.Settle();
  bench.a.Resume();
  bench.Finish(*asked);
  CHECK(asked->x->record.end == "client_left");
  const std::vector<Billed> bills = bench.Bills();
  REQUIRE(bills.size() == 1);
  CHECK(bills[0].finished.source() == v1::USAGE_SOURCE_PROVIDER);
  CHECK(bills[0].finished.usage().output_tokens() == 5);
}

}  // namespace
}  // namespace spillway
