// Streams from their first event to their end.
#include <algorithm>
#include <catch2/catch_all.hpp>

#include "tests/unit/dataplane/pipeline/bench.h"

namespace spillway {
namespace {

using Steps = std::vector<ScriptedProvider::Step>;

std::string Event(const std::string& content, const std::string& finish = "null") {
  return R"(data: {"choices":[{"index":0,"delta":{"content":")" + content +
         R"("},"finish_reason":)" + finish + "}]}\n\n";
}
const std::string kUsage =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7}}\n\n";
const std::string kDone = "data: [DONE]\n\n";
const std::string kStop = Event("", "\"stop\"");

std::string Request(const std::string& model, const std::string& more = "") {
  return R"({"model":")" + model +
         R"(","messages":[{"role":"user","content":"hi"}],"stream":true)" + more + "}";
}

TEST_CASE("a stream passes as it comes, without the usage event that nobody asked for") {
  Bench bench;
  bench.a.Next({Send(StreamHead("x-request-id: up-2\r\n") + Chunk(Event("one"))), Hold(),
                Send(Chunk(Event("two"))), Hold(),
                Send(Chunk(kStop + kUsage + kDone) + kLastChunk)});
  const auto asked = bench.Ask(kChat, Request("one"));
  const FakeClient& client = asked->client;
  REQUIRE(RunUntil(bench.loop, [&] { return client.body == Event("one"); }));
  CHECK(client.released);
  CHECK(client.status == 200);
  CHECK(client.content_type == "text/event-stream");
  CHECK(client.Header("x-request-id") == "req-1");
  CHECK(client.Header("x-spillway-upstream-request-id") == "up-2");
  CHECK(client.Header("x-spillway-model") == "a");
  CHECK(client.Header("x-spillway-cost-usd").empty());
  REQUIRE(RunUntil(bench.loop, [&] { return bench.a.holding() == 1; }));
  bench.a.Resume();
  REQUIRE(RunUntil(bench.loop, [&] { return client.body == Event("one") + Event("two"); }));
  REQUIRE(RunUntil(bench.loop, [&] { return bench.a.holding() == 1; }));
  bench.a.Resume();
  bench.Finish(*asked);
  CHECK(client.body == Event("one") + Event("two") + kStop + kDone);
  CHECK(client.ended);
  CHECK(bench.a.requests()[0].body.find("\"include_usage\":true") != std::string::npos);
  CHECK(bench.pool.idle_count() == 1);

  const std::vector<Billed> bills = bench.Bills();
  REQUIRE(bills.size() == 1);
  CHECK(bills[0].started.request_id() == "req-1");
  CHECK(bills[0].finished.stream());
  CHECK(bills[0].finished.end() == v1::END_FINISHED);
  CHECK(bills[0].finished.source() == v1::USAGE_SOURCE_PROVIDER);
  CHECK(bills[0].finished.usage().output_tokens() == 7);
  CHECK(bills[0].finished.winner());
  CHECK(asked->x->record.end == "finished");
  CHECK(asked->x->record.stream);
}

TEST_CASE("a client that asked for usage gets it") {
  Bench bench;
  bench.a.Next({Send(StreamHead() + Chunk(Event("x") + kStop + kUsage + kDone) + kLastChunk)});
  const auto asked =
      bench.Call(kChat, Request("one", R"(,"stream_options":{"include_usage":true})"));
  CHECK(asked->client.body == Event("x") + kStop + kUsage + kDone);
}

TEST_CASE("a stream in single bytes arrives whole") {
  Bench bench;
  std::string chunks;
  for (const std::string& event : {Event("one"), kStop, kUsage, kDone})
    for (const char c : event) chunks += Chunk(std::string(1, c));
  Steps steps = {Send(StreamHead())};
  for (size_t at = 0; at < chunks.size(); at += 3) steps.push_back(Send(chunks.substr(at, 3)));
  steps.push_back(Send(kLastChunk));
  bench.a.Next(steps);
  const auto asked = bench.Call(kChat, Request("one"));
  CHECK(asked->client.body == Event("one") + kStop + kDone);
  CHECK(asked->client.ended);
}

// What an SDK parses is JSON: half an event would be none.
bool OnlyWholeEvents(const std::string& body) {
  for (size_t at = body.find("data: "); at != std::string::npos; at = body.find("data: ", at + 1)) {
    const std::string data = body.substr(at + 6, body.find("\n\n", at) - at - 6);
    if (data != "[DONE]" && !data.ends_with('}')) return false;
  }
  return true;
}

