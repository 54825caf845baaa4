#include <catch2/catch_all.hpp>

#include "common/config/prices.h"
#include "common/config/resource.h"
#include "common/config/validate.h"
#include "tests/unit/common/config/config_samples.h"

namespace spillway::config {
namespace {

constexpr std::string_view kMoneyBase = R"(
providers: [{name: p, dialect: openai, base_url: "https://a.example/v1", credentials: []}]
models: [{name: m, provider: p, price: {input: 1}}, {name: n, provider: p, price: {input: 1}}]
routes: [{name: r, targets: [{model: m}]}, {name: s, targets: [{model: n}]}]
organizations: [{name: o}]
teams: [{name: t, organization: o}]
keys: [{name: k, team: t}]
alert_sinks: [{name: ops, kind: slack, url: "https://hooks.example/x"}]
)";

std::vector<v1::Resource> With(const std::string& text) {
  LoadResult result = LoadText(std::string(kMoneyBase) + "---\n" + text);
  CAPTURE(Describe(result.violations));
  REQUIRE(result.violations.empty());
  return std::move(result.config.resources);
}

std::string Said(std::vector<v1::Resource> resources, ValidateOptions options = {}) {
  return Describe(Validate(std::move(resources), options).violations);
}

std::string BudgetWith(const std::string& scope, const std::string& rest = "window: day") {
  return "budgets: [{name: b, scope: {" + scope + "}, limit_usd: 1, " + rest + "}]";
}
std::string LimitWith(const std::string& rest) { return "rate_limits: [{name: l, " + rest + "}]"; }
std::string Priced(const std::string& price) {
  return "models: [{name: x, provider: p, price: {" + price + "}}]";
}

struct ScopeRow {
  std::string name;
  std::string text;
  std::string want;  // empty: good
};

void CheckScopeRow(const ScopeRow& row) {
  CAPTURE(row.name);
  const std::string said = Said(With(row.text));
  CAPTURE(said);
  if (row.want.empty()) {
    CHECK(said.empty());
  } else {
    CHECK(said.contains(row.want));
  }
}

}  // namespace

TEST_CASE("scopes name what there is") {
  CheckScopeRow(GENERATE(values<ScopeRow>({
      {"all of them",
       BudgetWith("organization: o, team: t, key: k, route: r, model: m, provider: p"), ""},
      {"a model called by its own name", BudgetWith("route: m"), ""},
      {"a user, a feature and a tag that nobody declared",
       BudgetWith("user: anybody, feature: \"x y\", tags: {\"a b\": c}"), ""},
      {"everything", BudgetWith(""), ""},
      {"each tag", BudgetWith("each: \"tag:project\""), ""},
      {"organization", BudgetWith("organization: x"),
       "budget/b scope.organization = x: must name a declared organization"},
      {"team", BudgetWith("team: x"), "budget/b scope.team = x: must name a declared team"},
      {"key", BudgetWith("key: x"), "budget/b scope.key = x: must name a declared key"},
      {"route", BudgetWith("route: x"),
       "budget/b scope.route = x: must name a declared model or route"},
      {"model", BudgetWith("model: r"), "budget/b scope.model = r: must name a declared model"},
      {"provider", LimitWith("scope: {provider: x}, requests: 1, per: hour"),
       "rate_limit/l scope.provider = x: must name a declared provider"},
      {"each of nothing known", BudgetWith("each: city"),
       "budget/b scope.each = city: must be organization, team, user"},
      {"each tag without a name", BudgetWith("each: \"tag:\""),
       "scope.each = tag:: must name a tag"},
      {"each of what is named", BudgetWith("team: t, each: team"),
       "budget/b scope.each = team: must not be named in the same scope too"},
      {"each of a named tag", BudgetWith("tags: {a: x}, each: \"tag:a\""),
       "scope.each = tag:a: must not be named"},
      {"a long user", BudgetWith("user: " + std::string(129, 'u')),
       "budget/b scope.user: must be at most 128"},
      {"a long tag", BudgetWith("tags: {a: " + std::string(65, 'v') + "}"),
       "budget/b scope.tags: names and values"},
      {"a team of no name", BudgetWith("team: \"a b\""), "budget/b scope = a b: must be 1 to 128"},
  })));
}

