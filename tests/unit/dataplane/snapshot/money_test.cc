// Budgets, rate limits, limit actions and prices in a snapshot.
#include <catch2/catch_all.hpp>

#include "common/config/prices.h"
#include "dataplane/snapshot/build.h"
#include "dataplane/snapshot/refusal.h"
#include "tests/unit/dataplane/snapshot/control_plane.h"

namespace spillway {
namespace {

Result<SnapshotPtr> BuildOf(const FakeControlPlane& cp, BuildOptions options) {
  const std::vector<v1::Entry> entries = cp.Entries();
  return Build(ViewsOf(entries), cp.position, options);
}

SnapshotPtr BuildGood(const FakeControlPlane& cp) {
  auto built = BuildOf(cp, OptionsOf(cp));
  if (!built) FAIL(built.error().message);
  return *built;
}

v1::Resource BudgetResource(const std::string& name) {
  v1::Resource resource;
  v1::Budget& budget = *resource.mutable_budget();
  budget.set_name(name);
  budget.set_id(name + "-0123abcd");
  budget.mutable_scope();
  budget.set_limit_nanos(5'000'000'000);
  budget.set_window(v1::WINDOW_DAY);
  return resource;
}

v1::Resource LimitResource(const std::string& name) {
  v1::Resource resource;
  v1::RateLimit& limit = *resource.mutable_rate_limit();
  limit.set_name(name);
  limit.mutable_scope();
  limit.set_requests(10);
  limit.set_per(v1::PERIOD_HOUR);
  return resource;
}

std::vector<std::string> BudgetNames(const Snapshot& snapshot, const Facts& facts, bool by_target) {
  std::vector<BudgetMatch> matches;
  snapshot.MatchBudgets(facts, by_target, matches);
  std::vector<std::string> names;
  names.reserve(matches.size());
  for (const BudgetMatch& match : matches)
    names.push_back(match.budget->name + (match.subject.empty() ? "" : ":" + match.subject));
  return names;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("budgets come in the order of names, apart by what they must know") {
  FakeControlPlane cp;
  v1::Resource everything = BudgetResource("z-all");
  v1::Resource team = BudgetResource("m-team");
  team.mutable_budget()->mutable_scope()->set_team("support");
  v1::Resource each = BudgetResource("a-each");
  each.mutable_budget()->mutable_scope()->set_each("user");
  v1::Resource model = BudgetResource("b-model");
  model.mutable_budget()->mutable_scope()->set_model("small");
  model.mutable_budget()->mutable_scope()->set_each("team");
  for (const v1::Resource& resource : {everything, team, each, model}) cp.Put(resource);
  cp.Commit();
  const SnapshotPtr snapshot = BuildGood(cp);
  CHECK(snapshot->budget_count() == 4);
  Facts facts{.team = "support", .user = "alice", .key = "bot"};
  CHECK(BudgetNames(*snapshot, facts, false) == Names{"a-each:alice", "m-team", "z-all"});
  CHECK(BudgetNames(*snapshot, facts, true).empty());
  facts.model = "small";
  CHECK(BudgetNames(*snapshot, facts, true) == Names{"b-model:support"});
  facts.user = {};
  facts.team = "sales";
  CHECK(BudgetNames(*snapshot, facts, false) == Names{"z-all"});
  CHECK(BudgetNames(*snapshot, facts, true) == Names{"b-model:sales"});
  // What was there before stays.
  std::vector<BudgetMatch> matches(1);
  snapshot->MatchBudgets(facts, false, matches);
  CHECK(matches.size() == 2);
}

TEST_CASE("a budget is compiled with its defaults filled in") {
  FakeControlPlane cp;
  v1::Resource plain = BudgetResource("plain");
  plain.mutable_budget()->clear_id();
  v1::Resource full = BudgetResource("full");
  v1::Budget& budget = *full.mutable_budget();
  budget.set_window(v1::WINDOW_ROLLING);
  budget.set_rolling_hours(5);
  budget.set_on_exhausted(v1::ON_EXHAUSTED_DOWNGRADE);
  budget.set_downgrade_to("chat");
  budget.set_on_partition(v1::ON_PARTITION_LEASED);
  budget.set_on_overrun(v1::ON_OVERRUN_CAP);
  budget.set_frozen(true);
  budget.set_raise_nanos(7);
  budget.set_raise_until_ms(1'900'000'000'000);
  cp.Put(plain);
  cp.Put(full);
  cp.Commit();
  std::vector<BudgetMatch> matches;
  BuildGood(cp)->MatchBudgets({}, false, matches);
  REQUIRE(matches.size() == 2);
  const BudgetSpec& first = *matches[0].budget;
  CHECK(first.name == "full");
  CHECK(first.id == "full-0123abcd");
  CHECK(first.limit == 5'000'000'000);
  CHECK(first.window == v1::WINDOW_ROLLING);
  CHECK(first.rolling_hours == 5);
  CHECK(first.on_exhausted == v1::ON_EXHAUSTED_DOWNGRADE);
  CHECK(first.downgrade_to == "chat");
  CHECK(first.on_partition == v1::ON_PARTITION_LEASED);
  CHECK(first.on_overrun == v1::ON_OVERRUN_CAP);
  CHECK(first.frozen);
  CHECK(first.raise == 7);
  CHECK(first.raise_until_ms == 1'900'000'000'000);
  const BudgetSpec& second = *matches[1].budget;
  CHECK(second.id == "plain");
  CHECK(second.window == v1::WINDOW_DAY);
  CHECK(second.on_exhausted == v1::ON_EXHAUSTED_REJECT);
  CHECK(second.on_partition == v1::ON_PARTITION_OPEN);
  CHECK(second.on_overrun == v1::ON_OVERRUN_FINISH);
  CHECK_FALSE(second.open_unheard);
}

TEST_CASE("rate limits and limit actions are compiled") {
  FakeControlPlane cp;
  v1::Resource hour = LimitResource("hour");
  v1::Resource day = LimitResource("day");
  day.mutable_rate_limit()->set_tokens(1000);
  day.mutable_rate_limit()->set_token_kind(v1::TOKEN_KIND_OUTPUT);
  day.mutable_rate_limit()->set_per(v1::PERIOD_DAY);
  day.mutable_rate_limit()->mutable_scope()->set_each("key");
  v1::Resource running = LimitResource("running");
  running.mutable_rate_limit()->clear_requests();
  running.mutable_rate_limit()->clear_per();
  running.mutable_rate_limit()->set_concurrent(3);
  v1::Resource route;
  route.mutable_route()->set_name("queued");
  route.mutable_route()->add_targets()->set_model("small");
  route.mutable_route()->mutable_limit_action()->set_action(v1::LimitAction::ACTION_QUEUE);
  route.mutable_route()->mutable_limit_action()->set_deadline_ms(5'000);
  for (const v1::Resource& resource : {hour, day, running, route}) cp.Put(resource);
  cp.Commit();
  const SnapshotPtr snapshot = BuildGood(cp);
  std::vector<RateLimitMatch> matches;
  snapshot->MatchRateLimits({.key = "bot"}, false, matches);
  REQUIRE(matches.size() == 3);
  CHECK(matches[0].limit->name == "day");
  CHECK(matches[0].subject == "bot");
  CHECK(matches[0].limit->tokens == 1000);
  CHECK(matches[0].limit->token_kind == v1::TOKEN_KIND_OUTPUT);
  CHECK(matches[0].limit->period_ms == 86'400'000);
  CHECK(matches[1].limit->requests == 10);
  CHECK(matches[1].limit->period_ms == 3'600'000);
  CHECK(matches[1].limit->token_kind == v1::TOKEN_KIND_TOTAL);
  CHECK(matches[2].limit->concurrent == 3);
  CHECK(snapshot->FindRoute("queued")->limit_action.action == LimitActionSpec::Action::kQueue);
  CHECK(snapshot->FindRoute("queued")->limit_action.deadline_ms == 5'000);
  CHECK(snapshot->FindRoute("chat")->limit_action.action == LimitActionSpec::Action::kReject);
}

TEST_CASE("a model is billed by its own price, the resolved one, or not at all") {
  FakeControlPlane cp;
  v1::Resource resolved;
  v1::Model& model = *resolved.mutable_model();
  model.set_name("resolved");
  model.set_provider("mock");
  model.set_output_tokens_max(4096);
  model.mutable_resolved_price()->mutable_price()->set_input(7);
  model.mutable_resolved_price()->set_source("price_book/house");
  v1::Resource unpriced;
  unpriced.mutable_model()->set_name("unpriced");
  unpriced.mutable_model()->set_provider("mock");
  unpriced.mutable_model()->mutable_resolved_price()->set_unpriced(true);
  cp.Put(resolved);
  cp.Put(unpriced);
  cp.Commit();
  const SnapshotPtr snapshot = BuildGood(cp);
  const ModelSpec& by_book = *snapshot->FindRoute("resolved")->targets[0].model;
  REQUIRE(by_book.price != nullptr);
  CHECK(by_book.price->standard.base.input == 7);
  CHECK(by_book.output_tokens_max == 4096);
  CHECK_FALSE(by_book.unpriced);
  const ModelSpec& by_nobody = *snapshot->FindRoute("unpriced")->targets[0].model;
  CHECK(by_nobody.price == nullptr);
  CHECK(by_nobody.unpriced);
}

TEST_CASE("a delta changes budgets, and keys of scopes are not missed") {
  FakeControlPlane cp;
  v1::Resource budget = BudgetResource("b");
  budget.mutable_budget()->mutable_scope()->set_key("bot");
  cp.Put(budget);
  cp.Commit();
  const SnapshotPtr first = BuildGood(cp);
  const Facts facts{.key = "bot"};
  CHECK(BudgetNames(*first, facts, false) == Names{"b"});

  budget.mutable_budget()->set_frozen(true);
  cp.Put(budget);
  auto second = Apply(*first, cp.Commit(), OptionsOf(cp));
  REQUIRE(second.has_value());
  std::vector<BudgetMatch> matches;
  (*second)->MatchBudgets(facts, false, matches);
  REQUIRE(matches.size() == 1);
  CHECK(matches[0].budget->frozen);

  cp.Remove(v1::KIND_BUDGET, "b");
  const auto third = Apply(**second, cp.Commit(), OptionsOf(cp));
  REQUIRE(third.has_value());
  CHECK((*third)->budget_count() == 0);
  CHECK(BudgetNames(**third, facts, false).empty());
  // What a request took with it lives on.
  CHECK(matches[0].budget->name == "b");
}

TEST_CASE("budgets that do not hold together, or are too many, refuse the snapshot") {
  SECTION("a budget of an unknown team") {
    FakeControlPlane cp;
    v1::Resource budget = BudgetResource("b");
    budget.mutable_budget()->mutable_scope()->set_team("nobody");
    cp.Put(budget);
    cp.Commit();
    const auto built = BuildOf(cp, OptionsOf(cp));
    REQUIRE_FALSE(built.has_value());
    CHECK(ClassOf(built.error()) == RefusalClass::kInvalid);
    CHECK(built.error().message.contains("budget/b scope.team = nobody"));
  }
  SECTION("a team that a budget names must stay") {
    FakeControlPlane cp;
    v1::Resource budget = BudgetResource("b");
    budget.mutable_budget()->mutable_scope()->set_organization("acme");
    cp.Put(budget);
    cp.Commit();
    const SnapshotPtr snapshot = BuildGood(cp);
    cp.Remove(v1::KIND_ORGANIZATION, "acme");
    CHECK_FALSE(Apply(*snapshot, cp.Commit(), OptionsOf(cp)).has_value());
  }
  SECTION("too many") {
    FakeControlPlane cp;
    for (int i = 0; i < 4; ++i) cp.Put(BudgetResource("b" + std::to_string(i)));
    cp.Put(LimitResource("l0"));
    cp.Put(LimitResource("l1"));
    cp.Commit();
    BuildOptions options = OptionsOf(cp);
    options.limits.budgets_max = 4;
    options.limits.rate_limits_max = 2;
    CHECK(BuildOf(cp, options).has_value());
    options.limits.budgets_max = 3;
    CHECK(ClassOf(BuildOf(cp, options).error()) == RefusalClass::kOversized);
    options.limits.budgets_max = 4;
    options.limits.rate_limits_max = 1;
    CHECK(BuildOf(cp, options).error().message.contains("more than 1 rate limits"));
  }
}

}  // namespace spillway
