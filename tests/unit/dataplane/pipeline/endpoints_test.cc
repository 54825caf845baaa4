// Money holds on every endpoint alike: there is no way past budgets and rate limits.
#include <catch2/catch_all.hpp>

#include "tests/unit/dataplane/pipeline/bench.h"

namespace spillway {
namespace {

struct Endpoint {
  const char* name;
  const char* path;
  std::string body;
  std::string answer;  // a whole HTTP answer
};

std::vector<Endpoint> Endpoints() {
  const std::string usage = R"("usage":{"prompt_tokens":10,"completion_tokens":5})";
  const std::string stream = StreamHead() +
                             Chunk(
                                 "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"ok\"},"
                                 "\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[]," +
                                 usage + "}\n\ndata: [DONE]\n\n") +
                             kLastChunk;
  const std::string messages = R"({"model":"a","messages":[{"role":"user","content":"hi"}])";
  return {
      {"chat", "/v1/chat/completions", messages + R"(,"max_tokens":8})",
       JsonAnswer(200, R"({"choices":[{"message":{"content":"ok"}}],)" + usage + "}")},
      {"chat, streamed", "/v1/chat/completions", messages + R"(,"max_tokens":8,"stream":true})",
       stream},
      {"completions", "/v1/completions", R"({"model":"a","prompt":"hi","max_tokens":8})",
       JsonAnswer(200, R"({"choices":[{"text":"ok"}],)" + usage + "}")},
      {"completions, streamed", "/v1/completions",
       R"({"model":"a","prompt":"hi","max_tokens":8,"stream":true})", stream},
      {"embeddings", "/v1/embeddings",
       R"({"model":"a","input":"the quick brown fox jumps over the lazy dog"})",
       JsonAnswer(200, R"({"data":[{"embedding":[0.5]}],"usage":{"prompt_tokens":10}})")},
  };
}

TEST_CASE("every endpoint, streamed or not, falls under the same budgets") {
  for (const Endpoint& endpoint : Endpoints()) {
    DYNAMIC_SECTION(endpoint.name << ": charged") {
      Bench bench(Setup{.budgets = {MakeBudget("all", 1'000'000'000)}});
      bench.a.Next({Send(endpoint.answer)});
      REQUIRE(bench.Call(endpoint.path, endpoint.body)->client.status == 200);
      const std::vector<Billed> bills = bench.Bills();
      REQUIRE(bills.size() == 1);
      CHECK(bills[0].started.accounts_size() == 1);
      CHECK(bills[0].started.reserved_nanos() >= bills[0].finished.cost_nanos());
      CHECK(bills[0].finished.source() == v1::USAGE_SOURCE_PROVIDER);
      CHECK(bench.Charged() == bills[0].finished.cost_nanos());
      CHECK(bills[0].finished.cost_nanos() >= 10'000);
    }
    DYNAMIC_SECTION(endpoint.name << ": refused at the end") {
      Bench bench(Setup{.budgets = {MakeBudget("all", 1)}});
      const auto asked = bench.Call(endpoint.path, endpoint.body);
      CHECK(asked->client.status == 429);
      CHECK(asked->x->record.refusal == "budget_exceeded");
      CHECK(bench.a.accepted() == 0);
    }
  }
}

TEST_CASE("every endpoint, streamed or not, counts into the same rate limit") {
  v1::RateLimit limit;
  limit.set_name("four");
  limit.set_requests(4);
  limit.set_per(v1::PERIOD_MINUTE);
  Bench bench(Setup{.rate_limits = {limit}});
  std::vector<int> statuses;
  for (const Endpoint& endpoint : Endpoints()) {
    bench.a.Next({Send(endpoint.answer)});
    statuses.push_back(bench.Call(endpoint.path, endpoint.body)->client.status);
  }
  CHECK(statuses == std::vector<int>{200, 200, 200, 200, 429});
}

TEST_CASE("no path but the known ones reaches a provider") {
  for (const char* path : {"/v1/messages", "/openai/v1/chat/completions", "/v1/responses",
                           "/v1/chat/completions/x", "/v1/files", "/v1/images/generations"}) {
    DYNAMIC_SECTION(path) {
      Bench bench;
      const auto asked = bench.Call(path, R"({"model":"a","messages":[]})");
      CHECK(asked->client.status == 404);
      CHECK(bench.a.accepted() + bench.b.accepted() == 0);
      CHECK(bench.Bills().empty());
    }
  }
}

}  // namespace
}  // namespace spillway