TEST_CASE("budgets hold together") {
  CheckScopeRow(GENERATE(values<ScopeRow>({
      {"a whole one",
       BudgetWith("each: user",
                  "window: month, time_zone: Europe/Berlin, alerts: [50, 100, 1000], notify: "
                  "[ops], on_exhausted: {downgrade: s}, open_unheard: true, raise: {usd: "
                  "1, until: 2030-01-01}"),
       ""},
      {"the longest rolling window", BudgetWith("", "window: 744h"), ""},
      {"nothing to spend", "budgets: [{name: b, scope: {}, limit_usd: 0, window: day}]",
       "budget/b limit_usd = 0: must be more than 0"},
      {"too much", "budgets: [{name: b, scope: {}, limit_usd: 1000000001, window: day}]",
       "budget/b limit_usd = 1000000001: must be more than 0 and at most"},
      {"too long a window", BudgetWith("", "window: 745h"),
       "budget/b window = 745h: must be from 1h to 744h"},
      {"an unknown zone", BudgetWith("", "window: day, time_zone: Mars/Olympus"),
       "budget/b time_zone = Mars/Olympus: "},
      {"a zone of a rolling window", BudgetWith("", "window: 24h, time_zone: Europe/Berlin"),
       "budget/b time_zone = Europe/Berlin: has no meaning"},
      {"an alert at nothing", BudgetWith("", "window: day, alerts: [0]"),
       "budget/b alerts = 0: must be from 1 to 1000"},
      {"an alert twice", BudgetWith("", "window: day, alerts: [50, 80, 50]"),
       "budget/b alerts = 50: must not be given twice"},
      {"too many alerts",
       BudgetWith("", "window: day, alerts: [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]"),
       "budget/b alerts = 17: must be at most 16"},
      {"an unknown sink", BudgetWith("", "window: day, notify: [ops, pager]"),
       "budget/b notify[1] = pager: must name a declared alert_sink"},
      {"a sink twice", BudgetWith("", "window: day, notify: [ops, ops]"),
       "budget/b notify = ops: must not be given twice"},
      {"a downgrade to nowhere", BudgetWith("", "window: day, on_exhausted: {downgrade: x}"),
       "budget/b on_exhausted.downgrade = x: must name a declared model or route"},
      {"a downgrade without a name", BudgetWith("", "window: day, on_exhausted: {}"),
       "budget/b on_exhausted.downgrade: is required"},
      {"open_unheard of a leased budget",
       BudgetWith("", "window: day, on_partition: leased, open_unheard: true"),
       "budget/b open_unheard = true: has a meaning with on_partition: open only"},
      {"a downgrade to itself", BudgetWith("route: r", "window: day, on_exhausted: {downgrade: r}"),
       "budget/b on_exhausted.downgrade = r: must not lead back to r"},
      {"a downgrade without a route binds all and ends there",
       BudgetWith("team: t", "window: day, on_exhausted: {downgrade: r}"), ""},
      {"two budgets in a circle",
       "budgets: [{name: a, scope: {route: r}, limit_usd: 1, window: day, on_exhausted: "
       "{downgrade: "
       "s}}, {name: b, scope: {route: s}, limit_usd: 1, window: day, on_exhausted: {downgrade: "
       "r}}]",
       "budget/b on_exhausted.downgrade = r: must not lead back to r"},
  })));
}

TEST_CASE("rate limits hold together") {
  CheckScopeRow(GENERATE(values<ScopeRow>({
      {"all three",
       LimitWith("scope: {each: key}, requests: 1, tokens: 2, concurrent: 3, per: day"), ""},
      {"concurrent alone", LimitWith("scope: {}, concurrent: 3"), ""},
      {"nothing limited", LimitWith("scope: {}, per: hour"),
       "rate_limit/l requests: is required, or tokens"},
      {"no period", LimitWith("scope: {}, requests: 1"), "rate_limit/l per: is required"},
      {"a period of concurrent requests", LimitWith("scope: {}, concurrent: 1, per: hour"),
       "rate_limit/l per: has no meaning"},
      {"a kind of no tokens", LimitWith("scope: {}, requests: 1, token_kind: input, per: hour"),
       "rate_limit/l token_kind: has a meaning with tokens only"},
      {"too many", LimitWith("scope: {}, requests: 1000000000001, per: hour"),
       "rate_limit/l requests = 1000000000001: must be from 0 to 1000000000000"},
      {"too many at once", LimitWith("scope: {}, concurrent: 1000001"),
       "rate_limit/l concurrent = 1000001"},
  })));
}

