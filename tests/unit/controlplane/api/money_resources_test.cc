// What the store knows of budgets, alert sinks and prices beyond what files say.
#include <catch2/catch_all.hpp>
#include <string>
#include <vector>

#include "common/config/prices.h"
#include "controlplane/api/merge.h"
#include "tests/unit/controlplane/api/api_world.h"

namespace spillway::api {
namespace {

using Changes = std::vector<std::string>;

constexpr const char* kBudget =
    "budgets: [{name: day, scope: {each: user}, limit_usd: 5, window: day}]";

v1::Budget StoredBudget(const ApiWorld& world, const std::string& name = "day") {
  return world.Stored(v1::KIND_BUDGET, name).budget();
}

// As a command does: whatever `change` says, in one revision.
template <typename Change>
void ChangeBudget(ApiWorld& world, Change&& change) {
  const auto done = world.writer->Commit(
      {.author = "operator", .summary = "by hand"},
      [&](const ConfigStore::State& state) -> Outcome<ChangeSet> {
        v1::Resource resource =
            *ParseStored({v1::KIND_BUDGET, "day"}, state.at({v1::KIND_BUDGET, "day"}).bytes);
        change(*resource.mutable_budget());
        ChangeSet set(state);
        SW_CHECK(set.Put(resource));
        return set;
      });
  REQUIRE(done.has_value());
}

std::string Sink(const std::string& extra = "") {
  return "alert_sinks: [{name: ops, kind: webhook, url: \"${env:URL}\"" + extra + "}]";
}

std::string UnsealedUrl(const ApiWorld& world) {
  const v1::AlertSink sink = world.Stored(v1::KIND_ALERT_SINK, "ops").alert_sink();
  CHECK(sink.url().plaintext().empty());
  const auto value =
      world.seal_key->Unseal(sink.url().sealed(), SealPlace("alert_sink", "ops", "url"));
  REQUIRE(value.has_value());
  return std::string(value->Reveal());
}

constexpr const char* kUrl = "https://alerts.example/in?token=t0ken";

}  // namespace

TEST_CASE("a budget gets its id once, and keeps it while it counts the same") {
  struct Row {
    std::string name;
    std::string changed;
    bool same_id;
  };
  const auto row = GENERATE(values<Row>({
      {"the limit", "{name: day, scope: {each: user}, limit_usd: 7, window: day}", true},
      {"policies",
       "{name: day, scope: {each: user}, limit_usd: 5, window: day, on_exhausted: warn, "
       "on_partition: leased, alerts: [50]}",
       true},
      {"the scope", "{name: day, scope: {each: team}, limit_usd: 5, window: day}", false},
      {"a tag", "{name: day, scope: {each: user, tags: {a: x}}, limit_usd: 5, window: day}", false},
      {"the window", "{name: day, scope: {each: user}, limit_usd: 5, window: week}", false},
      {"hours", "{name: day, scope: {each: user}, limit_usd: 5, window: 24h}", false},
      {"the zone",
       "{name: day, scope: {each: user}, limit_usd: 5, window: day, time_zone: Asia/Tokyo}", false},
  }));
  CAPTURE(row.name);
  ApiWorld world;
  world.MustApply(kBudget);
  const std::string id = StoredBudget(world).id();
  REQUIRE(id.size() == std::string("day-01234567").size());
  CHECK(id.starts_with("day-"));
  CHECK(id.find_first_not_of("0123456789abcdef", 4) == std::string::npos);
  world.MustApply("budgets: [" + row.changed + "]");
  CHECK((StoredBudget(world).id() == id) == row.same_id);
  CHECK(StoredBudget(world).id().starts_with("day-"));
}

TEST_CASE("applying the same budget again changes nothing, and a file's id is not taken over") {
  ApiWorld world;
  world.MustApply(kBudget);
  const std::string id = StoredBudget(world).id();
  const auto again = world.Apply(kBudget);
  REQUIRE(again.has_value());
  CHECK(again->changes().empty());
  CHECK(again->revision() == 1);
  CHECK(world.config->Diff(ApiWorld::Request(kBudget))->changes().empty());
  v1::ApplyRequest forged = ApiWorld::Request(kBudget);
  forged.mutable_resources(0)->mutable_budget()->set_id("other-00000000");
  CHECK(world.config->Apply(forged, "tester")->changes().empty());
  CHECK(StoredBudget(world).id() == id);
}

TEST_CASE("two budgets of one file have two ids, and one made anew another") {
  ApiWorld world;
  world.MustApply(kBudget);
  const std::string first = StoredBudget(world).id();
  v1::DeleteRequest gone;
  gone.set_kind(v1::KIND_BUDGET);
  gone.set_name("day");
  REQUIRE(world.config->Delete(gone, "tester").has_value());
  world.MustApply(kBudget);
  CHECK(StoredBudget(world).id() != first);
}

TEST_CASE("a freeze and a raise survive the file that does not name them") {
  ApiWorld world;
  world.MustApply(kBudget);
  ChangeBudget(world, [](v1::Budget& budget) {
    budget.set_frozen(true);
    budget.set_raise_nanos(20);
    budget.set_raise_until_ms(1'900'000'000'000);
  });
  CHECK(world.Apply(kBudget)->changes().empty());
  CHECK(StoredBudget(world).frozen());
  CHECK(StoredBudget(world).raise_nanos() == 20);
  // A file's own raise counts.
  world.MustApply(
      "budgets: [{name: day, scope: {each: user}, limit_usd: 5, window: day, raise: {usd: 3, "
      "until: "
      "2031-01-01}}]");
  CHECK(StoredBudget(world).raise_nanos() == 3'000'000'000);
  CHECK(StoredBudget(world).frozen());
  // Lifted by command it stays lifted.
  ChangeBudget(world, [](v1::Budget& budget) { budget.set_frozen(false); });
  CHECK(world.Apply(kBudget)->changes().empty());
  CHECK_FALSE(StoredBudget(world).frozen());
}

TEST_CASE("a rollback changes no spend: ids, freezes and raises are as they are now") {
  ApiWorld world;
  const int64_t first = world.MustApply(kBudget);
  const std::string id = StoredBudget(world).id();
  SECTION("a lower limit is taken back, a freeze is not") {
    world.MustApply("budgets: [{name: day, scope: {each: user}, limit_usd: 1, window: day}]");
    ChangeBudget(world, [](v1::Budget& budget) { budget.set_frozen(true); });
    REQUIRE(world.RollBack(first).has_value());
    CHECK(StoredBudget(world).limit_nanos() == 5'000'000'000);
    CHECK(StoredBudget(world).id() == id);
    CHECK(StoredBudget(world).frozen());
  }
  SECTION("one that was deleted comes back with what it spent") {
    world.MustApply("organizations: [{name: acme}]", /*prune=*/true);
    CHECK_FALSE(world.Has(v1::KIND_BUDGET, "day"));
    REQUIRE(world.RollBack(first).has_value());
    CHECK(StoredBudget(world).id() == id);
  }
  SECTION("one that was made anew keeps its own") {
    world.MustApply("organizations: [{name: acme}]", /*prune=*/true);
    world.MustApply("budgets: [{name: day, scope: {each: user}, limit_usd: 9, window: day}]");
    const std::string anew = StoredBudget(world).id();
    REQUIRE(anew != id);
    REQUIRE(world.RollBack(first).has_value());
    CHECK(StoredBudget(world).limit_nanos() == 5'000'000'000);
    CHECK(StoredBudget(world).id() == anew);
  }
  SECTION("another window then was another account") {
    world.MustApply("budgets: [{name: day, scope: {each: user}, limit_usd: 5, window: week}]");
    REQUIRE(world.RollBack(first).has_value());
    CHECK(StoredBudget(world).id() == id);
  }
}

TEST_CASE("an alert sink's secrets are stored sealed and kept like credentials") {
  ApiWorld world;
  world.MustApply(Sink(), false, kUrl);
  CHECK(UnsealedUrl(world) == kUrl);
  CHECK_FALSE(world.store->Find(v1::KIND_ALERT_SINK, "ops")->bytes.contains("t0ken"));
  const auto again = world.Apply(Sink(), false, kUrl);
  REQUIRE(again.has_value());
  CHECK(again->changes().empty());

  v1::ApplyRequest bare = ApiWorld::Request(Sink(), false, kUrl);
  bare.mutable_resources(0)->mutable_alert_sink()->mutable_url()->clear_plaintext();
  CHECK(world.config->Apply(bare, "tester")->changes().empty());
  CHECK(UnsealedUrl(world) == kUrl);
  bare.mutable_resources(0)->mutable_alert_sink()->mutable_url()->set_reference("${env:OTHER}");
  const auto other = world.config->Apply(bare, "tester");
  REQUIRE_FALSE(other.has_value());
  CHECK(other.error().violations[0].field() == "url");
  CHECK(other.error().violations[0].allowed().starts_with("must arrive with its value"));

  const auto changed = world.Apply(Sink(), false, "https://alerts.example/new");
  REQUIRE(changed.has_value());
  CHECK(ChangesOf(*changed) == Changes{"update alert_sink/ops"});
  CHECK(UnsealedUrl(world) == "https://alerts.example/new");
}

TEST_CASE("operators see no alert sink's secret") {
  ApiWorld world;
  world.MustApply(Sink(", signing_secret: \"${env:SIGNING}\""), false, kUrl);
  v1::GetRequest get;
  get.set_kind(v1::KIND_ALERT_SINK);
  get.set_name("ops");
  const auto shown = world.config->Get(get);
  REQUIRE(shown.has_value());
  CHECK(shown->resource().alert_sink().url().reference() == "${env:URL}");
  CHECK_FALSE(shown->resource().alert_sink().url().has_sealed());
  CHECK_FALSE(shown->resource().alert_sink().signing_secret().has_sealed());
  // A signing secret that a file leaves out signs no more.
  world.MustApply(Sink(), false, kUrl);
  CHECK_FALSE(world.Stored(v1::KIND_ALERT_SINK, "ops").alert_sink().has_signing_secret());
}

TEST_CASE("an address that leads nowhere is refused without being repeated") {
  ApiWorld world;
  const auto refused = world.Apply(Sink(), false, "ftp://alerts.example/t0ken");
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().violations[0].resource() == "alert_sink/ops");
  CHECK_FALSE(refused.error().message.contains("t0ken"));
  CHECK_FALSE(world.Has(v1::KIND_ALERT_SINK, "ops"));
}

TEST_CASE("models follow their price books") {
  ApiWorld world;
  constexpr const char* kModel =
      "providers: [{name: p, dialect: openai, base_url: 'http://127.0.0.1:1/v1', credentials: "
      "[]}]\n"
      "models: [{name: x, provider: p, upstream_model: nobody-knows-it}]\n";
  const auto resolved = [&] { return world.Stored(v1::KIND_MODEL, "x").model().resolved_price(); };
  CHECK_FALSE(world.Apply(kModel).has_value());
  world.MustApply(std::string(kModel) +
                  "price_books: [{name: house, models: {nobody-knows-it: {input: 2}}}]");
  CHECK(resolved().price().input() == 2'000'000'000);
  CHECK(resolved().source() == "price_book/house");
  // The same files again change nothing, the model's alone neither.
  CHECK(world.Apply(kModel)->changes().empty());
  CHECK(world.config->Diff(ApiWorld::Request(kModel))->changes().empty());

  // A new price changes the models that have it, in the same revision.
  const auto dearer =
      world.Apply("price_books: [{name: house, models: {nobody-knows-it: {input: 3}}}]");
  REQUIRE(dearer.has_value());
  CHECK(ChangesOf(*dearer) == Changes{"update model/x", "update price_book/house"});
  CHECK(resolved().price().input() == 3'000'000'000);
  // An own price wins, whatever a client says it resolves to.
  world.MustApply(
      "models: [{name: x, provider: p, upstream_model: nobody-knows-it, price: {input: 1}}]");
  CHECK_FALSE(resolved().has_price());
  v1::ApplyRequest forged = ApiWorld::Request(kModel);
  forged.mutable_resources(1)->mutable_model()->mutable_resolved_price()->set_unpriced(true);
  REQUIRE(world.config->Apply(forged, "tester").has_value());
  CHECK_FALSE(resolved().unpriced());
  CHECK(resolved().price().input() == 3'000'000'000);
  // The book may not go while a model lives by it.
  v1::DeleteRequest gone;
  gone.set_kind(v1::KIND_PRICE_BOOK);
  gone.set_name("house");
  const auto refused = world.config->Delete(gone, "tester");
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().violations[0].resource() == "model/x");
  world.MustApply("price_books: [{name: house, unknown: allow}]");
  CHECK(resolved().unpriced());
}

TEST_CASE("what a budget names cannot be deleted") {
  struct Row {
    v1::Kind kind;
    std::string name;
    std::string field;
  };
  const auto row = GENERATE(values<Row>({
      {v1::KIND_KEY, "spare", "scope.key"},
      {v1::KIND_TEAM, "sales", "scope.team"},
      {v1::KIND_ALERT_SINK, "ops", "notify[0]"},
  }));
  ApiWorld world;
  world.MustApply(kGateway);
  world.MustApply(
      "teams: [{name: sales}]\nkeys: [{name: spare}]\n" + Sink() +
          "\nbudgets: [{name: b, scope: {team: sales, key: spare}, limit_usd: 1, window: "
          "day, notify: [ops]}]",
      false, kUrl);
  v1::DeleteRequest request;
  request.set_kind(row.kind);
  request.set_name(row.name);
  const auto refused = world.config->Delete(request, "tester");
  REQUIRE_FALSE(refused.has_value());
  REQUIRE(refused.error().violations.size() == 1);
  CHECK(refused.error().violations[0].resource() == "budget/b");
  CHECK(refused.error().violations[0].field() == row.field);
  // Another key goes as ever.
  request.set_kind(v1::KIND_KEY);
  request.set_name("support-bot");
  CHECK(world.config->Delete(request, "tester").has_value());
}

}  // namespace spillway::api
