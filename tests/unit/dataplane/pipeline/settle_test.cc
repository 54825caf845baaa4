// However a request ends: what it reserved comes back, what it cost is charged once, and the
// records count it as one request.
#include <catch2/catch_all.hpp>

#include "tests/unit/dataplane/pipeline/bench.h"

namespace spillway {
namespace {

using Steps = std::vector<ScriptedProvider::Step>;

const std::string kEvent = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"ok\"}}]}\n\n";
const std::string kEnd =
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5}}\n\n"
    "data: [DONE]\n\n";

std::string ChatOf(const std::string& model, bool stream) {
  return R"({"model":")" + model +
         R"(","messages":[{"role":"user","content":"hi"}],"max_tokens":8)" +
         (stream ? R"(,"stream":true)" : "") + "}";
}

Setup WithBudget(Nanos limit = 1'000'000'000) { return {.budgets = {MakeBudget("all", limit)}}; }

Nanos HoldsOf(const std::vector<Billed>& bills) {
  Nanos sum = 0;
  for (const Billed& bill : bills) sum += bill.finished.hold_nanos();
  return sum;
}

int WinnersOf(const std::vector<Billed>& bills) {
  int winners = 0;
  for (const Billed& bill : bills) winners += bill.finished.winner() ? 1 : 0;
  return winners;
}

enum class Client : uint8_t { kStays, kLeavesEarly, kLeavesStream };

struct Exit {
  const char* name;
  std::string model;
  Steps a;
  Steps b;
  bool stream = false;
  Client client = Client::kStays;
  int64_t pass_ms = 0;  // while the first provider holds
};

std::vector<Exit> Exits() {
  const std::string head = StreamHead();
  return {
      {"answered", "a", {Send(JsonAnswer(200, kAnswer))}, {}},
      {"streamed", "a", {Send(head + Chunk(kEvent + kEnd) + kLastChunk)}, {}, true},
      {"no usage", "a", {Send(JsonAnswer(200, R"({"choices":[]})"))}, {}},
      {"explicit zero",
       "a",
       {Send(
           JsonAnswer(200, R"({"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0}})"))},
       {}},
      {"refused by the provider", "a", {Send(JsonAnswer(400, "{}"))}, {}},
      {"rate limited by the provider", "a", {Send(JsonAnswer(429, "{}"))}, {}},
      {"server error", "a", {Send(JsonAnswer(500, "{}"))}, {}},
      {"bad credential", "a", {Send(JsonAnswer(401, "{}"))}, {}},
      {"error in a 200", "a", {Send(JsonAnswer(200, R"({"error":{"message":"x"}})"))}, {}},
      {"no JSON", "a", {Send(JsonAnswer(200, "<html>"))}, {}},
      {"closed before an answer", "a", {CloseIt()}, {}},
      {"reset before an answer", "a", {ResetIt()}, {}},
      {"cut body", "a", {Send("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), CloseIt()}, {}},
      {"no answer in time", "a", {Hold(), PeerClose()}, {}, false, Client::kStays, 60'100},
      {"no event in time", "a", {Send(head), Hold(), PeerClose()}, {}, true, Client::kStays, 2'100},
      {"cut stream", "a", {Send(head + Chunk(kEvent)), CloseIt()}, {}, true},
      {"garbage in a stream", "a", {Send(head + Chunk(kEvent + "data: {x\n\n"))}, {}, true},
      {"error in a stream",
       "a",
       {Send(head + Chunk(kEvent + "data: {\"error\":{\"message\":\"x\"}}\n\n") + kLastChunk)},
       {},
       true},
      {"fallback", "both", {Send(JsonAnswer(503, "{}"))}, {Send(JsonAnswer(200, kAnswer))}},
      {"both fail", "both", {Send(JsonAnswer(503, "{}"))}, {CloseIt()}},
      {"client leaves before the answer",
       "a",
       {Hold(), PeerClose()},
       {},
       false,
       Client::kLeavesEarly},
      {"client leaves before the answer of a fallback",
       "both",
       {Hold(), PeerClose()},
       {},
       false,
       Client::kLeavesEarly},
      {"client leaves a stream",
       "a",
       {Send(head + Chunk(kEvent)), Hold(), PeerClose()},
       {},
       true,
       Client::kLeavesStream},
  };
}

void Play(Bench& bench, Bench::Asked& asked, const Exit& exit) {
  if (exit.pass_ms > 0 || exit.client != Client::kStays) {
    REQUIRE(RunUntil(bench.loop, [&] { return bench.a.holding() == 1; }));
    bench.Settle();
  }
  if (exit.client != Client::kStays) {
    bench.Pass(60);
    bench.Pass(20);
    asked.client.Leave();
  }
  if (exit.pass_ms > 0) {
    bench.Pass(exit.pass_ms);
    bench.Pass(20);
  }
  bench.a.Resume();
  bench.Finish(asked);
}

TEST_CASE("no reservation leaks on any path, and budgets are charged what the records say") {
  for (const Exit& exit : Exits()) {
    DYNAMIC_SECTION(exit.name) {
      Bench bench(WithBudget());
      bench.a.Next(exit.a);
      if (!exit.b.empty()) bench.b.Next(exit.b);
      const auto asked = bench.Ask(kChat, ChatOf(exit.model, exit.stream));
      Play(bench, *asked, exit);
      const std::vector<Billed> bills = bench.Bills();
      REQUIRE_FALSE(bills.empty());
      REQUIRE(bench.Charged().has_value());
      CHECK(bench.Charged() == HoldsOf(bills));
      CHECK(WinnersOf(bills) == 1);
      CHECK(bills.back().finished.winner());
      Nanos cost = 0;
      for (const Billed& bill : bills) {
        const v1::Finished& finished = bill.finished;
        CHECK(finished.end() != v1::END_REASON_UNSPECIFIED);
        CHECK(finished.accounts_size() == 1);
        cost += finished.cost_nanos();
        if (finished.source() == v1::USAGE_SOURCE_ESTIMATED) {
          CHECK(finished.hold_nanos() >= bill.started.reserved_nanos());
          CHECK(finished.hold_nanos() >= finished.cost_nanos());
          CHECK(finished.cost_nanos() > 0);
        } else {
          CHECK(finished.hold_nanos() == finished.cost_nanos());
        }
        if (finished.source() == v1::USAGE_SOURCE_NONE) CHECK(finished.cost_nanos() == 0);
      }
      CHECK(asked->x->record.cost == cost);
    }
  }
}

TEST_CASE("a process that ends in the middle of a call leaves a bill and no reservation") {
  for (const bool stream : {false, true}) {
    DYNAMIC_SECTION((stream ? "stream" : "whole")) {
      Bench bench(WithBudget());
      bench.a.Next({Send(stream ? StreamHead() + Chunk(kEvent) : ""), Hold()});
      const auto asked = bench.Ask(kChat, ChatOf("a", stream));
      REQUIRE(RunUntil(bench.loop, [&] { return bench.a.holding() == 1; }));
      bench.Settle();
      CHECK_FALSE(bench.Charged().has_value());
      bench.loop.io.DropPending();
      const std::vector<Billed> bills = bench.Bills();
      REQUIRE(bills.size() == 1);
      CHECK(bills[0].finished.end() == v1::END_UPSTREAM_CUT);
      CHECK(bills[0].finished.source() == v1::USAGE_SOURCE_ESTIMATED);
      CHECK(bills[0].finished.winner());
      CHECK(bench.Charged() == HoldsOf(bills));
    }
  }
}

TEST_CASE("failed requests are not billed") {
  struct Row {
    const char* name;
    Steps steps;
  };
  const Row rows[] = {{"400", {Send(JsonAnswer(400, "{}"))}},
                      {"401", {Send(JsonAnswer(401, "{}"))}},
                      {"429", {Send(JsonAnswer(429, "{}"))}},
                      {"500", {Send(JsonAnswer(500, "{}"))}},
                      {"529", {Send(JsonAnswer(529, "{}"))}},
                      {"error in a 200", {Send(JsonAnswer(200, R"({"error":{}})"))}}};
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      Bench bench(WithBudget());
      bench.a.Next(row.steps);
      const auto asked = bench.Call(kChat, ChatOf("a", false));
      CHECK(asked->client.status >= 400);
      CHECK(asked->x->record.cost == 0);
      CHECK(bench.Bills().at(0).finished.source() == v1::USAGE_SOURCE_NONE);
      CHECK(bench.Charged() == 0);
    }
  }
}

TEST_CASE("without usage an answer of several choices is billed for all of them") {
  const std::string text = std::string(1'600, 'x');  // looks like 400 tokens
  struct Row {
    const char* name;
    std::string path;
    std::string body;
    std::string choice;
    int64_t choices;
    int64_t tokens;
  };
  const Row rows[] = {
      {"a chat", kChat,
       R"({"model":"a","messages":[{"role":"user","content":"hi"}],"n":8,"max_tokens":500})",
       R"({"message":{"content":")" + text + R"("}})", 8, 3'200},
      {"prompts times n", "/v1/completions",
       R"({"model":"a","prompt":["one","two"],"n":2,"max_tokens":500})",
       R"({"text":")" + text + R"("})", 4, 1'600},
      {"no more than all may have", "/v1/completions",
       R"({"model":"a","prompt":["one","two"],"n":2,"max_tokens":300})",
       R"({"text":")" + text + R"("})", 4, 1'200},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      Bench bench(WithBudget());
      std::string choices = row.choice;
      for (int64_t i = 1; i < row.choices; ++i) choices += "," + row.choice;
      bench.a.Next({Send(JsonAnswer(200, R"({"choices":[)" + choices + "]}"))});
      REQUIRE(bench.Call(row.path, row.body)->client.status == 200);
      const Billed bill = bench.Bills().at(0);
      CHECK(bill.finished.source() == v1::USAGE_SOURCE_ESTIMATED);
      CHECK(bill.finished.usage().output_tokens() == row.tokens);
    }
  }
}

TEST_CASE("disconnect is billed: what was relayed at least, and held at what was reserved") {
  for (int events = 1; events <= 5; ++events) {
    DYNAMIC_SECTION(events << " events") {
      Bench bench(WithBudget());
      std::string relayed;
      for (int i = 0; i < events; ++i) relayed += Chunk(kEvent);
      bench.a.Next({Send(StreamHead() + relayed), Hold(), PeerClose()});
      const auto asked = bench.Ask(kChat, ChatOf("a", true));
      REQUIRE(RunUntil(bench.loop, [&] {
        return bench.a.holding() == 1 &&
               asked->client.body.size() == static_cast<size_t>(events) * kEvent.size();
      }));
      bench.Settle();
      bench.Pass(60);
      bench.Pass(20);
      asked->client.Leave();
      bench.a.Resume();
      bench.Finish(*asked);
      const Billed bill = bench.Bills().at(0);
      CHECK(bill.finished.end() == v1::END_CLIENT_LEFT);
      CHECK(bill.finished.source() == v1::USAGE_SOURCE_ESTIMATED);
      CHECK(bill.finished.usage().output_tokens() >= events);
      CHECK(bill.finished.usage().input_tokens() > 0);
      CHECK(bill.finished.hold_nanos() >= bill.started.reserved_nanos());
      CHECK(bench.Charged() == bill.finished.hold_nanos());
    }
  }
}

TEST_CASE("with drain a disconnect is billed by the provider's own figures, to the nano-dollar") {
  Bench bench(OnDisconnect::kDrain, {}, WithBudget());
  bench.a.Next({Send(StreamHead() + Chunk(kEvent)), Hold(), Send(Chunk(kEnd) + kLastChunk)});
  const auto asked = bench.Ask(kChat, ChatOf("a", true));
  REQUIRE(RunUntil(bench.loop, [&] { return bench.a.holding() == 1; }));
  bench.Settle();
  bench.Pass(60);
  bench.Pass(20);
  asked->client.Leave();
  bench.a.Resume();
  bench.Finish(*asked);
  const Billed bill = bench.Bills().at(0);
  CHECK(bill.finished.end() == v1::END_CLIENT_LEFT);
  CHECK(bill.finished.source() == v1::USAGE_SOURCE_PROVIDER);
  CHECK(bill.finished.cost_nanos() == 10 * 1'000 + 5 * 2'000);
  CHECK(bench.Charged() == bill.finished.cost_nanos());
}

TEST_CASE("a stream that outgrows its estimate is journalled before its client gets more") {
  Bench bench(WithBudget());
  std::string events;
  for (int i = 0; i < 12; ++i) events += kEvent;
  bench.a.Next({Send(StreamHead() + Chunk(events)), Hold(), Send(Chunk(kEnd) + kLastChunk)});
  const auto asked = bench.Ask(kChat, ChatOf("a", true));
  REQUIRE(RunUntil(bench.loop, [&] { return asked->client.body.size() >= events.size(); }));
  const std::vector<Billed> running = bench.Bills();
  REQUIRE(running.size() == 1);
  CHECK(running[0].started.estimate().output_tokens() <= 8);
  CHECK(running[0].outgrown.estimate().output_tokens() >= 12);
  CHECK(running[0].outgrown.reserved_nanos() > running[0].started.reserved_nanos());
  CHECK(running[0].outgrown.accounts_size() == 1);
  bench.a.Resume();
  bench.Finish(*asked);
  CHECK(bench.Bills()[0].finished.source() == v1::USAGE_SOURCE_PROVIDER);
}

TEST_CASE("estimates learn from what providers report") {
  Bench bench;
  const std::string answer =
      R"({"choices":[{"message":{"content":"ok"}}],"usage":{"prompt_tokens":300,"completion_tokens":5}})";
  for (int i = 0; i < 50; ++i) {
    bench.a.Next({Send(JsonAnswer(200, answer))});
    REQUIRE(bench.Call(kChat, ChatOf("a", false))->client.status == 200);
  }
  const std::vector<Billed> bills = bench.Bills();
  const int64_t first = bills.front().started.estimate().input_tokens();
  const int64_t last = bills.back().started.estimate().input_tokens();
  CHECK(first < 100);
  CHECK(last > 200);
  CHECK(last < 400);
}

TEST_CASE("attempts that failed teach nothing") {
  Bench bench;
  for (int i = 0; i < 20; ++i) {
    bench.a.Next({Send(
        JsonAnswer(400, R"({"error":{},"usage":{"prompt_tokens":9000,"completion_tokens":1}})"))});
    CHECK(bench.Call(kChat, ChatOf("a", false))->client.status == 400);
  }
  const std::vector<Billed> bills = bench.Bills();
  CHECK(bills.front().started.estimate().input_tokens() ==
        bills.back().started.estimate().input_tokens());
}

TEST_CASE("tags go where the attribution goes") {
  Bench bench;
  bench.a.Next({Send(JsonAnswer(200, kAnswer))});
  const auto asked = bench.Prepare(
      kChat,
      R"({"model":"a","messages":[{"role":"user","content":"hi"}],"metadata":{"env":"prod","user":"u"}})");
  asked->own_headers.emplace_back("x-spillway-metadata", R"({"cost_center":"42"})");
  bench.Go(*asked);
  bench.Finish(*asked);
  const v1::Attribution attribution = bench.Bills().at(0).finished.attribution();
  REQUIRE(attribution.tags_size() == 2);
  CHECK(attribution.tags(0).name() == "cost_center");
  CHECK(attribution.tags(0).value() == "42");
  CHECK(attribution.tags(1).name() == "env");
  CHECK(attribution.user() == "u");
}

}  // namespace
}  // namespace spillway
