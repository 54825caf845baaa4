// What budgets and rate limits send to a cheaper course.
#include <catch2/catch_all.hpp>

#include "tests/unit/dataplane/pipeline/bench.h"

namespace spillway {
namespace {

v1::Budget Downgrading(const std::string& name, const std::string& to) {
  v1::Budget budget = MakeBudget(name, 1);
  budget.set_on_exhausted(v1::ON_EXHAUSTED_DOWNGRADE);
  budget.set_downgrade_to(to);
  return budget;
}

v1::Route LimitedRoute(const std::string& to) {
  v1::Route route = MakeRoute("tier", {"a"}, 1);
  route.mutable_limit_action()->set_action(v1::LimitAction::ACTION_DOWNGRADE);
  route.mutable_limit_action()->set_to(to);
  return route;
}

v1::RateLimit OnePerHour(const std::string& name) {
  v1::RateLimit limit;
  limit.set_name(name);
  limit.set_requests(1);
  limit.set_per(v1::PERIOD_HOUR);
  return limit;
}

TEST_CASE("a budget at its end sends its calls to the cheaper model, and says so") {
  v1::Budget of_model = Downgrading("dear", "b");
  v1::Budget of_route = Downgrading("dear", "b");
  of_model.mutable_scope()->set_model("a");
  of_route.mutable_scope()->set_route("one");
  for (const v1::Budget& budget : {of_model, of_route}) {
    DYNAMIC_SECTION((budget.scope().model().empty() ? "of a route" : "of a model")) {
      // The allow-list is about what the client names.
      Bench bench(Setup{.budgets = {budget}, .key_routes = {"one"}});
      bench.b.Next({Send(JsonAnswer(200, kAnswer))});
      const auto asked = bench.Call(kChat, Chat("one"));
      CHECK(asked->client.status == 200);
      CHECK(asked->client.Header("x-spillway-downgraded") == "b");
      CHECK(asked->client.Header("x-spillway-model") == "b");
      CHECK(bench.a.accepted() == 0);
      CHECK(asked->x->record.downgraded == "b");
      CHECK(asked->x->record.limit == "budget/dear");
      CHECK(asked->x->record.refusal.empty());
      const Billed bill = bench.Bills().at(0);
      CHECK(bill.finished.downgraded());
      CHECK_FALSE(bill.finished.fallback());
      CHECK(bill.finished.attribution().route() == "one");
      CHECK(bill.finished.attribution().model() == "b");
      CHECK(bench.Charged() == 0);  // the budget that sent it away is not charged
    }
  }
}

TEST_CASE("a request goes down once: a second downgrade is a refusal") {
  v1::Budget first = Downgrading("first", "b");
  first.mutable_scope()->set_model("a");
  v1::Budget second = Downgrading("second", "one");
  second.mutable_scope()->set_model("b");
  Bench bench(Setup{.budgets = {first, second}});
  const auto asked = bench.Call(kChat, Chat("a"));
  CHECK(asked->client.status == 429);
  CHECK(asked->x->record.refusal == "budget_exceeded");
  CHECK(asked->x->record.limit == "budget/second");
  CHECK(asked->client.Header("x-spillway-downgraded") == "b");
  CHECK(bench.a.accepted() + bench.b.accepted() == 0);
}

TEST_CASE("a budget that the cheaper course falls under too still holds") {
  Bench bench(Setup{.budgets = {Downgrading("all", "b")}});
  const auto asked = bench.Call(kChat, Chat("a"));
  CHECK(asked->client.status == 429);
  CHECK(bench.b.accepted() == 0);
  CHECK(bench.Charged() == 0);
}

TEST_CASE("a budget that names its own course as the cheaper one refuses") {
  v1::Budget budget = Downgrading("dear", "a");
  budget.mutable_scope()->set_model("a");
  Bench bench(Setup{.budgets = {budget}});
  CHECK(bench.Call(kChat, Chat("a"))->x->record.refusal == "budget_exceeded");
}

TEST_CASE("a rate limit sends to the cheaper course what it holds back") {
  Bench bench(Setup{.rate_limits = {OnePerHour("hourly")}, .routes = {LimitedRoute("b")}});
  bench.a.Next({Send(JsonAnswer(200, kAnswer))});
  const auto first = bench.Call(kChat, Chat("tier"));
  CHECK(first->client.Header("x-spillway-downgraded").empty());
  CHECK(first->client.Header("x-spillway-model") == "a");
  for (int i = 0; i < 3; ++i) {
    bench.b.Next({Send(JsonAnswer(200, kAnswer))});
    const auto asked = bench.Call(kChat, Chat("tier"));
    CHECK(asked->client.status == 200);
    CHECK(asked->client.Header("x-spillway-downgraded") == "b");
    CHECK(asked->client.Header("x-spillway-model") == "b");
    CHECK(asked->x->record.limit == "rate_limit/hourly");
  }
}

TEST_CASE("limits that only the cheaper course has do hold a downgraded request") {
  v1::RateLimit of_b = OnePerHour("of-b");
  of_b.mutable_scope()->set_model("b");
  Bench bench(Setup{.rate_limits = {OnePerHour("hourly"), of_b}, .routes = {LimitedRoute("b")}});
  bench.a.Next({Send(JsonAnswer(200, kAnswer))});
  CHECK(bench.Call(kChat, Chat("tier"))->client.status == 200);
  bench.b.Next({Send(JsonAnswer(200, kAnswer))});
  CHECK(bench.Call(kChat, Chat("tier"))->client.status == 200);
  const auto asked = bench.Call(kChat, Chat("tier"));
  CHECK(asked->client.status == 429);
  CHECK(asked->x->record.refusal == "rate_limit_exceeded");
  CHECK(asked->x->record.limit == "rate_limit/of-b");
}

TEST_CASE("budgets hold what a rate limit sent down") {
  v1::Budget budget = MakeBudget("of-b", 1);
  budget.mutable_scope()->set_model("b");
  Bench bench(Setup{
      .budgets = {budget}, .rate_limits = {OnePerHour("hourly")}, .routes = {LimitedRoute("b")}});
  bench.a.Next({Send(JsonAnswer(200, kAnswer))});
  CHECK(bench.Call(kChat, Chat("tier"))->client.status == 200);
  CHECK(bench.Call(kChat, Chat("tier"))->x->record.limit == "budget/of-b");
}

TEST_CASE("a configuration that comes while a request waits does not change where it goes") {
  v1::Budget budget = Downgrading("dear", "b");
  budget.mutable_scope()->set_model("a");
  Bench bench(Setup{.budgets = {budget}});
  bench.b.Next({Hold(), Send(JsonAnswer(200, kAnswer))});
  const std::weak_ptr<const Snapshot> old = bench.loop.snapshot;
  const auto asked = bench.Ask(kChat, Chat("a"));
  REQUIRE(RunUntil(bench.loop, [&] { return bench.b.holding() == 1; }));
  bench.loop.snapshot.reset();
  CHECK(old.expired());
  bench.b.Resume();
  bench.Finish(*asked);
  CHECK(asked->client.Header("x-spillway-downgraded") == "b");
}

}  // namespace
}  // namespace spillway