struct StreamRow {
  const char* name;
  Steps steps;             // behind a first event
  int64_t pass_ms;         // while the provider holds
  bool proper_end;         // the client sees a finished answer
  const char* error_code;  // in the error event; "": none from us
  v1::EndReason end;
  v1::UsageSource source;
  int64_t output;
};

TEST_CASE("a provider that is faster than the loop leaves the loop to others in between") {
  Bench bench;
  const std::string event = Event(std::string(8'000, 'x'));
  std::string events;
  while (events.size() < (size_t{4} << 20)) events += event;
  bench.a.Next({Send(StreamHead() + Chunk(events) + Chunk(kStop + kUsage + kDone) + kLastChunk)});
  const auto asked = bench.Ask(kChat, Request("one"));
  size_t before = 0;
  size_t most = 0;  // that one handler of the loop passed on
  REQUIRE(RunUntil(bench.loop, [&] {
    most = std::max(most, asked->client.body.size() - before);
    before = asked->client.body.size();
    return asked->client.ended;
  }));
  bench.Finish(*asked);
  CHECK(asked->client.body == events + kStop + kDone);
  CHECK(most <= size_t{5} * 16 * 1024);
}

TEST_CASE("however a stream ends, it is billed, and never looks finished when it is not") {
  const std::string in_band =
      "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n";
  const StreamRow rows[] = {
      {"U8 stalled",
       {Hold(), PeerClose()},
       3'100,
       false,
       "upstream_timeout",
       v1::END_UPSTREAM_STALLED,
       v1::USAGE_SOURCE_ESTIMATED,
       1},
      {"U8 stalled behind the usage",
       {Send(Chunk(kUsage)), Hold(), PeerClose()},
       3'100,
       false,
       "upstream_timeout",
       v1::END_UPSTREAM_STALLED,
       v1::USAGE_SOURCE_PROVIDER,
       7},
      {"closed in the middle, behind a usage that was early",
       {Send(Chunk(kUsage + Event("two"))), CloseIt()},
       0,
       false,
       "upstream_truncated",
       v1::END_UPSTREAM_CUT,
       v1::USAGE_SOURCE_ESTIMATED,
       7},
      {"closed in the middle, long behind a usage that was early",
       {Send(Chunk(kUsage + Event(std::string(400, 'x')))), CloseIt()},
       0,
       false,
       "upstream_truncated",
       v1::END_UPSTREAM_CUT,
       v1::USAGE_SOURCE_ESTIMATED,
       101},
      {"U9 a proper end without a finish",
       {Send(kLastChunk)},
       0,
       false,
       "upstream_truncated",
       v1::END_UPSTREAM_CUT,
       v1::USAGE_SOURCE_ESTIMATED,
       1},
      {"closed in the middle",
       {Send(Chunk(Event("two"))), CloseIt()},
       0,
       false,
       "upstream_truncated",
       v1::END_UPSTREAM_CUT,
       v1::USAGE_SOURCE_ESTIMATED,
       2},
      {"U10 cut inside an event",
       {Send(Chunk(R"(data: {"choices":[{"del)")), CloseIt()},
       0,
       false,
       "upstream_truncated",
       v1::END_UPSTREAM_CUT,
       v1::USAGE_SOURCE_ESTIMATED,
       1},
      {"U10 garbage in the middle",
       {Send(Chunk("data: {broken\n\n") + kLastChunk)},
       0,
       false,
       "upstream_invalid",
       v1::END_UPSTREAM_ERROR,
       v1::USAGE_SOURCE_ESTIMATED,
       1},
      {"U10 wrong UTF-8",
       {Send(Chunk("data: {\"a\":\"\xff\xfe\"}\n\n") + kLastChunk)},
       0,
       false,
       "upstream_invalid",
       v1::END_UPSTREAM_ERROR,
       v1::USAGE_SOURCE_ESTIMATED,
       1},
      {"U11 broken chunks",
       {Send("zz\r\n")},
       0,
       false,
       "upstream_truncated",
       v1::END_UPSTREAM_CUT,
       v1::USAGE_SOURCE_ESTIMATED,
       1},
      {"U12 an error in band",
       {Send(Chunk(in_band) + kLastChunk)},
       0,
       true,
       "",
       v1::END_UPSTREAM_ERROR,
       v1::USAGE_SOURCE_ESTIMATED,
       1},
      {"U12 an error in band, then closed",
       {Send(Chunk(in_band)), CloseIt()},
       0,
       true,
       "",
       v1::END_UPSTREAM_ERROR,
       v1::USAGE_SOURCE_ESTIMATED,
       1},
      {"a finish reason, no [DONE], a proper end",
       {Send(Chunk(kStop) + kLastChunk)},
       0,
       true,
       "",
       v1::END_FINISHED,
       v1::USAGE_SOURCE_ESTIMATED,
       1},
      {"a finish reason, then closed",
       {Send(Chunk(kStop)), CloseIt()},
       0,
       false,
       "upstream_truncated",
       v1::END_UPSTREAM_CUT,
       v1::USAGE_SOURCE_ESTIMATED,
       1},
      {"[DONE], then closed",
       {Send(Chunk(kStop + kUsage + kDone)), CloseIt()},
       0,
       true,
       "",
       v1::END_FINISHED,
       v1::USAGE_SOURCE_PROVIDER,
       7},
      {"[DONE], and no end of the body",
       {Send(Chunk(kStop + kUsage + kDone)), Hold(), PeerClose()},
       300,
       true,
       "",
       v1::END_FINISHED,
       v1::USAGE_SOURCE_PROVIDER,
       7},
      {"U18 one endless event",
       {Send(Chunk(R"(data: {"a":")" + std::string(2'000'000, 'x')))},
       0,
       false,
       "upstream_invalid",
       v1::END_UPSTREAM_ERROR,
       v1::USAGE_SOURCE_ESTIMATED,
       1},
  };
  for (const StreamRow& row : rows) {
    DYNAMIC_SECTION(row.name) {
      Bench bench;
      Steps steps = {Send(StreamHead() + Chunk(Event("one"))), Hold()};
      steps.insert(steps.end(), row.steps.begin(), row.steps.end());
      bench.a.Next(steps);
      const auto asked = bench.Ask(kChat, Request("both"));
      REQUIRE(RunUntil(bench.loop,
                       [&] { return bench.a.holding() == 1 && !asked->client.body.empty(); }));
      bench.a.Resume();
      if (row.pass_ms > 0) {
        REQUIRE(RunUntil(bench.loop, [&] { return bench.a.holds() == 2; }));
        bench.Settle();
        bench.Pass(row.pass_ms);
        bench.Pass(20);
        bench.a.Resume();
      }
      bench.Finish(*asked);
      const FakeClient& client = asked->client;
      CHECK(client.status == 200);
      CHECK(client.body.starts_with(Event("one")));
      CHECK(client.ended == row.proper_end);
      CHECK(client.aborted != row.proper_end);
      const std::string code = row.error_code;
      CHECK((client.body.find("\"code\":\"" + code + "\"") != std::string::npos) == !code.empty());
      if (!row.proper_end) CHECK(client.body.find("[DONE]") == std::string::npos);
      CHECK(OnlyWholeEvents(client.body));
      CHECK(asked->x->record.refusal == code);
      CHECK(bench.b.accepted() == 0);
      const std::vector<Billed> bills = bench.Bills();
      REQUIRE(bills.size() == 1);
      CHECK(bills[0].finished.end() == row.end);
      CHECK(bills[0].finished.source() == row.source);
      CHECK(bills[0].finished.usage().output_tokens() == row.output);
      CHECK(bills[0].finished.usage().input_tokens() > 0);
    }
  }
}

TEST_CASE("without [DONE] a stream is at its end when as many choices are as were asked for") {
  const auto stop = [](int index) {
    return R"(data: {"choices":[{"index":)" + std::to_string(index) +
           R"(,"delta":{},"finish_reason":"stop"}]})" + "\n\n";
  };
  struct Row {
    const char* name;
    std::string more;
    std::string events;
    bool finished;
  };
  const Row rows[] = {
      {"one of one", "", stop(0), true},
      {"one of two", R"(,"n":2)", stop(0), false},
      {"two of two", R"(,"n":2)", stop(0) + stop(1), true},
      {"two of two in one event", R"(,"n":2)",
       R"(data: {"choices":[{"index":0,"finish_reason":"stop"},{"index":1,"finish_reason":"length"}]})"
       "\n\n",
       true},
      {"one of two, but [DONE]", R"(,"n":2)", stop(0) + kDone, true},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      Bench bench;
      bench.a.Next({Send(StreamHead() + Chunk(Event("one") + row.events) + kLastChunk)});
      const auto asked = bench.Call(kChat, Request("one", row.more));
      CHECK(asked->client.ended == row.finished);
      CHECK(bench.Bills().at(0).finished.end() ==
            (row.finished ? v1::END_FINISHED : v1::END_UPSTREAM_CUT));
    }
  }
}

TEST_CASE("U20 a client that leaves a stream is noticed by the write or the watch, and billed") {
  for (const bool by_write : {true, false}) {
    DYNAMIC_SECTION((by_write ? "write" : "watch")) {
      Bench bench;
      bench.a.Next({Send(StreamHead() + Chunk(Event("one"))), Hold(), Send(Chunk(Event("two"))),
                    PeerClose()});
      const auto asked = bench.Ask(kChat, Request("one"));
      REQUIRE(RunUntil(bench.loop, [&] {
        return asked->client.body == Event("one") && bench.a.holding() == 1;
      }));
      bench.Settle();
      if (by_write) {
        asked->client.left = true;
        bench.a.Resume();
      } else {
        bench.Pass(60);
        bench.Pass(20);
        asked->client.Leave();
      }
      bench.Finish(*asked);
      bench.a.Resume();
      CHECK(RunUntil(bench.loop, [&] { return bench.a.cuts() == 1; }));
      CHECK(asked->client.aborted);
      CHECK(asked->x->record.end == "client_left");
      const std::vector<Billed> bills = bench.Bills();
      REQUIRE(bills.size() == 1);
      CHECK(bills[0].finished.end() == v1::END_CLIENT_LEFT);
      CHECK(bills[0].finished.source() == v1::USAGE_SOURCE_ESTIMATED);
      CHECK(bills[0].finished.usage().output_tokens() == (by_write ? 2 : 1));
    }
  }
}

TEST_CASE("U20 with policy drain a stream is read to its end, within limits") {
  struct Limit {
    const char* name;
    PipelineLimits limits;
    v1::UsageSource source;
    bool by_time;
  };
  const Limit rows[] = {
      {"to its end", {}, v1::USAGE_SOURCE_PROVIDER, false},
      {"up to a number of bytes", {.drain_bytes_max = 10}, v1::USAGE_SOURCE_ESTIMATED, false},
      {"up to a time", {.drain_ms_max = 500}, v1::USAGE_SOURCE_ESTIMATED, true}};
  for (const Limit& row : rows) {
    DYNAMIC_SECTION(row.name) {
      Bench bench(OnDisconnect::kDrain, row.limits);
      Steps steps = {Send(StreamHead() + Chunk(Event("one"))), Hold(), Send(Chunk(Event("two")))};
      if (row.source == v1::USAGE_SOURCE_PROVIDER) {
        for (const std::string& event : {kStop, kUsage, kDone}) steps.push_back(Send(Chunk(event)));
        steps.push_back(Send(kLastChunk));
      } else {
        steps.push_back(PeerClose());
      }
      bench.a.Next(steps);
      const auto asked = bench.Ask(kChat, Request("one"));
      REQUIRE(RunUntil(bench.loop, [&] {
        return asked->client.body == Event("one") && bench.a.holding() == 1;
      }));
      bench.Settle();
      bench.Pass(60);
      bench.Pass(20);
      asked->client.Leave();
      if (row.by_time) {
        bench.Pass(520);
        bench.Pass(20);
      } else {
        bench.a.Resume();
      }
      bench.Finish(*asked);
      CHECK(asked->client.body == Event("one"));
      const std::vector<Billed> bills = bench.Bills();
      REQUIRE(bills.size() == 1);
      CHECK(bills[0].finished.end() == v1::END_CLIENT_LEFT);
      CHECK(bills[0].finished.source() == row.source);
    }
  }
}

TEST_CASE("P12 a client that leaves at any write is always billed") {
  for (int write = 1; write <= 6; ++write) {
    DYNAMIC_SECTION("write " << write) {
      Bench bench;
      Steps steps = {Send(StreamHead())};
      for (const std::string& event : {Event("a"), Event("b"), Event("c"), kStop, kUsage, kDone}) {
        steps.push_back(Send(Chunk(event)));
        steps.push_back(Hold());
      }
      steps.push_back(Send(kLastChunk));
      bench.a.Next(steps);
      auto asked = bench.Prepare(kChat, Request("one"));
      asked->client.leave_at_write = write;
      bench.Go(*asked);
      REQUIRE(RunUntil(bench.loop, [&] {
        bench.a.Resume();
        return asked->running->done();
      }));
      const std::vector<Billed> bills = bench.Bills();
      REQUIRE(bills.size() == 1);
      CHECK(bills[0].finished.end() == (write <= 5 ? v1::END_CLIENT_LEFT : v1::END_FINISHED));
      CHECK(bills[0].finished.usage().input_tokens() > 0);
      CHECK(bills[0].finished.cost_nanos() > 0);
    }
  }
}

TEST_CASE("a provider that answers a stream with a whole answer is passed on as it is") {
  Bench bench;
  const std::string answer = R"({"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}})";
  bench.a.Next({Send(JsonAnswer(200, answer))});
  const auto asked = bench.Call(kChat, Request("one"));
  CHECK(asked->client.status == 200);
  CHECK(asked->client.body == answer);
  CHECK(bench.Bills()[0].finished.source() == v1::USAGE_SOURCE_PROVIDER);
}

}  // namespace
}  // namespace spillway
