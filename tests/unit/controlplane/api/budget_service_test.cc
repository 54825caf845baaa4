#include "controlplane/api/budget_service.h"

#include <catch2/catch_all.hpp>

#include "tests/unit/controlplane/api/api_world.h"

namespace spillway::api {
namespace {

constexpr std::string_view kBudgets = R"(
budgets:
  - {name: day, scope: {}, limit_usd: 5, window: day}
  - {name: month, scope: {team: support}, limit_usd: 500, window: month}
)";

struct World {
  World() : service(*api.store, *api.writer, api.clock, View(), {}) {
    api.MustApply(std::string(kGateway) + std::string(kBudgets));
  }
  BudgetView View() {
    return {.status =
                [](const v1::Budget& budget) {
                  v1::BudgetStatus status;
                  *status.mutable_budget() = budget;
                  return status;
                },
            .show = [](const v1::Budget& budget,
                       const v1::ShowBudgetRequest& request) -> Result<v1::ShowBudgetResponse> {
              if (request.subject() == "bad")
                return Fail(ErrorCode::kInvalidRequest, "no subjects", "subject");
              v1::ShowBudgetResponse response;
              *response.mutable_status()->mutable_budget() = budget;
              return response;
            },
            .open_gate = {}};
  }
  v1::Budget Stored(const std::string& name) const {
    return api.Stored(v1::KIND_BUDGET, name).budget();
  }

  ApiWorld api;
  BudgetService service;
};

TEST_CASE("budgets are listed by name, page by page") {
  World world;
  v1::ListBudgetsRequest request;
  request.set_page_size(1);
  const auto first = world.service.List(request);
  REQUIRE(first.has_value());
  REQUIRE(first->budgets_size() == 1);
  CHECK(first->budgets(0).budget().name() == "day");
  CHECK(first->next_page_token() == "day");
  request.set_page_token("day");
  const auto second = world.service.List(request);
  REQUIRE(second.has_value());
  REQUIRE(second->budgets_size() == 1);
  CHECK(second->budgets(0).budget().name() == "month");
  CHECK(second->next_page_token().empty());
}

TEST_CASE("one budget is shown, and what there is not is named") {
  World world;
  v1::ShowBudgetRequest request;
  request.set_name("month");
  const auto shown = world.service.Show(request);
  REQUIRE(shown.has_value());
  CHECK(shown->status().budget().limit_nanos() == 500'000'000'000);
  request.set_subject("bad");
  const auto bad = world.service.Show(request);
  REQUIRE_FALSE(bad.has_value());
  CHECK(bad.error().kind == Refusal::Kind::kInvalid);
  request.set_name("none");
  const auto none = world.service.Show(request);
  REQUIRE_FALSE(none.has_value());
  CHECK(none.error().kind == Refusal::Kind::kNotFound);
  CHECK(none.error().message == "there is no budget/none");
}

TEST_CASE("a freeze is one revision, twice is none, and it keeps the budget's id") {
  World world;
  const std::string id = world.Stored("month").id();
  CHECK_FALSE(id.empty());
  const int64_t before = world.api.revision();
  v1::FreezeBudgetRequest request;
  request.set_name("month");
  request.set_frozen(true);
  const auto frozen = world.service.Freeze(request, "ann");
  REQUIRE(frozen.has_value());
  CHECK(frozen->revision() == before + 1);
  CHECK(world.Stored("month").frozen());
  CHECK(world.Stored("month").id() == id);
  CHECK_FALSE(world.Stored("day").frozen());
  CHECK(world.service.Freeze(request, "ann")->revision() == before + 1);
  request.set_frozen(false);
  REQUIRE(world.service.Freeze(request, "ann").has_value());
  CHECK_FALSE(world.Stored("month").frozen());
  const auto revisions = world.api.store->ListRevisions(1);
  REQUIRE(revisions.has_value());
  CHECK(revisions->front().summary() == "thawed budget/month");
  CHECK(revisions->front().author() == "ann");
}

TEST_CASE("a raise has an amount and an end, and ends early when told") {
  World world;
  const int64_t now_ms = world.api.clock.WallMs();
  struct Row {
    const char* name;
    int64_t nanos, until_ms;
    bool good;
  };
  const Row rows[] = {
      {"nothing", 0, now_ms + 1000, false},          {"less", -1, now_ms + 1000, false},
      {"too much", INT64_MAX, now_ms + 1000, false}, {"over already", 1000, now_ms, false},
      {"for ever", 1000, INT64_MAX, false},          {"an hour", 1000, now_ms + 3'600'000, true}};
  for (const Row& row : rows) {
    INFO(row.name);
    v1::RaiseBudgetRequest request;
    request.set_name("day");
    request.set_nanos(row.nanos);
    request.set_until_ms(row.until_ms);
    const auto raised = world.service.Raise(request, "ann");
    CHECK(raised.has_value() == row.good);
    if (!row.good) CHECK(raised.error().violations.size() == 1);
    CHECK(world.Stored("day").raise_nanos() == (row.good ? row.nanos : 0));
  }
  CHECK(world.Stored("day").raise_until_ms() == now_ms + 3'600'000);
  v1::LowerRaiseRequest request;
  request.set_name("day");
  REQUIRE(world.service.LowerRaise(request, "ann").has_value());
  CHECK(world.Stored("day").raise_nanos() == 0);
  CHECK(world.Stored("day").raise_until_ms() == 0);
}

TEST_CASE("while changes are refused, budgets are not frozen either") {
  World world;
  world.api.closed = "another control plane took over";
  v1::FreezeBudgetRequest request;
  request.set_name("month");
  request.set_frozen(true);
  const auto frozen = world.service.Freeze(request, "ann");
  REQUIRE_FALSE(frozen.has_value());
  CHECK(frozen.error().kind == Refusal::Kind::kNotNow);
}

TEST_CASE("without accounts there are no figures, but changes are made") {
  World world;
  BudgetService bare(*world.api.store, *world.api.writer, world.api.clock, {}, {});
  CHECK(bare.List({}).error().kind == Refusal::Kind::kUnavailable);
  CHECK(bare.Show({}).error().kind == Refusal::Kind::kUnavailable);
  CHECK(bare.OpenGate().error().kind == Refusal::Kind::kUnavailable);
  v1::FreezeBudgetRequest request;
  request.set_name("day");
  request.set_frozen(true);
  CHECK(bare.Freeze(request, "ann").has_value());
}

}  // namespace
}  // namespace spillway::api