TEST_CASE("limit actions hold together") {
  const auto route = [](const std::string& rest) {
    return "routes: [{name: q, targets: [{model: m}], limit_action: " + rest + "}]";
  };
  CheckScopeRow(GENERATE_COPY(values<ScopeRow>({
      {"to a model", route("{downgrade: {to: m}}"), ""},
      {"ten minutes", route("{queue: {deadline: 10m}}"), ""},
      {"too long", route("{queue: {deadline: 601s}}"),
       "route/q limit_action.queue.deadline = 601s: must be from 1ms to 10m"},
      {"to nowhere", route("{downgrade: {to: x}}"),
       "route/q limit_action.downgrade.to = x: must name a declared model or route"},
      {"to itself", route("{downgrade: {to: q}}"),
       "route/q limit_action.downgrade.to = q: must not lead back to q"},
      {"in a circle with a budget",
       route("{downgrade: {to: s}}") +
           "\nbudgets: [{name: b, scope: {route: s}, limit_usd: 1, window: day, on_exhausted: "
           "{downgrade: q}}]",
       "route/q limit_action.downgrade.to = s: must not lead back to s"},
  })));
}

TEST_CASE("prices and price books hold together") {
  CheckScopeRow(GENERATE(values<ScopeRow>({
      {"an image out of range", Priced("input: 1, image: 1000001"),
       "model/x price.image = 1000001: must be from 0 to 1000000"},
      {"a step out of range", Priced("input: 1, long_context: [{above: 9, output: 1000001}]"),
       "model/x price.long_context[0].output = 1000001"},
      {"steps that fall",
       Priced("input: 1, long_context: [{above: 9, input: 2}, {above: 9, input: 3}]"),
       "model/x price.long_context[1].above = 9: must be more than the one before it"},
      {"a tier of nothing", Priced("input: 1, tiers: {batch: {}}"),
       "model/x price.tiers.batch: must be either a percent"},
      {"a tier of both", Priced("input: 1, tiers: {batch: {percent: 50, input: 1}}"),
       "model/x price.tiers.batch: must be either a percent"},
      {"a large percentage", Priced("input: 1, tiers: {batch: {percent: 1001}}"),
       "model/x price.tiers.batch.percent = 1001: must be from 1 to 1000"},
      {"a tier's name", Priced("input: 1, tiers: {\"a b\": {percent: 50}}"),
       "model/x price.tiers.a b = a b: must be the name of a service tier"},
      {"a book's entry without input", "price_books: [{name: b, models: {q: {output: 1}}}]",
       "price_book/b models.q.input: is required"},
      {"a default without input", "price_books: [{name: b, unknown: {default: {output: 1}}}]",
       "price_book/b unknown.default.input: is required"},
      {"two policies",
       "price_books: [{name: a, unknown: allow}, {name: b, unknown: refuse}, {name: c}]",
       "price_book/b unknown: must be said once: price book a says it too"},
      {"one policy", "price_books: [{name: a, unknown: allow}, {name: b}]", ""},
  })));
}

TEST_CASE("a model needs a price that somebody knows") {
  constexpr const char* kModel =
      "models: [{name: x, provider: p, upstream_model: nobody-knows-it}]\n";
  struct Policy {
    std::string name;
    std::string books;
    bool good;
  };
  const auto row = GENERATE(values<Policy>({
      {"nothing", "", false},
      {"refuse", "price_books: [{name: b, unknown: refuse}]", false},
      {"allow", "price_books: [{name: b, unknown: allow}]", true},
      {"default", "price_books: [{name: b, unknown: {default: {input: 1}}}]", true},
      {"a book that knows it", "price_books: [{name: b, models: {nobody-knows-it: {input: 1}}}]",
       true},
  }));
  CAPTURE(row.name);
  std::vector<v1::Resource> resources = With(kModel + row.books);
  // As it is read, before anybody resolved it.
  CHECK(Said(resources).contains("model/x price.input: is required"));
  ResolvePrices(resources);
  const std::string said = Said(resources);
  CAPTURE(said);
  CHECK(said.empty() == row.good);
  Unvalidated loaded{.resources = With(kModel + row.books), .places = {}};
  const bool valid = ValidateLoaded(std::move(loaded)).ok();
  CHECK(valid == row.good);
}

