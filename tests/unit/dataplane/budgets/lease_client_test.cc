#include "dataplane/budgets/lease_client.h"

#include <boost/asio/co_spawn.hpp>
#include <chrono>

#include "common/crypto/signing.h"
#include "common/subjects.h"
#include "dataplane/budgets/closing.h"
#include "dataplane/budgets/level_log.h"
#include "tests/fakes/memory_bus.h"
#include "tests/unit/dataplane/budgets/fixture.h"

namespace spillway {
namespace {

template <typename T>
T Value(Result<T> result) {
  if (!result) FAIL(result.error().message);
  return *std::move(result);
}

// A process with its client; the test is the control plane.
struct Cluster {
  Cluster() : control(bus.Client()) {
    signer.emplace(Value(Signer::FromFile(folder.path() + "/key", true)));
    verifier.emplace(Value(Verifier::FromFile(folder.path() + "/key.pub")));
    client = Value(LeaseClient::Start({.instance = "dp-1",
                                       .holder = kHolder,
                                       .folder = folder.path(),
                                       .boot_id = "boot-1",
                                       .threaded = false},
                                      {.highest_epoch = [this] { return epoch; },
                                       .note_epoch = [this](int64_t noted) -> Result<void> {
                                         epoch = noted;
                                         return {};
                                       }},
                                      process.budgets, bus, *verifier, process.clock));
    subscription = Value(control->Subscribe(subjects::kLeaseAll, [this](const BusMessage& message) {
      v1::LeaseRequest request;
      REQUIRE(request.ParseFromString(message.payload));
      requests.push_back(std::move(request));
    }));
  }

