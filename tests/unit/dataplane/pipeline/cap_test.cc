// on_overrun: what a call may cost more than it reserved.
#include <catch2/catch_all.hpp>

#include "tests/unit/dataplane/pipeline/bench.h"

namespace spillway {
namespace {

std::string ChatWith(const std::string& more) {
  return R"({"model":"a","messages":[{"role":"user","content":"hi"}])" + more + "}";
}

v1::Budget Capped(Nanos limit) {
  v1::Budget budget = MakeBudget("all", limit);
  budget.set_on_overrun(v1::ON_OVERRUN_CAP);
  return budget;
}

// Of the input of ChatWith(""), at most.
Nanos InputBound() {
  const ModelSpec model{.price = SimplePrice(1'000'000'000, 2'000'000'000)};
  const CallShape shape{
      .model = model, .body_bytes = static_cast<int64_t>(ChatWith("").size()), .messages = 1};
  return Estimator::CostBound(shape, 0);
}

// max_completion_tokens as the provider was sent it; -1: not at all.
int64_t SentCap(const std::string& body) {
  const std::string key = "\"max_completion_tokens\":";
  const size_t at = body.find(key);
  return at == std::string::npos ? -1 : std::stoll(body.substr(at + key.size()));
}

TEST_CASE(
    "cap: the provider is told what the reservation affords, never more than the client said") {
  const Nanos pays_for_100 = InputBound() + 100 * 2'000;
  struct Row {
    const char* name;
    Nanos limit;
    std::string more;
    int64_t sent;  // -1: nothing is spliced
  };
  const Row rows[] = {
      {"the client said nothing", pays_for_100, "", 100},
      {"enough money: the bound that was reserved", 1'000'000'000, "",
       Estimator::kOutputTokensBound},
      {"the client's own is lower", 1'000'000'000, R"(,"max_completion_tokens":50)", 50},
      {"the client's own is higher", pays_for_100, R"(,"max_completion_tokens":5000)", -2},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      Bench bench(Setup{.budgets = {Capped(row.limit)}});
      bench.a.Next({Send(JsonAnswer(200, kAnswer))});
      const auto asked = bench.Call(kChat, ChatWith(row.more));
      REQUIRE(asked->client.status == 200);
      const int64_t sent = SentCap(bench.a.requests().at(0).body);
      const Nanos reserved = bench.Bills().at(0).started.reserved_nanos();
      CHECK(reserved <= row.limit);
      // A longer body leaves less for the output.
      if (row.sent == -2) {
        CHECK(sent > 0);
        CHECK(sent <= 100);
      } else {
        CHECK(sent <= row.sent);
        // Where the money decides, rounding is never in the call's favour.
        CHECK(sent >= row.sent - (row.limit == pays_for_100 ? 1 : 0));
      }
      CHECK(InputBound() + sent * 2'000 <= reserved);
    }
  }
}

TEST_CASE("cap: without money for an answer the call is refused") {
  Bench bench(Setup{.budgets = {Capped(InputBound())}});
  const auto asked = bench.Call(kChat, ChatWith(""));
  CHECK(asked->client.status == 429);
  CHECK(asked->x->record.refusal == "budget_exceeded");
  CHECK(bench.a.accepted() == 0);
  CHECK(bench.Charged() == 0);
}

TEST_CASE("cap: what two calls at once are told, both can pay for") {
  const Nanos limit = 2 * (InputBound() + 200 * 2'000);
  Bench bench(Setup{.budgets = {Capped(limit)}});
  std::vector<std::unique_ptr<Bench::Asked>> calls;
  for (int i = 0; i < 2; ++i) {
    bench.a.Next({PeerClose()});  // never answers
    calls.push_back(bench.Ask(kChat, ChatWith(R"(,"max_tokens":300)")));
  }
  REQUIRE(RunUntil(bench.loop, [&] { return bench.a.requests().size() == 2; }));
  Nanos reserved = 0;
  for (const Billed& bill : bench.Bills()) reserved += bill.started.reserved_nanos();
  CHECK(reserved <= limit);
  bench.Pass(60);
  bench.Pass(20);
  for (const auto& call : calls) call->client.Leave();
  for (const auto& call : calls) bench.Finish(*call);
  CHECK(bench.Charged() == reserved);
}

// 400 bytes of text look like 100 tokens.
TEST_CASE("cap: a stream that broke off is never estimated above what its provider was told") {
  const std::string piece =
      R"(data: {"choices":[{"index":0,"delta":{"content":")" + std::string(400, 'x') + "\"}}]}\n\n";
  const Nanos limit = InputBound() + 60 * 2'000;
  for (const std::string& more : {std::string(), std::string(R"(,"max_tokens":50)")}) {
    DYNAMIC_SECTION("the client says \"" << more << '"') {
      Bench bench(Setup{.budgets = {Capped(limit)}});
      bench.a.Next({Send(StreamHead() + Chunk(piece)), Hold(), CloseIt()});
      const auto asked = bench.Ask(kChat, ChatWith(R"(,"stream":true)" + more));
      REQUIRE(RunUntil(bench.loop, [&] {
        return bench.a.holding() == 1 && asked->client.body.size() == piece.size();
      }));
      const Billed running = bench.Bills().at(0);
      CHECK(running.outgrown.reserved_nanos() <= limit);
      CHECK(running.outgrown.estimate().output_tokens() <= 60);
      bench.a.Resume();
      bench.Finish(*asked);
      const Billed bill = bench.Bills().at(0);
      CHECK(bill.finished.source() == v1::USAGE_SOURCE_ESTIMATED);
      CHECK(bill.finished.cost_nanos() <= bill.started.reserved_nanos());
      CHECK(bench.Charged() <= limit);
    }
  }
}

// Two events of 400 bytes look like 200 tokens.
TEST_CASE("what a provider is told bounds each choice: an estimate may come to that of all") {
  const std::string piece =
      R"(data: {"choices":[{"index":0,"delta":{"content":")" + std::string(400, 'x') + "\"}}]}\n\n";
  struct Row {
    const char* name;
    Nanos limit;
    std::string more;
    int64_t tokens;  // 0: three times what was spliced
  };
  const Row rows[] = {{"the client's own", 1'000'000'000, R"(,"n":3,"max_tokens":50)", 150},
                      {"no more than was made", 1'000'000'000, R"(,"n":3,"max_tokens":90)", 200},
                      {"spliced", InputBound() + 100 * 1'000 + 3 * 40 * 2'000, R"(,"n":3)", 0}};
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      Bench bench(Setup{.budgets = {Capped(row.limit)}});
      bench.a.Next({Send(StreamHead() + Chunk(piece + piece)), CloseIt()});
      const auto asked = bench.Call(kChat, ChatWith(R"(,"stream":true)" + row.more));
      REQUIRE(asked->client.status == 200);
      const int64_t sent = SentCap(bench.a.requests().at(0).body);
      CHECK((sent > 0 && sent < 60) == (row.tokens == 0));
      const Billed bill = bench.Bills().at(0);
      CHECK(bill.finished.source() == v1::USAGE_SOURCE_ESTIMATED);
      CHECK(bill.finished.usage().output_tokens() == (row.tokens == 0 ? 3 * sent : row.tokens));
    }
  }
}

TEST_CASE("finish: nothing is spliced, and what a call costs beyond is charged all the same") {
  Bench bench(Setup{.budgets = {MakeBudget("all", 100'000'000)}});
  const std::string dear =
      R"({"choices":[{"message":{"content":"ok"}}],"usage":{"prompt_tokens":10,"completion_tokens":40000}})";
  bench.a.Next({Send(JsonAnswer(200, dear))});
  const auto asked = bench.Call(kChat, ChatWith(""));
  CHECK(asked->client.status == 200);
  CHECK(SentCap(bench.a.requests().at(0).body) == -1);
  const Billed bill = bench.Bills().at(0);
  CHECK(bill.finished.cost_nanos() == 10 * 1'000 + 40'000 * 2'000);
  CHECK(bill.finished.cost_nanos() > bill.started.reserved_nanos());
  CHECK(bill.finished.hold_nanos() == bill.finished.cost_nanos());
  CHECK(bench.Charged() == bill.finished.cost_nanos());
}

TEST_CASE("finish: a stream that outgrows its reservation reserves more as it runs") {
  const std::string piece =
      R"(data: {"choices":[{"index":0,"delta":{"content":")" + std::string(400, 'x') + "\"}}]}\n\n";
  const std::string end =
      "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
      "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":3000}}\n\n"
      "data: [DONE]\n\n";
  struct Row {
    const char* name;
    Nanos limit;
    bool tops_up;
  };
  const Row rows[] = {{"with money", 1'000'000'000, true}, {"without more", 2'200'000, false}};
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      Bench bench(Setup{.budgets = {MakeBudget("all", row.limit)}});
      std::string pieces;
      for (int i = 0; i < 30; ++i) pieces += Chunk(piece);  // about 3,000 tokens
      bench.a.Next({Send(StreamHead() + pieces), Hold(), Send(Chunk(end) + kLastChunk)});
      const auto asked = bench.Ask(kChat, ChatWith(R"(,"stream":true)"));
      REQUIRE(RunUntil(bench.loop, [&] {
        return bench.a.holding() == 1 && asked->client.body.size() == 30 * piece.size();
      }));
      MetricsText text;
      bench.budgets.Collect(text);
      const std::string scraped = std::move(text).Take();
      const std::string gauge = "\nspillway_budget_reserved_nanos ";
      const Nanos reserved = std::stoll(scraped.substr(scraped.find(gauge) + gauge.size()));
      const Nanos at_first = bench.Bills().at(0).started.reserved_nanos();
      CHECK((reserved > at_first) == row.tops_up);
      if (row.tops_up) CHECK(reserved >= 3'000 * 2'000);
      bench.a.Resume();
      bench.Finish(*asked);
      CHECK(asked->client.ended);  // nothing is cut
      CHECK(bench.Charged() == 10 * 1'000 + 3'000 * 2'000);
    }
  }
}

}  // namespace
}  // namespace spillway
