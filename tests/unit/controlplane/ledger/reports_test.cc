// Spend by anything, against a brute-force sum of the events; tags; open attempts; older rows.
#include <algorithm>
#include <array>
#include <random>

#include "common/utc.h"
#include "controlplane/ledger/keys.h"
#include "controlplane/ledger/spend.h"
#include "controlplane/ledger/totals.h"
#include "tests/unit/controlplane/ledger/usage_source.h"

namespace spillway {
namespace {

constexpr int64_t kHourMs = 3'600'000;

struct Event {
  int64_t time_ms = 0;
  v1::Finished finished;
};

std::string Pick(std::minstd_rand& random, const std::string& stem, int count) {
  return stem + std::to_string(std::uniform_int_distribution<int>(0, count - 1)(random));
}

// Every field that a report adds up, at random; consistent as a data plane makes them.
Event RandomEvent(std::minstd_rand& random) {
  const auto number = [&random](int64_t max) {
    return std::uniform_int_distribution<int64_t>(0, max)(random);
  };
  Event event{.time_ms = kTestHourMs + number(kHourMs * 24 * 40), .finished = {}};
  v1::Finished& finished = event.finished;
  v1::Attribution& who = *finished.mutable_attribution();
  who.set_organization(Pick(random, "org", 2));
  who.set_team(number(9) == 0 ? "" : Pick(random, "team", 4));
  who.set_user(Pick(random, "user", 5));
  who.set_key(Pick(random, "key", 3));
  who.set_feature(Pick(random, "feature", 3));
  who.set_model(Pick(random, "model", 3));
  who.set_route(Pick(random, "route", 2));
  who.set_provider(Pick(random, "provider", 2));
  for (const char* name : {"env", "customer"}) {
    if (number(3) == 0) continue;
    v1::Tag& tag = *who.add_tags();
    tag.set_name(name);
    tag.set_value(Pick(random, name, 3));
  }
  v1::Usage& usage = *finished.mutable_usage();
  usage.set_input_tokens(number(10'000));
  usage.set_output_tokens(number(1'000));
  usage.set_cache_write_5m_tokens(number(50));
  usage.set_cache_write_1h_tokens(number(50));
  usage.set_audio_input_tokens(number(20));
  usage.set_audio_output_tokens(number(20));
  usage.set_images(number(2));
  finished.set_winner(number(4) != 0);
  finished.set_fallback(number(4) == 0);
  finished.set_downgraded(number(9) == 0);
  finished.set_unpriced(number(9) == 0);
  finished.set_cost_nanos(finished.unpriced() ? 0 : number(1'000'000'000));
  finished.set_source(number(3) == 0 ? v1::USAGE_SOURCE_ESTIMATED : v1::USAGE_SOURCE_PROVIDER);
  constexpr std::array kEnds = {v1::END_FINISHED, v1::END_FINISHED, v1::END_CLIENT_LEFT,
                                v1::END_UPSTREAM_CUT, v1::END_UPSTREAM_ERROR};
  finished.set_end(kEnds[static_cast<size_t>(number(4))]);
  return event;
}

// Written apart from the code under test.
std::string NameOf(const Event& event, int dimension, const std::string& tag) {
  const v1::Attribution& who = event.finished.attribution();
  const std::string time = FormatUtc(event.time_ms);
  switch (dimension) {
    case v1::DIMENSION_ORGANIZATION:
      return who.organization();
    case v1::DIMENSION_TEAM:
      return who.team();
    case v1::DIMENSION_USER:
      return who.user();
    case v1::DIMENSION_KEY:
      return who.key();
    case v1::DIMENSION_FEATURE:
      return who.feature();
    case v1::DIMENSION_MODEL:
      return who.model();
    case v1::DIMENSION_ROUTE:
      return who.route();
    case v1::DIMENSION_PROVIDER:
      return who.provider();
    case v1::DIMENSION_HOUR:
      return time.substr(0, 13) + ":00:00Z";
    case v1::DIMENSION_DAY:
      return time.substr(0, 10);
    case v1::DIMENSION_MONTH:
      return time.substr(0, 7);
    default:
      for (const v1::Tag& found : who.tags())
        if (found.name() == tag) return found.value();
      return "";
  }
}

struct Sum {
  int64_t cost = 0, attempts = 0, estimated = 0, unpriced = 0, waste = 0, cache = 0, audio = 0;
  friend bool operator==(const Sum&, const Sum&) = default;
};

using Sums = std::map<std::vector<std::string>, Sum>;

bool Holds(const v1::QuerySpendRequest& request, const Event& event) {
  if (event.time_ms < request.since_ms()) return false;
  if (request.until_ms() != 0 && event.time_ms >= request.until_ms()) return false;
  for (const auto& [dimension, value] : request.where())
    if (NameOf(event, dimension, "") != value) return false;
  for (const auto& [tag, value] : request.where_tags())
    if (NameOf(event, v1::DIMENSION_TAG, tag) != value) return false;
  return true;
}

Sums BruteForce(const v1::QuerySpendRequest& request, const std::vector<Event>& events) {
  Sums table;
  for (const Event& event : events) {
    if (!Holds(request, event)) continue;
    std::vector<std::string> values;
    int tag = 0;
    for (const int by : request.by())
      values.push_back(
          NameOf(event, by, by == v1::DIMENSION_TAG ? request.tags(tag++) : std::string()));
    Sum& sum = table[values];
    const v1::Finished& f = event.finished;
    const bool left = f.end() == v1::END_CLIENT_LEFT;
    sum.cost += f.cost_nanos();
    sum.attempts += 1;
    sum.estimated += f.source() == v1::USAGE_SOURCE_ESTIMATED ? f.cost_nanos() : 0;
    sum.unpriced += f.unpriced() ? 1 : 0;
    sum.waste += left || !f.winner() || f.fallback() ? f.cost_nanos() : 0;
    sum.cache += f.usage().cache_write_5m_tokens() + f.usage().cache_write_1h_tokens();
    sum.audio += f.usage().audio_input_tokens() + f.usage().audio_output_tokens();
  }
  return table;
}

Sums SumsOf(const v1::QuerySpendResponse& response) {
  Sums table;
  for (const v1::SpendRow& row : response.rows()) {
    table[{row.values().begin(), row.values().end()}] = {
        .cost = row.cost_nanos(),
        .attempts = row.attempts(),
        .estimated = row.estimated_nanos(),
        .unpriced = row.unpriced_attempts(),
        .waste = row.retry_nanos() + row.fallback_nanos() + row.disconnect_nanos(),
        .cache = row.cache_write_5m_tokens() + row.cache_write_1h_tokens(),
        .audio = row.audio_input_tokens() + row.audio_output_tokens()};
  }
  return table;
}

std::vector<Event> FillLedger(Ledger& ledger, std::minstd_rand& random, int count) {
  UsageSource source("dp-1", 'a');
  std::vector<Event> events;
  for (int i = 0; i < count; ++i) {
    events.push_back(RandomEvent(random));
    source.Add([&](v1::UsageRecord& record) {
      record.set_time_ms(events.back().time_ms);
      *record.mutable_finished() = events.back().finished;
    });
  }
  for (const v1::UsageRun& run : source.Runs(random, 50)) Apply(ledger, {run});
  return events;
}

v1::QuerySpendRequest RandomQuery(std::minstd_rand& random, bool tags) {
  const auto below = [&random](int max) {
    return std::uniform_int_distribution<int>(0, max - 1)(random);
  };
  v1::QuerySpendRequest request;
  for (int i = below(4); i > 0; --i)
    request.add_by(static_cast<v1::Dimension>(1 + below(v1::DIMENSION_MONTH)));
  if (below(2) == 0) (*request.mutable_where())[v1::DIMENSION_TEAM] = Pick(random, "team", 4);
  // Roll-ups know whole hours, events any moment.
  const int64_t grain = tags ? 1 : kHourMs;
  request.set_since_ms((kTestHourMs + below(20 * 24) * kHourMs + below(3'000'000)) / grain * grain);
  if (below(2) == 0)
    request.set_until_ms((request.since_ms() + below(20 * 24) * kHourMs) / grain * grain);
  if (!tags) return request;
  request.add_by(v1::DIMENSION_TAG);
  request.add_tags("customer");
  if (below(2) == 0) (*request.mutable_where_tags())["env"] = Pick(random, "env", 3);
  return request;
}

TEST_CASE("every report equals the sum over the events, from roll-ups and from events") {
  const TempFolder folder;
  auto opened = OpenLedger(folder.path());
  std::minstd_rand random(Catch::getSeed());
  const std::vector<Event> events = FillLedger(*opened.ledger, random, 3000);
  for (int i = 0; i < 200; ++i) {
    v1::QuerySpendRequest request = RandomQuery(random, i % 2 == 1);
    if (request.until_ms() != 0 && request.until_ms() <= request.since_ms()) continue;
    const auto spend = opened.ledger->QuerySpend(request);
    INFO(request.DebugString());
    REQUIRE(spend.has_value());
    CHECK(SumsOf(*spend) == BruteForce(request, events));
    // The two ways agree where both can answer.
    if (i % 2 == 1) continue;
    request.set_from_events(true);
    CHECK(SumsOf(*opened.ledger->QuerySpend(request)) == BruteForce(request, events));
  }
  CheckVerified(*opened.ledger);
}

TEST_CASE("verify compares the newer totals too") {
  const TempFolder folder;
  auto opened = OpenLedger(folder.path());
  UsageSource source("dp-1", 'a');
  source.Run({.winner = false});
  Apply(*opened.ledger, {source.All()});
  std::string key;
  ledger::Totals totals;
  REQUIRE(opened.store->Scan(Table::kLedgerRollups, {}, {},
                             [&](std::string_view k, std::string_view bytes) {
                               key = k;
                               totals = ledger::Totals::FromBytes(bytes).value();
                               return true;
                             }));
  REQUIRE(totals.retries == 1);
  totals.retry_nanos -= 1;
  WriteBatch batch;
  batch.Put(Table::kLedgerRollups, key, totals.Bytes());
  const auto written = opened.store->Write(std::move(batch));
  REQUIRE(written);
  const auto verified = opened.ledger->Verify();
  REQUIRE(verified->differences_size() == 1);
  CHECK(verified->differences(0).contains("retries"));
}

TEST_CASE("rows that an older program wrote are added up, grow, and verify") {
  const TempFolder folder;
  UsageSource source("dp-1", 'a');
  source.Run({.cost = 5, .winner = false});
  {
    auto opened = OpenLedger(folder.path());
    Apply(*opened.ledger, {source.All()});
    std::string key;
    std::string bytes;
    REQUIRE(opened.store->Scan(Table::kLedgerRollups, {}, {},
                               [&](std::string_view k, std::string_view value) {
                                 key = k;
                                 bytes = value;
                                 return true;
                               }));
    WriteBatch batch;
    batch.Put(Table::kLedgerRollups, key, bytes.substr(0, 72));  // as it was stored before
    const auto written = opened.store->Write(std::move(batch));
    REQUIRE(written);
  }
  auto opened = OpenLedger(folder.path());
  CHECK(TotalOf(*opened.ledger).cost_nanos() == 5);
  CHECK(TotalOf(*opened.ledger).retries() == 0);
  CHECK(TotalOf(*opened.ledger).partial());
  CheckVerified(*opened.ledger);
  const int64_t before = source.last_seq();
  source.Run({.cost = 7, .winner = false});
  Apply(*opened.ledger, {source.Records(before + 1, source.last_seq())});
  CHECK(TotalOf(*opened.ledger).cost_nanos() == 12);
  CHECK(TotalOf(*opened.ledger).retry_nanos() == 7);
  CHECK(TotalOf(*opened.ledger).partial());
  CheckVerified(*opened.ledger);
}

TEST_CASE("what only events know is refused when it cannot be whole") {
  const TempFolder folder;
  auto opened = OpenLedger(folder.path(), {.retention_days = 1});
  UsageSource source("dp-1", 'a');
  source.Run({});
  Apply(*opened.ledger, {source.All()});
  const auto refusal = [&](const v1::QuerySpendRequest& request) {
    const auto spend = opened.ledger->QuerySpend(request);
    return spend ? std::string() : spend.error().param;
  };
  v1::QuerySpendRequest request;
  request.add_by(v1::DIMENSION_TAG);
  CHECK(refusal(request) == "tags");
  request.add_tags("env");
  CHECK(refusal(request) == "since_ms");
  request.set_since_ms(kTestHourMs);
  CHECK(refusal(request).empty());
  request.add_tags("one too many");
  CHECK(refusal(request) == "tags");
  v1::QuerySpendRequest where;
  (*where.mutable_where())[v1::DIMENSION_TAG] = "x";
  CHECK(refusal(where) == "where");
  REQUIRE(opened.ledger->BackUp(folder.path() + "/backups", kTestHourMs + kHourMs * 24 * 10));
  REQUIRE(opened.ledger->Prune(kTestHourMs + kHourMs * 24 * 10));
  v1::QuerySpendRequest events;
  events.set_from_events(true);
  events.set_since_ms(kTestHourMs);
  CHECK(refusal(events) == "since_ms");
  events.set_since_ms(kTestHourMs + kHourMs * 24 * 9);
  CHECK(refusal(events).empty());
}

TEST_CASE("attempts that have not ended stand beside the sums, for whom they run") {
  const TempFolder folder;
  auto opened = OpenLedger(folder.path());
  UsageSource source("dp-1", 'a');
  source.Run({.team = "a", .cost = 5});
  source.Start({.team = "a", .reserved = 30});
  source.Start({.team = "b", .reserved = 40});
  source.Start({.team = "b", .time_ms = kTestHourMs + 40 * kHourMs, .reserved = 400});
  Apply(*opened.ledger, {source.All()});
  v1::QuerySpendRequest request;
  request.add_by(v1::DIMENSION_TEAM);
  request.set_since_ms(kTestHourMs);
  request.set_until_ms(kTestHourMs + 24 * kHourMs);
  CHECK(opened.ledger->QuerySpend(request)->rows_size() == 1);
  request.set_with_open(true);
  opened.ledger->NoteKnown("dp-1", source.incarnation(), source.last_seq() + 3);
  const auto spend = opened.ledger->QuerySpend(request);
  REQUIRE(spend->rows_size() == 2);
  CHECK(spend->rows(0).values(0) == "a");
  CHECK(spend->rows(0).cost_nanos() == 5);
  CHECK(spend->rows(0).open_attempts() == 1);
  CHECK(spend->rows(1).values(0) == "b");
  CHECK(spend->rows(1).open_attempts() == 1);
  CHECK(spend->rows(1).open_reserved_nanos() == 40);
}

TEST_CASE("more groups than a report may have share one visible row") {
  v1::QuerySpendRequest request;
  request.add_by(v1::DIMENSION_USER);
  ledger::SpendGroups groups(request, 3);
  for (int i = 0; i < 10; ++i) {
    v1::Attribution who;
    who.set_user("u" + std::to_string(i));
    ledger::Totals totals;
    totals.cost_nanos = 1;
    groups.Add(ledger::FactsOf(kTestHourMs, who), totals);
  }
  const v1::QuerySpendResponse response = groups.Response();
  REQUIRE(response.rows_size() == 4);
  CHECK(response.rows(0).values(0) == kOverflowRow);
  CHECK(response.rows(0).cost_nanos() == 7);
}

}  // namespace
}  // namespace spillway
