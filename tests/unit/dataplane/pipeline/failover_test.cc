// Faults one by one: a provider's last word, who is asked next, and a client that leaves meanwhile.
#include <catch2/catch_all.hpp>

#include "tests/unit/dataplane/pipeline/fault_answers.h"

namespace spillway {
namespace {

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

TEST_CASE("behind our own second attempt a client is told once whether to try again") {
  Bench bench;
  bench.a.Next({Send(kRate)});
  bench.b.Next({Send("HTTP/1.1 429 X\r\nX-Should-Retry: true\r\nContent-Length: 2\r\n\r\n{}")});
  const auto asked = bench.Call(kChat, Request("both", false));
  CHECK(asked->client.Header("x-should-retry") == "true");
  CHECK(asked->client.headers.find("x-should-retry: false") == std::string::npos);
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

// A call on a kept connection, which closes once it has the request.
std::unique_ptr<Bench::Asked> CallOnClosing(Bench& bench, const std::string& route) {
  bench.a.Next(Good(false));
  REQUIRE(bench.Call(kChat, Request("one", false))->client.status == 200);
  bench.a.Next({CloseIt()});
  bench.a.Next(Good(false));
  bench.b.Next(Good(false));
  return bench.Call(kChat, Request(route, false));
}

TEST_CASE("U19 the retry on a new connection is paid for like any attempt, and never sent down") {
  v1::Budget budget = MakeBudget("dear", 1'000'000'000);
  budget.mutable_scope()->set_model("a");
  budget.set_on_exhausted(v1::ON_EXHAUSTED_DOWNGRADE);
  budget.set_downgrade_to("b");
  {
    Bench bench(Setup{.budgets = {budget}});
    CallOnClosing(bench, "one");
    const std::vector<Billed> bills = bench.Bills();
    budget.set_limit_nanos(bills.at(0).finished.cost_nanos() +
                           bills.at(1).started.reserved_nanos() * 3 / 2);
  }
  struct Row {
    std::string route;
    int status;
    size_t asked_b;
  };
  const Row rows[] = {{"one", 502, 0}, {"both", 200, 1}};
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.route) {
      Bench bench(Setup{.budgets = {budget}});
      const auto asked = CallOnClosing(bench, row.route);
      CHECK(asked->client.status == row.status);
      CHECK(bench.a.requests().size() == 2);
      CHECK(bench.b.requests().size() == row.asked_b);
      CHECK(asked->x->record.limit.empty());
      CHECK(asked->x->record.downgraded.empty());
      const std::vector<Billed> bills = bench.Bills();
      REQUIRE(bills.size() == 2 + row.asked_b);
      CHECK(bills[1].finished.accounts_size() == 1);
      CHECK(bench.Charged() == bills[0].finished.hold_nanos() + bills[1].finished.hold_nanos());
    }
  }
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

TEST_CASE("a refusal costs nothing, also when its client has left meanwhile") {
  const OnDisconnect policy = GENERATE(OnDisconnect::kDrain, OnDisconnect::kCancel);
  Bench bench(policy);
  const std::string head = "HTTP/1.1 503 X\r\nContent-Length: 4\r\n\r\n";
  bench.a.Next({Send(head), Hold(), Send("busy")});
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
  CHECK(bills[0].finished.end() == v1::END_CLIENT_LEFT);
  CHECK(bills[0].finished.source() == v1::USAGE_SOURCE_NONE);
  CHECK(bills[0].finished.cost_nanos() == 0);
  CHECK(bills[0].finished.hold_nanos() == 0);
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
