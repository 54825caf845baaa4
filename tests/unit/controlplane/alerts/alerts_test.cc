#include "controlplane/alerts/alerts.h"

#include <algorithm>
#include <set>

#include "common/crypto/sha256.h"
#include "controlplane/alerts/signature.h"
#include "tests/unit/controlplane/alerts/alerts_world.h"

namespace spillway::alerts {
namespace {

TEST_CASE("a threshold is told once for each window and subject") {
  AlertsWorld world;
  world.Spend(4 * kUsd);
  CHECK(world.poster.taken.empty());
  world.Spend(5 * kUsd);
  REQUIRE(world.poster.taken.size() == 1);
  CHECK(world.poster.taken[0].body.contains(R"("threshold_percent":50)"));
  for (const Nanos spent : {6 * kUsd, 7 * kUsd, 5 * kUsd}) world.Spend(spent);
  CHECK(world.poster.taken.size() == 1);
  world.Spend(11 * kUsd);  // past two more at once
  REQUIRE(world.poster.taken.size() == 3);
  CHECK(world.poster.taken[1].body.contains(R"("type":"budget_threshold")"));
  CHECK(world.poster.taken[2].body.contains(R"("type":"budget_exhausted")"));
  world.Spend(5 * kUsd, "alice");
  CHECK(world.poster.taken.size() == 4);
  world.clock.AdvanceMs(kDayMs);  // another window
  world.Spend(5 * kUsd);
  CHECK(world.poster.taken.size() == 5);
  const auto ids = world.poster.Ids();
  CHECK(std::set<std::string>(ids.begin(), ids.end()).size() == 5);
}

TEST_CASE(
    "a raised limit does not repeat what was told, and the next threshold is of the new one") {
  AlertsWorld world;
  world.Spend(8 * kUsd);
  REQUIRE(world.poster.taken.size() == 2);
  AccountSpend raised = world.Account(8 * kUsd);
  raised.limit = 20 * kUsd;
  world.alerts->Note(raised);
  world.alerts->Turn();
  CHECK(world.poster.taken.size() == 2);
  raised.settled = 20 * kUsd;
  world.alerts->Note(raised);
  world.alerts->Turn();
  REQUIRE(world.poster.taken.size() == 3);
  CHECK(world.poster.taken[2].body.contains(R"("limit_usd":"20")"));
}

TEST_CASE("posts are signed, and Slack gets its own form") {
  AlertsWorld world;
  world.sinks.sinks["team"] = v1::AlertSink::KIND_SLACK;
  world.Spend(5 * kUsd);
  REQUIRE(world.poster.taken.size() == 2);
  const FakePoster::Taken& hook = world.poster.taken[0];
  CHECK(hook.url == "https://ops.test/hook/token");
  const std::string at = hook.headers.at("x-spillway-timestamp");
  CHECK(at == std::to_string(world.clock.WallMs() / 1000));
  CHECK(hook.headers.at("x-spillway-signature") ==
        "v1=" + HexOf(AsBytes(HmacSha256("shared", at + "." + hook.body))));
  CHECK(world.poster.taken[1].body.starts_with(R"({"text":"Spillway: )"));
  // Both are about one alert.
  CHECK(world.poster.Ids()[0] == world.poster.Ids()[1]);
}

TEST_CASE("only the sinks that a budget names are told") {
  AlertsWorld world;
  world.sinks.sinks["team"] = v1::AlertSink::KIND_WEBHOOK;
  AccountSpend account = world.Account(5 * kUsd);
  account.notify = {"team", "gone"};
  world.alerts->Note(account);
  world.alerts->Turn();
  REQUIRE(world.poster.taken.size() == 1);
  CHECK(world.poster.taken[0].url.contains("team.test"));
  const v1::ListAlertsResponse list = world.List();
  REQUIRE(list.alerts_size() == 1);
  CHECK(list.alerts(0).deliveries(0).state() == kDelivered);
  CHECK(list.alerts(0).deliveries(1).state() == kGivenUp);
  CHECK(list.alerts(0).deliveries(1).last_error().contains("no alert_sink/gone"));
}

TEST_CASE("what fails is tried again, later and later, with one id, until it is taken") {
  AlertsWorld world;
  world.poster.answer = [](const auto&) -> Result<int> {
    return Fail(ErrorCode::kUnavailable, "nobody answers at its address");
  };
  world.Spend(5 * kUsd);
  std::vector<int64_t> gaps;
  int64_t last = world.clock.WallMs();
  while (world.poster.taken.size() < 12) {
    world.clock.AdvanceMs(1'000);
    world.alerts->Turn();
    if (world.poster.taken.size() > gaps.size() + 1) {
      gaps.push_back(world.clock.WallMs() - last);
      last = world.clock.WallMs();
    }
  }
  for (size_t i = 0; i < gaps.size(); ++i) {
    const int64_t whole = std::min<int64_t>(5'000LL << i, 900'000);
    CHECK(gaps[i] >= whole / 2);
    CHECK(gaps[i] <= whole + 1'000);
  }
  world.poster.answer = [](const auto&) { return Result<int>(503); };
  world.clock.AdvanceMs(900'000);
  world.alerts->Turn();
  CHECK(world.List().alerts(0).deliveries(0).last_error() == "it answered 503");
  world.poster.answer = [](const auto&) { return Result<int>(200); };
  world.clock.AdvanceMs(900'000);
  world.alerts->Turn();
  CHECK(world.List().alerts(0).deliveries(0).state() == kDelivered);
  const size_t count = world.poster.taken.size();
  world.clock.AdvanceMs(900'000);
  world.alerts->Turn();
  CHECK(world.poster.taken.size() == count);
  const auto ids = world.poster.Ids();
  CHECK(std::ranges::count(ids, ids.front()) == static_cast<int64_t>(ids.size()));
}

TEST_CASE("after 24 h of failures a delivery is given up, visibly") {
  AlertsWorld world;
  world.poster.answer = [](const auto&) { return Result<int>(500); };
  world.Spend(5 * kUsd);
  for (int i = 0; i < 25 * 60; ++i) {
    world.clock.AdvanceMs(60'000);
    world.alerts->Turn();
  }
  const v1::ListAlertsResponse list = world.List();
  CHECK(list.alerts(0).deliveries(0).state() == kGivenUp);
  CHECK(list.alerts(0).deliveries(0).attempts() > 90);
  const size_t count = world.poster.taken.size();
  world.clock.AdvanceMs(3'600'000);
  world.alerts->Turn();
  CHECK(world.poster.taken.size() == count);
  MetricsText text;
  world.alerts->Collect(text);
  const std::string metrics = std::move(text).Take();
  CHECK(metrics.contains(R"(spillway_alerts_given_up_total{sink="ops"} 1)"));
  CHECK(metrics.contains(R"(spillway_alerts_sink_failing{sink="ops"} 1)"));
  CHECK_FALSE(metrics.contains("token"));
}

TEST_CASE("a redirect is an answer that is not followed") {
  AlertsWorld world;
  world.poster.answer = [](const auto&) { return Result<int>(302); };
  world.Spend(5 * kUsd);
  CHECK(world.List().alerts(0).deliveries(0).state() == kPending);
  CHECK(world.List().alerts(0).deliveries(0).last_error() ==
        "it answered 302, and is not followed");
}

TEST_CASE("a sink that is down is asked once at a time and holds no other one up") {
  AlertsWorld world;
  world.sinks.sinks["down"] = v1::AlertSink::KIND_WEBHOOK;
  world.poster.answer = [](const auto& post) -> Result<int> {
    if (post.url.contains("down.test")) return Fail(ErrorCode::kUnavailable, "down");
    return 200;
  };
  for (int i = 0; i < 10; ++i) world.alerts->Note(world.Account(5 * kUsd, "u" + std::to_string(i)));
  world.alerts->Turn();
  world.alerts->Turn();
  const auto to = [&](const char* host) {
    return std::ranges::count_if(world.poster.taken,
                                 [host](const auto& post) { return post.url.contains(host); });
  };
  CHECK(to("ops.test") == 10);
  CHECK(to("down.test") == 1);
}

TEST_CASE("a restart neither repeats nor loses an alert") {
  AlertsWorld world;
  world.Spend(5 * kUsd);
  world.poster.answer = [](const auto&) { return Result<int>(500); };
  world.Spend(8 * kUsd);
  REQUIRE(world.poster.taken.size() == 2);
  const std::string pending = world.poster.Ids().back();
  world.Open();
  world.poster.answer = [](const auto&) { return Result<int>(200); };
  world.accounts = {world.Account(8 * kUsd)};
  world.clock.AdvanceMs(10'000);
  world.alerts->Turn();
  REQUIRE(world.poster.taken.size() == 3);
  CHECK(world.poster.Ids().back() == pending);
  world.Open();
  world.alerts->Turn();
  CHECK(world.poster.taken.size() == 3);
}

TEST_CASE("what was crossed while nobody looked is found by looking at all accounts") {
  AlertsWorld world;
  world.accounts = {world.Account(10 * kUsd)};  // no word of it ever came
  world.Open();
  world.alerts->Turn();
  CHECK(world.poster.taken.size() == 3);
  world.accounts.push_back(world.Account(5 * kUsd, "alice"));
  world.clock.AdvanceMs(60'000);
  world.alerts->Turn();
  CHECK(world.poster.taken.size() == 4);
}

TEST_CASE("a freeze is told once, and again when it comes again") {
  AlertsWorld world;
  AccountSpend account = world.Account(0);
  AccountSpend other = world.Account(0, "bob");
  account.frozen = other.frozen = true;
  world.accounts = {account, other};
  world.alerts->Sweep();
  world.alerts->Turn();
  REQUIRE(world.poster.taken.size() == 1);
  CHECK(world.poster.taken[0].body.contains("budget_frozen"));
  world.Open();
  world.alerts->Turn();
  CHECK(world.poster.taken.size() == 1);
  const auto set = [&world](bool frozen) {
    for (AccountSpend& each : world.accounts) each.frozen = frozen;
    world.clock.AdvanceMs(1'000);
    world.alerts->Sweep();
    world.alerts->Turn();
  };
  set(false);
  CHECK(world.poster.taken.size() == 1);
  set(true);
  CHECK(world.poster.taken.size() == 2);
  const auto ids = world.poster.Ids();
  CHECK(ids[0] != ids[1]);
}

TEST_CASE("a freeze that ended before it could be told is told all the same") {
  AlertsWorld world;
  world.poster.answer = [](const auto&) { return Result<int>(500); };
  const auto set = [&world](bool frozen) {
    world.accounts = {world.Account(0)};
    world.accounts.front().frozen = frozen;
    world.clock.AdvanceMs(10'000);
    world.alerts->Sweep();
    world.alerts->Turn();
  };
  set(true);
  set(false);
  CHECK(world.List().alerts_size() == 1);
  world.poster.answer = [](const auto&) { return Result<int>(200); };
  set(false);
  REQUIRE(world.List().alerts_size() == 1);
  CHECK(world.List().alerts(0).deliveries(0).state() == kDelivered);
  const size_t count = world.poster.taken.size();
  set(false);
  set(true);
  CHECK(world.poster.taken.size() == count + 1);
  CHECK(world.poster.taken.back().body.contains(R"("window_start":null)"));
}

TEST_CASE("old windows are forgotten, and nothing new is said of them") {
  AlertsWorld world;
  const AccountSpend old = world.Account(8 * kUsd);
  world.Spend(8 * kUsd);
  REQUIRE(world.List().alerts_size() == 2);
  world.clock.AdvanceMs(4 * kDayMs);
  world.alerts->Turn();
  CHECK(world.List().alerts_size() == 0);
  AccountSpend late = old;
  late.settled = 10 * kUsd;
  world.alerts->Note(late);
  world.alerts->Turn();
  CHECK(world.List().alerts_size() == 0);
  CHECK(world.poster.taken.size() == 2);
}

TEST_CASE("a wall clock that leaps ahead and back makes nobody forget what was told") {
  AlertsWorld world;
  world.Spend(8 * kUsd);
  REQUIRE(world.poster.taken.size() == 2);
  const int64_t right_ms = world.clock.WallMs();
  world.clock.SetWallMs(right_ms + 365 * kDayMs);
  world.alerts->Turn();
  world.clock.SetWallMs(right_ms);
  world.clock.AdvanceMs(60'000);
  world.Spend(8 * kUsd);
  CHECK(world.poster.taken.size() == 2);
  CHECK(world.List().alerts_size() == 2);
}

TEST_CASE("one look at all accounts makes no more alerts wait than may") {
  AlertsWorld world;
  world.options.pending_max = 3;
  world.poster.answer = [](const auto&) { return Result<int>(500); };
  for (int i = 0; i < 4; ++i)
    world.accounts.push_back(world.Account(8 * kUsd, "u" + std::to_string(i)));
  world.Open();
  world.alerts->Turn();
  MetricsText text;
  world.alerts->Collect(text);
  const std::string metrics = std::move(text).Take();
  CHECK(metrics.contains("spillway_alerts_decided_total 8"));
  CHECK(metrics.contains("spillway_alerts_pending 3"));
}

TEST_CASE("a test alert goes out at once and says how it went") {
  AlertsWorld world;
  v1::TestAlertSinkRequest request;
  request.set_sink("ops");
  const auto good = world.alerts->Test(request);
  REQUIRE(good.has_value());
  CHECK(good->delivered());
  CHECK(good->http_status() == 204);
  CHECK(world.poster.taken[0].body.contains(R"("type":"test")"));
  world.poster.answer = [](const auto&) { return Result<int>(404); };
  const auto bad = world.alerts->Test(request);
  CHECK_FALSE(bad->delivered());
  CHECK(bad->error() == "it answered 404");
  request.set_sink("nobody");
  CHECK(world.alerts->Test(request).error().code == ErrorCode::kNotFound);
  CHECK(world.List().alerts_size() == 0);
}

TEST_CASE("the thread delivers what is noted, and ends at once") {
  AlertsWorld world;
  std::mutex mutex;
  std::condition_variable came;
  int count = 0;
  world.poster.answer = [&](const auto&) {
    const std::lock_guard lock(mutex);
    ++count;
    came.notify_all();
    return Result<int>(200);
  };
  world.alerts->Start();
  world.alerts->Note(world.Account(5 * kUsd));
  std::unique_lock lock(mutex);
  CHECK(came.wait_for(lock, std::chrono::seconds(30), [&] { return count == 1; }));
  lock.unlock();
  world.alerts.reset();
}

}  // namespace
}  // namespace spillway::alerts
