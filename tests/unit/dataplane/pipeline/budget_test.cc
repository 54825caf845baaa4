// Budgets on the request path: what is admitted, refused, reserved and given back.
#include <catch2/catch_all.hpp>

#include "tests/unit/dataplane/pipeline/bench.h"

namespace spillway {
namespace {

constexpr Nanos kCost = Nanos{10} * 1'000 + 5 * 2'000;

// What one such call reserves.
Nanos ReservedByOne() {
  Bench bench(Setup{.budgets = {MakeBudget("all", 1'000'000'000)}});
  bench.a.Next({Send(JsonAnswer(200, kAnswer))});
  REQUIRE(bench.Call(kChat, Chat("a"))->client.status == 200);
  return bench.Bills().at(0).started.reserved_nanos();
}

TEST_CASE(
    "twenty concurrent calls on a budget that fits twenty are all admitted, and the twenty-first "
    "refused") {
  const Nanos one = ReservedByOne();
  Bench bench(Setup{.budgets = {MakeBudget("all", 20 * one)}});
  std::vector<std::unique_ptr<Bench::Asked>> calls;
  for (int i = 0; i < 20; ++i) {
    bench.a.Next({PeerClose()});  // never answers
    calls.push_back(bench.Ask(kChat, Chat("a")));
  }
  REQUIRE(RunUntil(bench.loop, [&] { return bench.a.requests().size() == 20; }));
  CHECK_FALSE(bench.Charged().has_value());  // reserved

  const auto last = bench.Call(kChat, Chat("a"));
  CHECK(last->client.status == 429);
  CHECK(last->x->record.refusal == "budget_exceeded");
  CHECK(last->x->record.limit == "budget/all");
  CHECK(last->x->record.attempts == 0);
  CHECK(bench.Bills().size() == 20);

  bench.Pass(60);
  bench.Pass(20);
  for (const auto& call : calls) call->client.Leave();
  for (const auto& call : calls) bench.Finish(*call);
  CHECK(bench.Charged() == 20 * one);
}

TEST_CASE("what a call did not use comes back") {
  const Nanos one = ReservedByOne();
  REQUIRE(kCost < one);
  Bench bench(Setup{.budgets = {MakeBudget("all", one + kCost)}});
  for (int i = 0; i < 2; ++i) {
    bench.a.Next({Send(JsonAnswer(200, kAnswer))});
    CHECK(bench.Call(kChat, Chat("a"))->client.status == 200);
  }
  CHECK(bench.Charged() == 2 * kCost);
  CHECK(bench.Call(kChat, Chat("a"))->x->record.refusal == "budget_exceeded");
}

TEST_CASE(
    "a refusal by a budget is OpenAI's 429: it names the budget, its reset and when to retry") {
  v1::Budget budget = MakeBudget("support-day", 1);
  budget.set_window(v1::WINDOW_DAY);
  Bench bench(Setup{.budgets = {budget}});
  const auto asked = bench.Call(kChat, Chat("a"));
  const FakeClient& client = asked->client;
  CHECK(client.status == 429);
  CHECK(client.content_type == "application/json");
  CHECK(client.body.starts_with("{\"error\":{"));
  CHECK(client.body.find("\"code\":\"budget_exceeded\"") != std::string::npos);
  CHECK(client.body.find("support-day") != std::string::npos);
  CHECK(client.Header("x-should-retry") == "false");
  CHECK(bench.a.accepted() == 0);
  CHECK(bench.Bills().empty());
  CHECK(bench.Charged() == 0);
}

TEST_CASE("a used up budget says when its window starts anew") {
  v1::Budget budget = MakeBudget("support-day", 3 * ReservedByOne() / 2);
  budget.set_window(v1::WINDOW_DAY);
  Bench bench(Setup{.budgets = {budget}});
  bench.a.Next({Hold(), Send(JsonAnswer(200, kAnswer))});
  const auto first = bench.Ask(kChat, Chat("a"));
  REQUIRE(RunUntil(bench.loop, [&] { return bench.a.holding() == 1; }));
  bench.clock.AdvanceMs(3'600'000);
  const auto asked = bench.Call(kChat, Chat("a"));
  CHECK(asked->client.status == 429);
  CHECK(asked->client.body.find("2026-01-02T00:00:00") != std::string::npos);
  CHECK(asked->client.Header("retry-after") == std::to_string(23 * 3'600));
  CHECK(asked->client.Header("x-should-retry") == "false");
  bench.a.Resume();
  bench.Finish(*first);
}

TEST_CASE("a user named by header falls under the user's budget") {
  v1::Budget alice = MakeBudget("alice", 1);
  alice.mutable_scope()->set_user("alice@example.com");
  struct Row {
    const char* name;
    std::string header;
    std::string more;
    int status;
  };
  const Row rows[] = {
      {"header", R"({"user":"alice@example.com"})", "", 429},
      {"the body's user", "", R"(,"user":"alice@example.com")", 429},
      {"the body's metadata", "", R"(,"metadata":{"user":"alice@example.com"})", 429},
      {"the header before the body", R"({"user":"bob"})", R"(,"user":"alice@example.com")", 200},
      {"somebody else", R"({"user":"bob"})", "", 200},
      {"nobody", "", "", 200},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      Bench bench(Setup{.budgets = {alice}});
      bench.a.Next({Send(JsonAnswer(200, kAnswer))});
      const auto asked = bench.Prepare(kChat, Chat("a", row.more));
      if (!row.header.empty()) asked->own_headers.emplace_back("x-spillway-metadata", row.header);
      bench.Go(*asked);
      bench.Finish(*asked);
      CHECK(asked->client.status == row.status);
    }
  }
}

TEST_CASE("a key of a team falls under the team's, the user's and the feature's budgets at once") {
  const Nanos one = ReservedByOne();
  const auto scoped = [one](const char* name, auto set) {
    v1::Budget budget = MakeBudget(name, 100 * one);
    set(*budget.mutable_scope());
    return budget;
  };
  const std::vector<v1::Budget> budgets = {
      scoped("team", [](v1::Scope& scope) { scope.set_team("support"); }),
      scoped("each-user", [](v1::Scope& scope) { scope.set_each("user"); }),
      scoped("feature", [](v1::Scope& scope) { scope.set_feature("chat"); }),
      scoped("tag", [](v1::Scope& scope) { (*scope.mutable_tags())["env"] = "prod"; }),
      scoped("model", [](v1::Scope& scope) { scope.set_model("a"); }),
      scoped("others", [](v1::Scope& scope) { scope.set_user("u2"); })};
  Bench bench(Setup{.budgets = budgets});
  bench.a.Next({Send(JsonAnswer(200, kAnswer))});
  const auto asked = bench.Call(kChat, Chat("a", R"(,"user":"u1","metadata":{"env":"prod"})"));
  REQUIRE(asked->client.status == 200);
  const std::vector<Billed> bills = bench.Bills();
  REQUIRE(bills.size() == 1);
  CHECK(bills[0].started.accounts_size() == 5);
  CHECK(bills[0].finished.accounts_size() == 5);
  CHECK(bills[0].finished.hold_nanos() == kCost);
  CHECK(bench.Charged() == 5 * kCost);
}

TEST_CASE("a budget of each user at one model is enforced, per user and at that model") {
  v1::Budget budget = MakeBudget("each-user-at-a", 3 * ReservedByOne() / 2);
  budget.mutable_scope()->set_model("a");
  budget.mutable_scope()->set_each("user");
  Bench bench(Setup{.budgets = {budget}});
  const auto as = [&](const std::string& model, const std::string& user) {
    (model == "a" ? bench.a : bench.b).Next({Send(JsonAnswer(200, kAnswer))});
    return bench.Call(kChat, Chat(model, R"(,"max_tokens":8,"user":")" + user + "\""))
        ->client.status;
  };
  int served = 0;
  while (as("a", "u1") == 200 && served < 100) ++served;
  CHECK(served >= 1);
  CHECK(served < 100);
  CHECK(as("b", "u1") == 200);
  CHECK(as("a", "u2") == 200);
}

TEST_CASE("what fits is admitted: no refusal while money remains, and one as soon as it does not") {
  const Nanos one = ReservedByOne();
  constexpr int kCalls = 60;
  Bench bench(Setup{.budgets = {MakeBudget("all", (kCalls - 1) * kCost + one)}});
  for (int i = 0; i < kCalls; ++i) {
    bench.a.Next({Send(JsonAnswer(200, kAnswer))});
    REQUIRE(bench.Call(kChat, Chat("a"))->client.status == 200);
  }
  CHECK(bench.Charged() == kCalls * kCost);
  CHECK(bench.Call(kChat, Chat("a"))->x->record.refusal == "budget_exceeded");
}

TEST_CASE("the worst case does not starve a budget: what is reserved is what was learned") {
  const Nanos limit = 50'000'000;
  Bench bench(Setup{.budgets = {MakeBudget("all", limit)}});
  for (int i = 0; i < 200; ++i) {
    bench.a.Next({Send(JsonAnswer(200, kAnswer))});
    REQUIRE(bench.Call(kChat, Chat("a"))->client.status == 200);
  }
  bench.a.Next({Send(JsonAnswer(200, kAnswer))});
  const auto asked =
      bench.Call(kChat, Chat("a", R"(,"max_tokens":100000)"));  // 200,000,000 at most
  CHECK(asked->client.status == 200);
  CHECK(bench.Bills().back().started.reserved_nanos() < 1'000'000);
}

TEST_CASE("a budget that was used up starts anew with its window") {
  v1::Budget budget = MakeBudget("day", ReservedByOne());
  budget.set_window(v1::WINDOW_DAY);
  budget.mutable_scope()->set_each("user");
  Bench bench(Setup{.budgets = {budget}});
  const auto status_of = [&](const std::string& user) {
    const auto asked = bench.Prepare(kChat, Chat("a"));
    asked->own_headers.emplace_back("x-spillway-metadata", R"({"user":")" + user + "\"}");
    bench.Go(*asked);
    bench.Finish(*asked);
    return asked->client.status;
  };
  for (int day = 0; day < 3; ++day) {
    INFO("day " << day);
    for (const char* user : {"ann", "bob"}) {
      INFO(user);
      bench.a.Next({Send(JsonAnswer(200, kAnswer))});
      CHECK(status_of(user) == 200);
      CHECK(status_of(user) == 429);
    }
    bench.clock.AdvanceMs(24 * 3'600'000);
  }
}

TEST_CASE("a request waits while the control plane may answer, and holds nothing meanwhile") {
  v1::Budget budget = MakeBudget("leased", 1'000'000'000);
  budget.set_on_partition(v1::ON_PARTITION_LEASED);
  Bench bench(Setup{.budgets = {budget}, .standalone = false});
  const auto asked = bench.Ask(kChat, Chat("a"));
  bench.Settle();
  CHECK_FALSE(asked->running->done());
  CHECK(bench.budgets.waiting() == 1);
  SECTION("and is refused") {
    bench.Pass(2'000);
    CHECK_FALSE(asked->running->done());
    bench.Pass(600);
    bench.Finish(*asked);
    CHECK(asked->client.status == 429);
    CHECK(asked->x->record.refusal == "budget_exceeded");
    CHECK(asked->x->record.limit == "budget/leased");
    CHECK(asked->client.Header("retry-after") == "1");
    CHECK(asked->client.Header("x-should-retry").empty());  // it may pass then
  }
  SECTION("or ends with the process") { bench.loop.io.DropPending(); }
  CHECK(bench.budgets.waiting() == 0);
  CHECK(bench.Charged() == 0);
  CHECK(bench.Bills().empty());
}

TEST_CASE("all budgets hold: one that is at its end refuses, and the others keep nothing") {
  Bench bench(Setup{.budgets = {MakeBudget("large", 1'000'000'000), MakeBudget("small", 1)}});
  CHECK(bench.Call(kChat, Chat("a"))->client.status == 429);
  CHECK(bench.Charged() == 0);
}

TEST_CASE("a frozen budget refuses whatever its policy says") {
  for (const v1::OnExhausted policy :
       {v1::ON_EXHAUSTED_REJECT, v1::ON_EXHAUSTED_DOWNGRADE, v1::ON_EXHAUSTED_WARN}) {
    DYNAMIC_SECTION(v1::OnExhausted_Name(policy)) {
      v1::Budget budget = MakeBudget("all", 1'000'000'000);
      budget.set_frozen(true);
      budget.set_on_exhausted(policy);
      if (policy == v1::ON_EXHAUSTED_DOWNGRADE) budget.set_downgrade_to("b");
      Bench bench(Setup{.budgets = {budget}});
      const auto asked = bench.Call(kChat, Chat("a"));
      CHECK(asked->client.status == 429);
      CHECK(asked->x->record.refusal == "budget_exceeded");
      CHECK(asked->client.Header("x-should-retry") == "false");
      CHECK(bench.a.accepted() + bench.b.accepted() == 0);
    }
  }
}

TEST_CASE("an unknown price never skips the reservation") {
  v1::Model free = MakeModel("free", "pa");
  free.clear_price();
  free.mutable_resolved_price()->set_unpriced(true);
  SECTION("its accounts are charged, with nothing") {
    Bench bench(Setup{.budgets = {MakeBudget("all", 1'000'000)}, .models = {free}});
    bench.a.Next({Send(JsonAnswer(200, kAnswer))});
    CHECK(bench.Call(kChat, Chat("free"))->client.status == 200);
    const std::vector<Billed> bills = bench.Bills();
    REQUIRE(bills.size() == 1);
    CHECK(bills[0].started.accounts_size() == 1);
    CHECK(bills[0].finished.unpriced());
    CHECK(bills[0].finished.cost_nanos() == 0);
  }
  SECTION("a frozen budget holds it") {
    v1::Budget budget = MakeBudget("all", 1'000'000);
    budget.set_frozen(true);
    Bench bench(Setup{.budgets = {budget}, .models = {free}});
    CHECK(bench.Call(kChat, Chat("free"))->client.status == 429);
  }
}

TEST_CASE("a budget that only warns admits, marks the answer and charges") {
  v1::Budget budget = MakeBudget("soft", 1);
  budget.set_on_exhausted(v1::ON_EXHAUSTED_WARN);
  Bench bench(Setup{.budgets = {budget}});
  for (int i = 0; i < 2; ++i) {
    bench.a.Next({Send(JsonAnswer(200, kAnswer))});
    const auto asked = bench.Call(kChat, Chat("a"));
    CHECK(asked->client.status == 200);
    CHECK(asked->client.Header("x-spillway-budget-warning") == "soft");
    CHECK(asked->x->record.budget_warning == "soft");
    CHECK(asked->x->record.refusal.empty());
  }
  CHECK(bench.Charged() == 2 * kCost);
}

TEST_CASE("a further attempt that its budget refuses is skipped, the failure before it stands") {
  v1::Budget budget = MakeBudget("of-b", 1);
  budget.mutable_scope()->set_model("b");
  Bench bench(Setup{.budgets = {budget}});
  bench.a.Next({Send(JsonAnswer(503, R"({"error":{"message":"busy"}})"))});
  const auto asked = bench.Call(kChat, Chat("both"));
  CHECK(asked->client.status == 503);
  CHECK(asked->client.body == R"({"error":{"message":"busy"}})");
  CHECK(bench.b.accepted() == 0);
  const std::vector<Billed> bills = bench.Bills();
  REQUIRE(bills.size() == 1);
  CHECK(bills[0].finished.winner());
  CHECK(bench.Charged() == 0);
}

TEST_CASE("what a failed attempt gave back pays for the next one") {
  const Nanos one = ReservedByOne();
  Bench bench(Setup{.budgets = {MakeBudget("all", one + one / 2)}});
  bench.a.Next({Send(JsonAnswer(503, "{}"))});
  bench.b.Next({Send(JsonAnswer(200, kAnswer))});
  const auto asked = bench.Call(kChat, Chat("both"));
  CHECK(asked->client.status == 200);
  CHECK(bench.Charged() == kCost);
  const std::vector<Billed> bills = bench.Bills();
  REQUIRE(bills.size() == 2);
  CHECK_FALSE(bills[0].finished.fallback());
  CHECK(bills[1].finished.fallback());
}

TEST_CASE("the key's allow-list comes before its budgets") {
  v1::Budget budget = MakeBudget("all", 1);
  Bench bench(Setup{.budgets = {budget}, .key_routes = {"one"}});
  CHECK(bench.Call(kChat, Chat("both"))->x->record.refusal == "model_not_found");
  CHECK(bench.Call(kChat, Chat("one"))->x->record.refusal == "budget_exceeded");
}

TEST_CASE("without budgets a call holds nothing and names no account") {
  Bench bench;
  bench.a.Next({Send(JsonAnswer(200, kAnswer))});
  const auto asked = bench.Call(kChat, Chat("a"));
  CHECK(asked->client.status == 200);
  CHECK(asked->client.Header("x-ratelimit-limit-requests").empty());
  CHECK(asked->client.Header("x-spillway-budget-warning").empty());
  const std::vector<Billed> bills = bench.Bills();
  CHECK(bills.at(0).started.accounts_size() == 0);
  CHECK(bills.at(0).started.reserved_nanos() > 0);
  CHECK(bills.at(0).finished.accounts_size() == 0);
}

}  // namespace
}  // namespace spillway
