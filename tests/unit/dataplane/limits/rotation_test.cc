// What peers missed, or came too late for, is told again.
#include <catch2/catch_all.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/dataplane/limits/cluster.h"

namespace spillway {
namespace {

LimitTicket BeginStream(LimitCluster& cluster, int node,
                        const std::vector<RateLimitMatch>& matches) {
  LimitOutcome outcome = cluster.limits(node).Admit(matches, {}, cluster.now_ns());
  REQUIRE(outcome);
  outcome->Settle({});
  return *std::move(outcome);
}

TEST_CASE("a data plane that comes late hears of requests that began periods ago") {
  LimitCluster cluster(2, {});
  const auto matches = MatchOf(SpecOf("limit", {.concurrent = 5}));
  std::vector<LimitTicket> streams;
  streams.reserve(5);
  for (int i = 0; i < 5; ++i) streams.push_back(BeginStream(cluster, 0, matches));
  cluster.Run(5'000, [](int64_t) {});
  cluster.Restart(1);
  cluster.Run(1'000, [](int64_t) {});
  CHECK_FALSE(cluster.limits(1).Admit(matches, {}, cluster.now_ns()));
  streams.pop_back();
  cluster.Run(200, [](int64_t) {});
  CHECK(cluster.limits(1).Admit(matches, {}, cluster.now_ns()));
}

TEST_CASE("the end of a long request reaches peers although the message is lost") {
  LimitCluster cluster(2, {});
  const auto matches = MatchOf(SpecOf("limit", {.concurrent = 1}));
  {
    const LimitTicket stream = BeginStream(cluster, 0, matches);
    cluster.Run(5'000, [](int64_t) {});
    CHECK_FALSE(cluster.limits(1).Admit(matches, {}, cluster.now_ns()));
    cluster.Isolate(0, true);
  }
  cluster.Run(200, [](int64_t) {});  // too short to count as silent
  cluster.Isolate(0, false);
  cluster.Run(1'000, [](int64_t) {});
  CHECK(cluster.core(1).members().view()->live == 2);
  CHECK(cluster.limits(1).Admit(matches, {}, cluster.now_ns()));
}

TEST_CASE("what ran in a process that was replaced at once runs no more") {
  LimitCluster cluster(2, {});
  const auto matches = MatchOf(SpecOf("limit", {.concurrent = 1}));
  {
    const LimitTicket stream = BeginStream(cluster, 0, matches);
    cluster.Run(1'000, [](int64_t) {});
    CHECK_FALSE(cluster.limits(1).Admit(matches, {}, cluster.now_ns()));
  }
  cluster.Restart(0);
  cluster.Run(1'000, [](int64_t) {});
  CHECK(cluster.limits(1).Admit(matches, {}, cluster.now_ns()));
}

TEST_CASE("entries do not stay for a peer that never confirms") {
  ManualClock clock;
  RateLimits limits({.cluster = true}, clock);
  GossipCore core(limits, "self", "1", clock.MonotonicNs());
  core.SetConnected(true, clock.MonotonicNs());
  v1::Gossip mute;
  mute.set_instance("mute");
  mute.set_incarnation("1");
  const auto matches = MatchOf(SpecOf("limit", {.concurrent = 1}));
  LimitOutcome stream = limits.Admit(matches, {}, clock.MonotonicNs());
  REQUIRE(stream);
  for (uint64_t tick = 1; tick <= 300; ++tick) {
    if (tick == 50) stream->Drop();
    mute.set_sent(tick);
    core.Receive(mute.SerializeAsString(), clock.MonotonicNs());
    (void)core.Tick(clock.MonotonicNs());
    clock.AdvanceMs(100);
    if (tick == 100) CHECK(limits.rep().table.totals().entries == 1);
  }
  CHECK(limits.rep().table.totals().entries == 0);
}

TEST_CASE("the rotation reaches every one of many subjects") {
  ManualClock clock;
  RateLimits from({.cluster = true}, clock);
  RateLimits to({.cluster = true}, clock);
  GossipCore sender(from, "sender", "1", clock.MonotonicNs());
  GossipCore receiver(to, "receiver", "1", clock.MonotonicNs());
  sender.SetConnected(true, clock.MonotonicNs());
  receiver.SetConnected(true, clock.MonotonicNs());
  const auto spec = SpecOf("user", {.requests = 10, .period_ms = 3'600'000});
  constexpr int kSubjects = 6'400;  // a hundred to a shard
  for (int i = 0; i < kSubjects; ++i) {
    LimitOutcome outcome = from.Admit(MatchOf(spec, std::to_string(i)), {}, clock.MonotonicNs());
    REQUIRE(outcome);
    outcome->Settle({});
  }
  for (int tick = 0; tick < 10; ++tick) (void)sender.Tick(clock.MonotonicNs());  // all lost
  for (int tick = 0; tick < 300; ++tick) {
    clock.AdvanceMs(100);
    for (const std::string& message : sender.Tick(clock.MonotonicNs()))
      receiver.Receive(message, clock.MonotonicNs());
  }
  CHECK(to.rep().table.totals().known_from_peers == kSubjects);
}

}  // namespace
}  // namespace spillway
