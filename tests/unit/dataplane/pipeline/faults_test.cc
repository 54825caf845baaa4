// The upstream rows of the fault catalogue that concern whole answers, and those of streams up to
// their first event: what the client sees, what is tried next, what is billed.
#include <catch2/catch_all.hpp>

#include "tests/unit/dataplane/pipeline/fault_answers.h"

namespace spillway {
namespace {

struct FaultRow {
  static constexpr int64_t kNotCut = 0;
  static constexpr int64_t kUnknown = -1;

  const char* name;
  Steps first;
  bool streams;            // also true of streams
  int64_t pass_ms;         // time that passes while the first provider holds
  bool tried_next;         // a second target is tried
  int alone_status;        // what the client sees when there is none
  const char* alone_code;  // the refusal's name
  v1::EndReason end;       // of the failed attempt
  v1::UsageSource source;
  int64_t cut_of = kNotCut;  // how long the whole answer that was cut would have been
};

const std::vector<FaultRow>& Rows() {
  static const std::vector<FaultRow> rows = {
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
       v1::USAGE_SOURCE_ESTIMATED,
       99},
      {"U11 bad chunks",
       {Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"), CloseIt()},
       false,
       0,
       true,
       502,
       "upstream_truncated",
       v1::END_UPSTREAM_CUT,
       v1::USAGE_SOURCE_ESTIMATED,
       FaultRow::kUnknown},
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
       v1::USAGE_SOURCE_ESTIMATED,
       99},
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

const std::vector<FaultRow>& StreamRows() {
  static const std::vector<FaultRow> rows = {
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

void PlayFault(Bench& bench, Bench::Asked& asked, const FaultRow& row) {
  if (row.pass_ms > 0) {
    REQUIRE(RunUntil(bench.loop, [&] { return bench.a.holding() == 1; }));
    bench.Settle();
    bench.Pass(row.pass_ms);
    bench.Pass(20);
    bench.a.Resume();
  }
  bench.Finish(asked);
}

// A provider begins to send a whole answer when all of it is made.
int64_t OutputOf(const FaultRow& row, const Billed& bill) {
  if (row.cut_of == FaultRow::kNotCut) return 0;
  const int64_t likely = bill.started.estimate().output_tokens();
  CHECK(likely > row.cut_of);
  return row.cut_of == FaultRow::kUnknown ? likely : (row.cut_of + 3) / 4;
}

// `last`: nothing was tried after it, so that the request is counted with it.
void CheckBill(const Billed& bill, const FaultRow& row, bool last) {
  CHECK(bill.finished.end() == row.end);
  CHECK(bill.finished.source() == row.source);
  CHECK(bill.finished.winner() == last);
  if (row.source == v1::USAGE_SOURCE_ESTIMATED) {
    CHECK(bill.finished.usage().input_tokens() == bill.started.estimate().input_tokens());
    CHECK(bill.finished.usage().output_tokens() == OutputOf(row, bill));
  }
  if (row.source == v1::USAGE_SOURCE_NONE) CHECK(bill.finished.cost_nanos() == 0);
}

void CheckAlone(const FaultRow& row, bool stream) {
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
  CheckBill(bills[0], row, /*last=*/true);
}

void CheckWithFallback(const FaultRow& row, bool stream) {
  Bench bench;
  bench.a.Next(row.first);
  bench.b.Next(Good(stream));
  const auto asked = bench.Ask(kChat, Request("both", stream));
  PlayFault(bench, *asked, row);
  CHECK(bench.b.accepted() == (row.tried_next ? 1 : 0));
  const std::vector<Billed> bills = bench.Bills();
  REQUIRE(bills.size() == (row.tried_next ? 2 : 1));
  CheckBill(bills[0], row, /*last=*/!row.tried_next);
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

using CheckFault = void (*)(const FaultRow& row, bool stream);

void CheckEach(CheckFault check) {
  for (const FaultRow& row : Rows()) {
    DYNAMIC_SECTION(row.name) { check(row, false); }
    if (row.streams) DYNAMIC_SECTION(row.name << ", of a stream") {
        check(row, true);
      }
  }
  for (const FaultRow& row : StreamRows()) DYNAMIC_SECTION(row.name) {
      check(row, true);
    }
}

TEST_CASE("faults before an answer: alone, the client gets a typed error") {
  CheckEach(CheckAlone);
}

TEST_CASE("faults before an answer: with a fallback, the client sees nothing of them") {
  CheckEach(CheckWithFallback);
}

}  // namespace
}  // namespace spillway