  v1::LeaseGrant Answer(const BudgetMatch& match, Nanos level, Nanos remainder,
                        const std::string& holder = kHolder) const {
    v1::LeaseGrant grant;
    grant.set_holder(holder);
    grant.set_epoch(2);
    grant.set_control_plane_time_ms(kNoonMs + 5'000);
    grant.set_fleet_size(3);
    v1::GrantedAccount& granted = *grant.add_accounts();
    granted.mutable_account()->set_budget_id(match.budget->id);
    granted.mutable_account()->set_window_start_s(1'767'225'600);
    granted.set_granted(level);
    granted.set_remainder(remainder);
    return grant;
  }
  void Send(const v1::LeaseGrant& grant, v1::Signed::Purpose purpose = v1::Signed::PURPOSE_GRANT) {
    REQUIRE(control->Publish(subjects::Grant("dp-1"),
                             signer->Sign(purpose, grant.SerializeAsString()).SerializeAsString()));
  }
  std::string Metrics() const {
    MetricsText text;
    client->Collect(text);
    return std::move(text).Take();
  }

  TempFolder folder;
  MemoryBus bus;
  std::unique_ptr<MemoryBus> control;
  std::optional<Signer> signer;
  std::optional<Verifier> verifier;
  int64_t epoch = 2;
  Process process{false};
  std::unique_ptr<LeaseClient> client;
  std::vector<v1::LeaseRequest> requests;
  std::unique_ptr<Bus::Subscription> subscription;
};

TEST_CASE("granted money is on disk before it can be spent") {
  Cluster cluster;
  Budgets& budgets = cluster.process.budgets;
  const auto matches = One(Spec("b", 1'000));
  CHECK_FALSE(budgets.TryAdmit(Asking(budgets, matches, 100)).has_value());
  cluster.client->RunOnce();
  REQUIRE(cluster.requests.size() == 1);
  CHECK(cluster.requests[0].instance() == "dp-1");
  CHECK(cluster.requests[0].holder() == kHolder);
  cluster.Send(cluster.Answer(matches[0], 300, 700));
  CHECK_FALSE(budgets.TryAdmit(Asking(budgets, matches, 100)).has_value());
  cluster.client->RunOnce();
  Reservation held = Take(budgets, Asking(budgets, matches, 100));
  const RecordedLevels levels = Value(ReadLevels(cluster.folder.path()));
  CHECK(levels.found);
  CHECK(levels.boot_id == "boot-1");
  CHECK(levels.held ==
        std::map<std::pair<std::string, std::string>, Nanos>{{{"", *held.accounts()[0]}, 300}});
  // The window's clock is the control plane's.
  CHECK(budgets.NowMs() >= kNoonMs + 5'000);
  CHECK(budgets.fleet_size() == 3);
}

TEST_CASE("what is not the control plane's word is refused") {
  Cluster cluster;
  Budgets& budgets = cluster.process.budgets;
  const auto matches = One(Spec("b", 1'000));
  (void)budgets.TryAdmit(Asking(budgets, matches, 100));
  cluster.client->RunOnce();
  v1::LeaseGrant grant = cluster.Answer(matches[0], 300, 700);
  SECTION("another purpose") { cluster.Send(grant, v1::Signed::PURPOSE_INSTRUCTION); }
  SECTION("an earlier epoch") {
    grant.set_epoch(1);
    cluster.Send(grant);
  }
  SECTION("no signature") {
    REQUIRE(cluster.control->Publish(subjects::Grant("dp-1"), grant.SerializeAsString()));
  }
  SECTION("another key") {
    const Signer other = Value(Signer::FromFile(cluster.folder.path() + "/other", true));
    REQUIRE(cluster.control->Publish(
        subjects::Grant("dp-1"),
        other.Sign(v1::Signed::PURPOSE_GRANT, grant.SerializeAsString()).SerializeAsString()));
  }
  cluster.client->RunOnce();
  CHECK_THAT(cluster.Metrics(),
             Catch::Matchers::ContainsSubstring("spillway_lease_messages_refused_total 1\n"));
  CHECK_FALSE(budgets.TryAdmit(Asking(budgets, matches, 100)).has_value());
}

TEST_CASE("a higher epoch is noted before its grant is used, or not used") {
  Cluster cluster;
  Budgets& budgets = cluster.process.budgets;
  const auto matches = One(Spec("b", 1'000));
  (void)budgets.TryAdmit(Asking(budgets, matches, 100));
  cluster.client->RunOnce();
  v1::LeaseGrant grant = cluster.Answer(matches[0], 300, 700);
  grant.set_epoch(7);
  cluster.Send(grant);
  cluster.client->RunOnce();
  CHECK(cluster.epoch == 7);
  const Reservation held = Take(budgets, Asking(budgets, matches, 100));
  // Everything is told anew under it.
  CHECK(cluster.requests.back().epoch() == 7);
}

TEST_CASE("a recall takes what is idle, on disk before it is told") {
  Cluster cluster;
  Budgets& budgets = cluster.process.budgets;
  const auto matches = One(Spec("b", 1'000));
  (void)budgets.TryAdmit(Asking(budgets, matches, 100));
  cluster.client->RunOnce();
  cluster.Send(cluster.Answer(matches[0], 300, 700));
  cluster.client->RunOnce();
  Reservation held = Take(budgets, Asking(budgets, matches, 100));
  v1::Recall recall;
  recall.set_epoch(2);
  REQUIRE(recall.add_accounts()->ParseFromString(*held.accounts()[0]));
  REQUIRE(cluster.control->Publish(
      subjects::kRecall,
      cluster.signer->Sign(v1::Signed::PURPOSE_RECALL, recall.SerializeAsString())
          .SerializeAsString()));
  cluster.client->RunOnce();
  CHECK(cluster.process.Figures(matches[0]).returned == 200);
  CHECK(Value(ReadLevels(cluster.folder.path())).held.begin()->second == 100);
  REQUIRE(cluster.requests.back().accounts_size() == 1);
  CHECK(cluster.requests.back().accounts(0).returned() == 200);
  CHECK_FALSE(budgets.TryAdmit(Asking(budgets, matches, 1)).has_value());
}

TEST_CASE("given up by the control plane, a process carries on under a new holder") {
  Cluster cluster;
  Budgets& budgets = cluster.process.budgets;
  const auto matches = One(Spec("b", 1'000));
  (void)budgets.TryAdmit(Asking(budgets, matches, 100));
  cluster.client->RunOnce();
  cluster.Send(cluster.Answer(matches[0], 300, 700));
  cluster.client->RunOnce();
  Reservation old_call = Take(budgets, Asking(budgets, matches, 100));
  v1::LeaseGrant farewell = cluster.Answer(matches[0], 300, 700);
  farewell.set_tombstoned(true);
  cluster.Send(farewell);
  cluster.client->RunOnce();
  const std::string fresh = budgets.rep().holders.current().id();
  CHECK(fresh != kHolder);
  CHECK(Value(ReadLevels(cluster.folder.path())).holders.contains(fresh));
  // The old holder has given back what was idle and says so; the new one starts with nothing.
  CHECK_FALSE(budgets.TryAdmit(Asking(budgets, matches, 50)).has_value());
  cluster.client->RunOnce();
  cluster.Send(cluster.Answer(matches[0], 80, 500, fresh));
  cluster.client->RunOnce();
  Reservation new_call = Take(budgets, Asking(budgets, matches, 50));
  CHECK(new_call.holder() == fresh);
  CHECK(old_call.holder().empty());
  std::move(new_call).Settle(30, 30);
  CHECK(budgets.Closing().empty());  // the old call still runs
  std::move(old_call).Settle(90, 90);
  for (int i = 0; i < 10; ++i) {
    cluster.process.clock.AdvanceMs(1'000);
    cluster.client->RunOnce();
  }
  CHECK(budgets.rep().holders.All().size() == 1);
  std::map<std::string, Nanos> charged;
  for (const v1::Closed& closed : budgets.Closing())
    for (const v1::AccountCharge& account : closed.accounts())
      charged[closed.holder()] += account.charged();
  CHECK(charged == std::map<std::string, Nanos>{{"", 90}, {fresh, 30}});
}

TEST_CASE("a heartbeat each second, a question at once, nothing without the bus") {
  Cluster cluster;
  cluster.client->RunOnce();
  const size_t first = cluster.requests.size();
  cluster.client->RunOnce();
  CHECK(cluster.requests.size() == first);
  cluster.process.clock.AdvanceMs(1'000);
  cluster.client->RunOnce();
  CHECK(cluster.requests.size() == first + 1);
  cluster.bus.Disconnect();
  cluster.process.clock.AdvanceMs(3'000);
  cluster.client->RunOnce();
  CHECK(cluster.requests.size() == first + 1);
  CHECK(cluster.Metrics().find("spillway_lease_contact 0\n") != std::string::npos);
  cluster.bus.Reconnect();
  cluster.client->RunOnce();
  CHECK(cluster.requests.size() == first + 2);
}

TEST_CASE("a bus that comes late finds a process that waits for its first answer") {
  Cluster cluster;
  Budgets& budgets = cluster.process.budgets;
  const auto matches = One(Spec("b", 1'000));
  cluster.bus.Disconnect();
  cluster.client->RunOnce();
  cluster.process.clock.AdvanceMs(2'400);
  cluster.bus.Reconnect();
  cluster.client->RunOnce();
  cluster.process.clock.AdvanceMs(2'400);
  cluster.client->RunOnce();
  CHECK_FALSE(budgets.TryAdmit(Asking(budgets, matches, 100)).has_value());  // an answer may come
  cluster.process.clock.AdvanceMs(200);
  const auto refused = budgets.TryAdmit(Asking(budgets, matches, 100));
  REQUIRE(refused.has_value());
  CHECK_FALSE(refused->has_value());
}

TEST_CASE("whoever still waits asks again, sooner when there was an answer") {
  Cluster cluster;
  Budgets& budgets = cluster.process.budgets;
  const auto matches = One(Spec("b", 1'000));
  Loop loop(SystemClock());
  boost::asio::co_spawn(loop.io, budgets.Admit(loop, Asking(budgets, matches, 400)),
                        [](const std::exception_ptr&, const Result<Admitted>&) {});
  loop.io.poll();
  REQUIRE(budgets.waiting() == 1);
  const auto asked_after = [&](int64_t ms) {
    const size_t before = cluster.requests.size();
    cluster.process.clock.AdvanceMs(ms);
    cluster.client->RunOnce();
    return cluster.requests.size() - before;
  };
  CHECK(asked_after(0) == 1);
  CHECK(asked_after(20) == 0);
  CHECK(asked_after(80) == 1);
  v1::LeaseGrant grant = cluster.Answer(matches[0], 0, 0);
  grant.set_answers(cluster.requests.back().number());
  cluster.Send(grant);
  CHECK(asked_after(1) == 1);  // a new epoch: everything is told under it
  grant.set_answers(cluster.requests.back().number());
  cluster.Send(grant);
  CHECK(asked_after(1) == 0);
  CHECK(asked_after(20) == 1);
  CHECK(cluster.requests.back().waiting_size() == 1);
}

TEST_CASE("at the end everything idle goes back") {
  Cluster cluster;
  Budgets& budgets = cluster.process.budgets;
  const auto matches = One(Spec("b", 1'000));
  (void)budgets.TryAdmit(Asking(budgets, matches, 100));
  cluster.client->RunOnce();
  cluster.Send(cluster.Answer(matches[0], 300, 700));
  cluster.client->RunOnce();
  std::move(Take(budgets, Asking(budgets, matches, 100))).Settle(70, 70);
  cluster.client->Goodbye();
  REQUIRE(cluster.requests.back().accounts_size() == 1);
  CHECK(cluster.requests.back().accounts(0).returned() == 230);
  CHECK(cluster.requests.back().accounts(0).charged() == 70);
  const auto closed = budgets.Closing();
  REQUIRE(closed.size() == 1);
  CHECK(closed[0].accounts(0).charged() == 70);
}

TEST_CASE("the client's own thread answers a waiting request") {
  // As above, with threads: for the race detectors.
  TempFolder folder;
  MemoryBus bus;
  const auto control = bus.Client();
  const Signer signer = Value(Signer::FromFile(folder.path() + "/key", true));
  const Verifier verifier = Value(Verifier::FromFile(folder.path() + "/key.pub"));
  Budgets budgets({.instance = "dp-1", .holder = kHolder, .lease_wait_ms = 5'000}, SystemClock());
  const auto client = Value(LeaseClient::Start(
      {.instance = "dp-1", .holder = kHolder, .folder = folder.path(), .boot_id = "boot"},
      {.highest_epoch = [] { return int64_t{1}; },
       .note_epoch = [](int64_t) { return Result<void>(); }},
      budgets, bus, verifier, SystemClock()));
  std::map<std::string, Nanos> granted;
  const auto subscription =
      Value(control->Subscribe(subjects::kLeaseAll, [&](const BusMessage& message) {
        v1::LeaseRequest request;
        if (!request.ParseFromString(message.payload)) return;
        v1::LeaseGrant grant;
        grant.set_holder(request.holder());
        grant.set_epoch(1);
        grant.set_control_plane_time_ms(SystemClock().WallMs());
        grant.set_answers(request.number());
        for (const v1::Waiting& waiting : request.waiting())
          for (const v1::Need& need : waiting.needs()) {
            v1::GrantedAccount& account = *grant.add_accounts();
            *account.mutable_account() = need.account();
            account.set_granted(granted[need.account().SerializeAsString()] += 1'000);
            account.set_remainder(1'000'000);
          }
        (void)control->Publish(
            subjects::Grant("dp-1"),
            signer.Sign(v1::Signed::PURPOSE_GRANT, grant.SerializeAsString()).SerializeAsString());
      }));
  BudgetSpec spec = Spec("b", 1'000'000'000);
  const auto matches = One(spec);
  Loop loop(SystemClock());
  int admitted = 0;
  for (int i = 0; i < 20; ++i) {
    boost::asio::co_spawn(loop.io, budgets.Admit(loop, Asking(budgets, matches, 400)),
                          [&](const std::exception_ptr&, Result<Admitted> result) {
                            if (!result) return;
                            ++admitted;
                            std::move(result->reservation).Settle(400, 400);
                          });
  }
  loop.io.run_for(std::chrono::seconds(20));
  CHECK(admitted == 20);
}

}  // namespace
}  // namespace spillway
