// Rate limits on the request path.
#include <catch2/catch_all.hpp>

#include "tests/unit/dataplane/pipeline/bench.h"

namespace spillway {
namespace {

v1::RateLimit PerMinute(const std::string& name, int64_t requests, int64_t tokens = 0,
                        int64_t concurrent = 0) {
  v1::RateLimit limit;
  limit.set_name(name);
  limit.set_requests(requests);
  limit.set_tokens(tokens);
  limit.set_concurrent(concurrent);
  if (requests > 0 || tokens > 0) limit.set_per(v1::PERIOD_MINUTE);
  return limit;
}

std::unique_ptr<Bench::Asked> Served(Bench& bench, const std::string& model = "a",
                                     const std::string& headers = "") {
  bench.a.Next({Send(JsonAnswer(200, kAnswer, headers))});
  auto asked = bench.Call(kChat, Chat(model));
  CHECK(asked->client.status == 200);
  return asked;
}

TEST_CASE("a limit shows itself in OpenAI's headers, and a provider's own do not") {
  Bench bench(Setup{.rate_limits = {PerMinute("minute", 3)}});
  const auto asked = Served(bench, "a",
                            "x-ratelimit-limit-requests: 9999\r\n"
                            "x-ratelimit-remaining-tokens: 8888\r\n");
  CHECK(asked->client.Header("x-ratelimit-limit-requests") == "3");
  CHECK(asked->client.Header("x-ratelimit-remaining-requests") == "2");
  CHECK_FALSE(asked->client.Header("x-ratelimit-reset-requests").empty());
  CHECK(asked->client.headers.find("9999") == std::string::npos);
  CHECK(asked->client.headers.find("8888") == std::string::npos);
}

TEST_CASE("without limits of its own the gateway passes a provider's headers on") {
  Bench bench;
  const auto asked = Served(bench, "a", "x-ratelimit-limit-requests: 9999\r\n");
  CHECK(asked->client.Header("x-ratelimit-limit-requests") == "9999");
}

TEST_CASE("what a limit holds back is refused as OpenAI does it, and admitted in the next period") {
  Bench bench(Setup{.rate_limits = {PerMinute("minute", 2)}});
  Served(bench);
  Served(bench);
  const auto asked = bench.Call(kChat, Chat("a"));
  CHECK(asked->client.status == 429);
  CHECK(asked->x->record.refusal == "rate_limit_exceeded");
  CHECK(asked->x->record.limit == "rate_limit/minute");
  CHECK(asked->client.body.find("\"code\":\"rate_limit_exceeded\"") != std::string::npos);
  CHECK(asked->client.body.find("minute") != std::string::npos);
  CHECK(asked->client.Header("retry-after") == "60");
  CHECK(asked->client.Header("x-ratelimit-remaining-requests") == "0");
  CHECK(asked->client.Header("x-should-retry").empty());
  CHECK(bench.a.requests().size() == 2);
  bench.Pass(60'000);
  Served(bench);
}

TEST_CASE("a limit of ten requests lets ten of thirty pass, whatever they cost") {
  Bench bench(Setup{.rate_limits = {PerMinute("minute", 10)}});
  int served = 0;
  for (int i = 0; i < 30; ++i) {
    bench.a.Next({Send(JsonAnswer(200, kAnswer))});
    served += bench.Call(kChat, Chat("a"))->client.status == 200 ? 1 : 0;
  }
  CHECK(served == 10);
  CHECK(bench.a.requests().size() == 10);
}

TEST_CASE("every scope a request falls under counts, by its own value") {
  v1::RateLimit each_user = PerMinute("each-user", 1);
  each_user.mutable_scope()->set_each("user");
  Bench bench(Setup{.rate_limits = {each_user}});
  const auto as = [&](const char* user) {
    bench.a.Next({Send(JsonAnswer(200, kAnswer))});
    return bench
        .Call(kChat, R"({"model":"a","messages":[{"role":"user","content":"hi"}],"user":")" +
                         std::string(user) + "\"}")
        ->client.status;
  };
  CHECK(as("u1") == 200);
  CHECK(as("u2") == 200);
  CHECK(as("u1") == 429);
}

TEST_CASE("tokens are reserved as an estimate and corrected to what was used") {
  Bench bench(Setup{.rate_limits = {PerMinute("tokens", 0, 1'000)}});
  const auto first = Served(bench);  // used 15
  const auto second = Served(bench);
  CHECK(second->client.Header("x-ratelimit-limit-tokens") == "1000");
  // What the first one used, and what the second one may use.
  const Billed bill = bench.Bills().at(1);
  const int64_t estimate =
      bill.started.estimate().input_tokens() + bill.started.estimate().output_tokens();
  CHECK(second->client.Header("x-ratelimit-remaining-tokens") ==
        std::to_string(1'000 - 15 - estimate));
}

TEST_CASE("a refusal by a budget gives the request back to its rate limits") {
  Bench bench(Setup{.budgets = {MakeBudget("all", 1)}, .rate_limits = {PerMinute("minute", 2)}});
  for (int i = 0; i < 5; ++i) {
    const auto asked = bench.Call(kChat, Chat("a"));
    CHECK(asked->x->record.refusal == "budget_exceeded");
    CHECK(asked->client.Header("x-ratelimit-limit-requests") == "2");
  }
}

TEST_CASE("concurrent requests give their slot back however they end") {
  Bench bench(Setup{.rate_limits = {PerMinute("slots", 0, 0, 1)}});
  bench.a.Next({Hold(), Send(JsonAnswer(200, kAnswer))});
  const auto first = bench.Ask(kChat, Chat("a"));
  REQUIRE(RunUntil(bench.loop, [&] { return bench.a.holding() == 1; }));
  CHECK(bench.Call(kChat, Chat("a"))->x->record.refusal == "rate_limit_exceeded");
  bench.a.Resume();
  bench.Finish(*first);
  Served(bench);
  bench.a.Next({Send(JsonAnswer(503, "{}"))});
  CHECK(bench.Call(kChat, Chat("one"))->client.status == 503);
  bench.a.Next({CloseIt()});
  CHECK(bench.Call(kChat, Chat("one"))->client.status >= 500);
  Served(bench);
}

TEST_CASE("a limit of a provider holds the attempts at it alone") {
  v1::RateLimit of_b = PerMinute("of-pb", 1);
  of_b.mutable_scope()->set_provider("pb");
  Bench bench(Setup{.rate_limits = {of_b}});
  const auto fall_back = [&] {
    bench.a.Next({Send(JsonAnswer(503, "{}"))});
    bench.b.Next({Send(JsonAnswer(200, kAnswer))});
    return bench.Call(kChat, Chat("both"))->client.status;
  };
  CHECK(fall_back() == 200);
  CHECK(fall_back() == 503);  // the second attempt is skipped
  Served(bench, "both");
}

v1::Route Queueing(int64_t deadline_ms) {
  v1::Route route = MakeRoute("queueing", {"a"}, 1);
  route.mutable_limit_action()->set_action(v1::LimitAction::ACTION_QUEUE);
  route.mutable_limit_action()->set_deadline_ms(deadline_ms);
  return route;
}

TEST_CASE("a route that queues lets a request wait for its turn") {
  Bench bench(Setup{.rate_limits = {PerMinute("slots", 0, 0, 1)}, .routes = {Queueing(5'000)}});
  bench.a.Next({Hold(), Send(JsonAnswer(200, kAnswer))});
  const auto first = bench.Ask(kChat, Chat("queueing"));
  REQUIRE(RunUntil(bench.loop, [&] { return bench.a.holding() == 1; }));
  bench.a.Next({Send(JsonAnswer(200, kAnswer))});
  const auto second = bench.Ask(kChat, Chat("queueing"));
  bench.Settle();
  CHECK_FALSE(second->running->done());

  SECTION("and go on when it comes") {
    bench.a.Resume();
    bench.Finish(*first);
    REQUIRE(RunUntil(bench.loop, [&] {
      bench.Pass(10);
      return second->running->done();
    }));
    CHECK(second->client.status == 200);
  }
  SECTION("and be refused at the deadline") {
    for (int i = 0; i < 12; ++i) bench.Pass(500);
    REQUIRE(RunUntil(bench.loop, [&] { return second->running->done(); }));
    CHECK(second->client.status == 429);
    CHECK(second->x->record.refusal == "rate_limit_exceeded");
    CHECK(bench.a.requests().size() == 1);
  }
  SECTION("and leave") {
    second->client.Leave();
    REQUIRE(RunUntil(bench.loop, [&] {
      bench.Pass(10);
      return second->running->done();
    }));
    CHECK(second->client.aborted);
    CHECK(second->x->record.end == "client_left");
    CHECK(bench.a.requests().size() == 1);
    CHECK(bench.Bills().size() == 1);
  }
  bench.a.Resume();
  bench.Finish(*first);
}

TEST_CASE("the client's own deadline ends a wait, too") {
  Bench bench(Setup{.rate_limits = {PerMinute("slots", 0, 0, 1)}, .routes = {Queueing(600'000)}});
  bench.a.Next({Hold(), Send(JsonAnswer(200, kAnswer))});
  const auto first = bench.Ask(kChat, Chat("queueing"));
  REQUIRE(RunUntil(bench.loop, [&] { return bench.a.holding() == 1; }));
  const auto second = bench.Prepare(kChat, Chat("queueing"));
  second->own_headers.emplace_back("x-spillway-timeout-ms", "1000");
  bench.Go(*second);
  bench.Settle();
  for (int i = 0; i < 12; ++i) bench.Pass(100);
  REQUIRE(RunUntil(bench.loop, [&] { return second->running->done(); }));
  CHECK(second->client.status == 429);
  bench.a.Resume();
  bench.Finish(*first);
}

}  // namespace
}  // namespace spillway