TEST_CASE("the address of an alert sink is checked and never repeated") {
  const auto url = GENERATE(
      values<std::string>({"ftp://a.example/t0ken", "https://me:t0ken@a.example",
                           "https://a.example/x#t0ken", "http://169.254.169.254/t0ken", "t0ken"}));
  const std::string said =
      Said(With("alert_sinks: [{name: s, kind: webhook, url: \"" + url + "\"}]"));
  CAPTURE(url, said);
  CHECK(said.contains("alert_sink/s url = (literal): "));
  CHECK_FALSE(said.contains("t0ken"));
}

TEST_CASE("keys that are kept elsewhere are not missed") {
  const std::vector<v1::Resource> resources = With(BudgetWith("key: unknown"));
  CHECK_FALSE(Said(resources).empty());
  CHECK(Said(resources, {.keys_elsewhere = true}).empty());
}

TEST_CASE("what no file could say about money is refused in a message too") {
  const auto said_of = [](auto&& change) {
    std::vector<v1::Resource> resources =
        With(BudgetWith("") + "\n" + LimitWith("scope: {}, requests: 1, per: day"));
    for (v1::Resource& resource : resources) change(resource);
    return Said(std::move(resources));
  };
  const auto of_budget = [&](auto&& change) {
    return said_of([&](v1::Resource& r) {
      if (r.has_budget()) change(*r.mutable_budget());
    });
  };
  CHECK(of_budget([](v1::Budget& b) {
          b.set_window(v1::WINDOW_UNSPECIFIED);
        }).contains("budget/b window: is required"));
  CHECK(of_budget([](v1::Budget& b) {
          b.set_window(static_cast<v1::Window>(99));
        }).contains("window = 99"));
  CHECK(of_budget([](v1::Budget& b) {
          b.set_rolling_hours(5);
        }).contains("hours belong to a rolling window"));
  CHECK(
      of_budget([](v1::Budget& b) { b.set_limit_nanos(-1); }).contains("limit_usd = -0.000000001"));
  CHECK(of_budget([](v1::Budget& b) { b.set_raise_nanos(-1); }).contains("raise.usd"));
  CHECK(of_budget([](v1::Budget& b) {
          b.set_raise_nanos(1);
        }).contains("raise: needs both usd and until"));
  CHECK(of_budget([](v1::Budget& b) {
          b.set_downgrade_to("r");
        }).contains("must be absent without a downgrade"));
  CHECK(of_budget([](v1::Budget& b) {
          b.set_on_partition(static_cast<v1::OnPartition>(7));
        }).contains("on_partition = 7"));
  CHECK(of_budget([](v1::Budget& b) {
          b.set_id(std::string(200, 'x'));
        }).contains("budget/b id: must be at most"));
  CHECK(of_budget([](v1::Budget& b) {
          (*b.mutable_scope()->mutable_tags())[""] = "x";
        }).contains("scope.tags"));
  CHECK(said_of([](v1::Resource& r) {
          if (r.has_rate_limit()) r.mutable_rate_limit()->set_tokens(-1);
        }).contains("rate_limit/l tokens = -1"));
}

TEST_CASE("two budgets with one id are refused") {
  std::vector<v1::Resource> resources = With(
      "budgets: [{name: a, scope: {}, limit_usd: 1, window: day}, {name: b, scope: {}, limit_usd: "
      "1, "
      "window: day}]");
  CHECK(Said(resources).empty());
  for (v1::Resource& resource : resources)
    if (resource.has_budget()) resource.mutable_budget()->set_id("a-12345678");
  CHECK(Said(resources).contains("budget/b id = a-12345678: is the id of budget a too"));
}

TEST_CASE("a chain of 100,000 downgrades is walked without recursion") {
  std::vector<v1::Resource> resources = With("");
  constexpr int kRoutes = 100'000;
  for (int i = 0; i < kRoutes; ++i) {
    v1::Route& route = *resources.emplace_back().mutable_route();
    route.set_name("r" + std::to_string(i));
    route.add_targets()->set_model("m");
    route.mutable_limit_action()->set_action(v1::LimitAction::ACTION_DOWNGRADE);
    route.mutable_limit_action()->set_to("r" + std::to_string((i + 1) % kRoutes));
  }
  const auto validated = Validate(std::move(resources));
  CHECK(validated.violations.size() == 1);
}

}  // namespace spillway::config
