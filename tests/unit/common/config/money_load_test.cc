#include <catch2/catch_all.hpp>

#include "common/config/load.h"
#include "common/config/resource.h"
#include "common/config/validate.h"
#include "tests/unit/common/config/config_samples.h"

namespace spillway::config {
namespace {

v1::Resource Sample(v1::Kind kind, std::string_view name) {
  const LoadResult result = LoadText(kFullSample);
  REQUIRE(result.violations.empty());
  for (const v1::Resource& resource : result.config.resources) {
    if (KindOf(resource) == kind && NameOf(resource) == name) return resource;
  }
  FAIL("no " << name);
  std::abort();
}

std::string Budget(const std::string& extra) {
  return "budgets:\n  - name: b\n    " + extra + "\n";
}
// One with all it needs, so that `extra` alone can be wrong.
std::string WholeBudget(const std::string& extra) {
  return "budgets:\n  - name: b\n    scope: {}\n    limit_usd: 1\n    window: day\n    " + extra +
         "\n";
}
std::string LimitText(const std::string& extra) {
  return "rate_limits:\n  - {name: r, scope: {}, " + extra + "}\n";
}
std::string Route(const std::string& extra) {
  return "routes:\n  - {name: r, targets: [{model: m}], " + extra + "}\n";
}
std::string Sink(const std::string& extra) { return "alert_sinks: [{name: s, " + extra + "}]\n"; }
std::string Book(const std::string& extra) { return "price_books: [{name: p, " + extra + "}]\n"; }

struct LoadRow {
  std::string name;
  std::string text;
  std::string want;
};

}  // namespace

TEST_CASE("every field of a budget is read") {
  const v1::Budget month = Sample(v1::KIND_BUDGET, "support-month").budget();
  CHECK(month.scope().organization() == "acme");
  CHECK(month.scope().team() == "support");
  CHECK(month.scope().tags().at("cost center") == "0042");
  CHECK(month.scope().tags().at("stage") == "prod");
  CHECK(month.limit_nanos() == 500'000'000'000);
  CHECK(month.window() == v1::WINDOW_MONTH);
  CHECK(month.time_zone() == "Europe/Berlin");
  CHECK(std::vector<int>(month.alerts().begin(), month.alerts().end()) == std::vector{50, 80, 95});
  CHECK(month.notify_size() == 2);
  CHECK(month.on_exhausted() == v1::ON_EXHAUSTED_DOWNGRADE);
  CHECK(month.downgrade_to() == "cheap");
  CHECK(month.on_partition() == v1::ON_PARTITION_LEASED);
  CHECK(month.on_overrun() == v1::ON_OVERRUN_CAP);
  CHECK(month.raise_nanos() == 20'000'000'000);
  CHECK(month.raise_until_ms() == 1'796'083'200'000);
  CHECK(month.frozen());
  CHECK(month.id().empty());

  const v1::Budget day = Sample(v1::KIND_BUDGET, "user-day").budget();
  CHECK(day.window() == v1::WINDOW_ROLLING);
  CHECK(day.rolling_hours() == 24);
  CHECK(day.scope().each() == "user");
  CHECK(day.scope().model() == "llama");
  CHECK(day.scope().provider() == "local");
  CHECK(day.on_exhausted() == v1::ON_EXHAUSTED_WARN);
  CHECK(day.open_unheard());
  CHECK_FALSE(day.frozen());
  const v1::Budget week = Sample(v1::KIND_BUDGET, "key-week").budget();
  CHECK(week.scope().key() == "old");
  CHECK(week.scope().route() == "cheap");
  CHECK(week.scope().user() == "bob");
  CHECK(week.scope().feature() == "a b");
  CHECK(week.scope().each() == "tag:project");
  CHECK(week.on_partition() == v1::ON_PARTITION_CLOSED);
  CHECK(Sample(v1::KIND_BUDGET, "total").budget().has_scope());
}

TEST_CASE("every field of limits, sinks and limit actions is read") {
  const v1::RateLimit limit = Sample(v1::KIND_RATE_LIMIT, "user-hour").rate_limit();
  CHECK(limit.requests() == 1000);
  CHECK(limit.tokens() == 100'000);
  CHECK(limit.token_kind() == v1::TOKEN_KIND_OUTPUT);
  CHECK(limit.concurrent() == 10);
  CHECK(limit.per() == v1::PERIOD_HOUR);
  const v1::AlertSink sink = Sample(v1::KIND_ALERT_SINK, "ops").alert_sink();
  CHECK(sink.kind() == v1::AlertSink::KIND_WEBHOOK);
  CHECK(sink.url().reference() == "${env:ALERT_URL}");
  CHECK(sink.url().plaintext() == "https://alerts.example/in?token=t0ken");
  CHECK(sink.signing_secret().reference() == "(literal)");
  CHECK(Sample(v1::KIND_ALERT_SINK, "chat").alert_sink().kind() == v1::AlertSink::KIND_SLACK);
  CHECK_FALSE(Sample(v1::KIND_ALERT_SINK, "chat").alert_sink().has_signing_secret());
  const v1::LimitAction queue = Sample(v1::KIND_ROUTE, "cheap").route().limit_action();
  CHECK(queue.action() == v1::LimitAction::ACTION_QUEUE);
  CHECK(queue.deadline_ms() == 5'000);
  const v1::LimitAction downgrade = Sample(v1::KIND_ROUTE, "support-tier").route().limit_action();
  CHECK(downgrade.action() == v1::LimitAction::ACTION_DOWNGRADE);
  CHECK(downgrade.to() == "cheap");
}

TEST_CASE("every field of prices and price books is read") {
  const v1::Model model = Sample(v1::KIND_MODEL, "gpt-5-mini").model();
  CHECK(model.output_tokens_max() == 128'000);
  const v1::Price& price = model.price();
  CHECK(price.cache_write_5m() == 300'000'000);
  CHECK(price.cache_write_1h() == 400'000'000);
  CHECK(price.reasoning() == 2'500'000'000);
  CHECK(price.audio_input() == 10'000'000'000);
  CHECK(price.audio_output() == 20'000'000'000);
  CHECK(price.image() == 40'000'000);
  CHECK(price.request() == 1'000'000);
  REQUIRE(price.long_context_size() == 2);
  CHECK(price.long_context(1).above_input_tokens() == 400'000);
  CHECK(price.long_context(1).price().input() == 1'000'000'000);
  CHECK_FALSE(price.long_context(1).price().has_output());
  REQUIRE(price.tiers_size() == 2);
  CHECK(price.tiers(0).tier() == "batch");
  CHECK(price.tiers(0).percent() == 50);
  CHECK_FALSE(price.tiers(0).has_price());
  CHECK(price.tiers(1).price().output() == 4'000'000'000);
  CHECK(price.tiers(1).price().long_context(0).above_input_tokens() == 9);

  const v1::PriceBook book = Sample(v1::KIND_PRICE_BOOK, "house").price_book();
  CHECK(book.dated() == "2026-11-20");
  CHECK(book.unknown() == v1::UNKNOWN_PRICE_DEFAULT);
  CHECK(book.default_price().tiers(0).percent() == 50);
  REQUIRE(book.models_size() == 2);
  CHECK(book.models(0).model() == "gpt-x");
  CHECK(book.models(0).output_tokens_max() == 16'000);
  CHECK(book.models(1).model() == "vendor/model: free");
}

TEST_CASE("what a file says wrongly about money is refused with its place") {
  const auto row = GENERATE(values<LoadRow>({
      {"no scope", Budget("limit_usd: 1"), "budget/b scope: is required"},
      {"scope no map", Budget("scope: all"), "budget/b scope: must be a map of fields"},
      {"no limit", Budget("scope: {}"), "budget/b limit_usd: is required"},
      {"no window", Budget("scope: {}"),
       "budget/b window: is required: day, week, month or lifetime"},
      {"a wrong window",
       WholeBudget("on_overrun: cap\n  - {name: c, scope: {}, limit_usd: 1, window: year}"),
       "budget/c window = year: must be day, week, month or lifetime, or hours such as 24h"},
      {"no hours", "budgets: [{name: b, scope: {}, limit_usd: 1, window: h}]",
       "window = h: must be"},
      {"days", "budgets: [{name: b, scope: {}, limit_usd: 1, window: 7d}]", "window = 7d: must be"},
      {"negative hours", "budgets: [{name: b, scope: {}, limit_usd: 1, window: -1h}]",
       "window = -1h: must be"},
      {"money as a float", "budgets: [{name: b, scope: {}, limit_usd: 1e3, window: day}]",
       "budget/b limit_usd = 1e3: must be a decimal number of USD"},
      {"an empty scope text",
       "budgets: [{name: b, scope: {team: \"\"}, limit_usd: 1, window: day}]",
       "budget/b scope.team: must not be empty; leave it out"},
      {"an unknown dimension", "budgets: [{name: b, scope: {tema: x}, limit_usd: 1, window: day}]",
       "budget/b scope.tema: this version does not know this field (did you mean team?)"},
      {"tags no map", "budgets: [{name: b, scope: {tags: [a]}, limit_usd: 1, window: day}]",
       "budget/b scope.tags: must be a map of fields"},
      {"a tag without value",
       "budgets: [{name: b, scope: {tags: {a: }}, limit_usd: 1, window: day}]",
       "budget/b scope.tags.a: must be a single value"},
      {"an empty tag", "budgets: [{name: b, scope: {tags: {a: \"\"}}, limit_usd: 1, window: day}]",
       "budget/b scope.tags.a: must not be empty"},
      {"a tag twice",
       "budgets: [{name: b, scope: {tags: {a: x, a: y}}, limit_usd: 1, window: day}]",
       "budget/b scope.tags.a: must not be given twice"},
      {"nine tags",
       "budgets: [{name: b, scope: {tags: {a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1, h: 1, i: 1}}, "
       "limit_usd: 1, window: day}]",
       "budget/b scope.tags: must be at most 8 tags"},
      {"alerts no list", WholeBudget("alerts: 50"), "budget/b alerts: must be a list of texts"},
      {"alerts with a percent sign", WholeBudget("alerts: [50%]"),
       "budget/b alerts = 50%: must be percentages of the limit"},
      {"on_exhausted", WholeBudget("on_exhausted: block"),
       "budget/b on_exhausted = block: must be reject or warn, or {downgrade: NAME}"},
      {"downgrade as a route writes it", WholeBudget("on_exhausted: {downgrade: {to: x}}"),
       "budget/b on_exhausted.downgrade: must be a single value"},
      {"on_partition", WholeBudget("on_partition: strict"),
       "budget/b on_partition = strict: must be open, leased or closed"},
      {"on_overrun", WholeBudget("on_overrun: stop"), "on_overrun = stop: must be finish or cap"},
      {"open_unheard", WholeBudget("open_unheard: 1"), "open_unheard = 1: must be true or false"},
      {"a raise without end", WholeBudget("raise: {usd: 5}"), "budget/b raise.until: is required"},
      {"a raise of nothing", WholeBudget("raise: {usd: 0, until: 2027-01-01}"),
       "budget/b raise.usd = 0: must be more than 0"},
      {"a raise until no date", WholeBudget("raise: {usd: 1, until: soon}"),
       "budget/b raise.until = soon: must be a date"},
      {"a thaw by file", WholeBudget("frozen: false"),
       "budget/b frozen = false: must be true or left out"},
      {"an id", WholeBudget("id: x"), "budget/b id: this version does not know this field"},
      {"requests", LimitText("requests: 0, per: hour"),
       "rate_limit/r requests = 0: must be a whole number from 1"},
      {"requests in words", LimitText("requests: many, per: hour"),
       "requests = many: must be a whole number"},
      {"per", LimitText("requests: 1, per: week"),
       "rate_limit/r per = week: must be second, minute, hour or day"},
      {"token_kind", LimitText("tokens: 1, token_kind: cached, per: hour"),
       "rate_limit/r token_kind = cached: must be total, input or output"},
      {"limit_action", Route("limit_action: drop"),
       "route/r limit_action = drop: must be reject, {queue"},
      {"an empty limit_action", Route("limit_action: {}"),
       "route/r limit_action: must be reject, {queue"},
      {"both limit_actions", Route("limit_action: {queue: {deadline: 1s}, downgrade: {to: m}}"),
       "route/r limit_action: must be reject"},
      {"queue without deadline", Route("limit_action: {queue: {}}"),
       "route/r limit_action.queue.deadline: is required"},
      {"queue for 0s", Route("limit_action: {queue: {deadline: 0s}}"),
       "limit_action.queue.deadline = 0: must be at least 1ms"},
      {"downgrade to nothing", Route("limit_action: {downgrade: {}}"),
       "route/r limit_action.downgrade.to: is required"},
      {"sink without kind", Sink("url: https://a.example"), "alert_sink/s kind: is required"},
      {"sink of a wrong kind", Sink("kind: pager, url: https://a.example"),
       "alert_sink/s kind = pager: must be webhook or slack"},
      {"sink without url", Sink("kind: slack"), "alert_sink/s url: is required"},
      {"sink with an unset url", Sink("kind: slack, url: \"${env:NOPE}\""),
       "alert_sink/s url = ${env:NOPE}: the environment variable is not set"},
      {"book: models no map", Book("models: [a]"), "price_book/p models: must be a map of fields"},
      {"book: price no map", Book("models: {gpt-x: 1}"),
       "price_book/p models.gpt-x: must be a map of fields"},
      {"book: model twice", Book("models: {m: {input: 1}, m: {input: 2}}"),
       "price_book/p models.m: must not be given twice"},
      {"book: empty name", Book("models: {\"\": {input: 1}}"),
       "price_book/p models: names must be texts"},
      {"book: unknown field", Book("models: {m: {inptu: 1}}"),
       "price_book/p models.m.inptu: this version does not know this field (did you mean input?)"},
      {"book: unknown", Book("unknown: guess"),
       "price_book/p unknown = guess: must be refuse or allow, or {default: {input: ..., output: "
       "...}}"},
      {"book: unknown default without price", Book("unknown: {}"),
       "price_book/p unknown.default: is required"},
      {"a step without threshold", Book("models: {m: {input: 1, long_context: [{input: 2}]}}"),
       "price_book/p models.m.long_context[0].above: is required"},
      {"a step with tiers", Book("models: {m: {input: 1, long_context: [{above: 1, tiers: {}}]}}"),
       "models.m.long_context[0].tiers: this version does not know"},
      {"a tier with tiers", Book("models: {m: {input: 1, tiers: {batch: {tiers: {}}}}}"),
       "models.m.tiers.batch.tiers: this version does not know"},
      {"percent in words", Book("models: {m: {input: 1, tiers: {batch: {percent: half}}}}"),
       "models.m.tiers.batch.percent = half: must be a whole number"},
      {"negative output tokens", Book("models: {m: {input: 1, output_tokens_max: -5}}"),
       "models.m.output_tokens_max = -5: must be a whole number from 1"},
  }));
  CAPTURE(row.name);
  const std::string said = Describe(LoadText(row.text).violations);
  CAPTURE(said);
  CHECK(said.contains(row.want));
  CHECK(said.contains("(gateway.yaml:"));
}

TEST_CASE("a standalone file may say that a budget is not frozen") {
  const LoadResult result = LoadText(WholeBudget("frozen: false"), /*standalone=*/true);
  CHECK(result.violations.empty());
  CHECK_FALSE(result.config.resources.at(0).budget().frozen());
}

TEST_CASE("a price book of 20,001 names is refused at once") {
  std::string text = "price_books:\n  - name: p\n    models:\n";
  for (int i = 0; i <= 20'000; ++i) text += "      m" + std::to_string(i) + ": {input: 1}\n";
  const LoadResult result = LoadText(text);
  REQUIRE(result.violations.size() == 1);
  CHECK(Describe(result.violations).contains("models: must have at most 20000 names"));
}

}  // namespace spillway::config
