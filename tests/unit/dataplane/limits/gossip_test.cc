#include "dataplane/limits/gossip.h"

#include <catch2/catch_all.hpp>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/subjects.h"
#include "dataplane/limits/rep.h"
#include "tests/fakes/memory_bus.h"
#include "tests/unit/dataplane/limits/specs.h"

namespace spillway {
namespace {

struct Node {
  Node(const std::string& name, MemoryBus& server) : bus(server.Client()) {
    LimitGossipOptions options{.instance = name, .incarnation = name + "1"};
    options.fleet = [] { return FleetWord{.size = 2}; };
    gossip = LimitGossip::Start(std::move(options), limits, *bus, SystemClock()).value();
  }
  std::string Metrics() const {
    MetricsText text;
    gossip->Collect(text);
    return std::move(text).Take();
  }

  RateLimits limits{{.cluster = true}, SystemClock()};
  std::unique_ptr<MemoryBus> bus;
  std::unique_ptr<LimitGossip> gossip;
};

// Looks whenever a gossip message passed.
class Watch {
 public:
  explicit Watch(MemoryBus& server) : bus_(server.Client()) {
    subscription_ = bus_->Subscribe(subjects::kGossip,
                                    [this](const BusMessage& message) {
                                      const std::lock_guard lock(mutex_);
                                      Note(message);
                                      ++messages_;
                                      passed_.notify_all();
                                    })
                        .value();
  }
  bool Until(const std::function<bool()>& condition) {
    for (int i = 0; i < 200; ++i) {
      if (condition()) return true;
      std::unique_lock lock(mutex_);
      const int before = messages_;
      passed_.wait_for(lock, std::chrono::milliseconds(100), [&] { return messages_ != before; });
    }
    return condition();
  }
  // The last figures that `from` told were applied by `by`, which knows that this is known: each
  // said one thing more after that.
  bool Confirmed(const std::string& from, const std::string& by) {
    const std::lock_guard lock(mutex_);
    return told_[from] > 0 && confirmed_[by] >= told_[from] && after_[by] > 0;
  }

 private:
  void Note(const BusMessage& message) {
    v1::Gossip gossip;
    if (!gossip.ParseFromString(message.payload)) return;
    const std::string& by = gossip.instance();
    // Figures are repeated with every tick: only others are news.
    const int64_t total = gossip.limits_size() > 0 ? gossip.limits(0).requests() : -1;
    if (total >= 0 && (told_[by] == 0 || total != total_[by])) {
      total_[by] = total;
      told_[by] = gossip.sent();
      after_.clear();
    }
    for (const v1::GossipHeard& heard : gossip.heard()) {
      if (confirmed_[by] >= told_[heard.instance()]) ++after_[by];
      confirmed_[by] = heard.sent();
    }
  }

  std::unique_ptr<MemoryBus> bus_;
  std::mutex mutex_;
  std::condition_variable passed_;
  int messages_ = 0;
  std::map<std::string, uint64_t> told_;  // the last message with new figures
  std::map<std::string, int64_t> total_;  // those
  std::map<std::string, uint64_t> confirmed_;
  std::map<std::string, int> after_;
  std::unique_ptr<Bus::Subscription> subscription_;
};

TEST_CASE("data planes hear of each other over the bus and share a limit") {
  MemoryBus server;
  Watch watch(server);
  Node a("a", server);
  Node b("b", server);
  const auto both = [](const Node& node) {
    return node.Metrics().find("spillway_limit_fleet{state=\"live\"} 2") != std::string::npos;
  };
  REQUIRE(watch.Until([&] { return both(a) && both(b); }));
  const auto matches = MatchOf(SpecOf("limit", {.requests = 10, .period_ms = 3'600'000}), "s");
  const auto left = [&](Node& node) {
    return node.limits.Standings(matches, SystemClock().MonotonicNs()).requests.remaining;
  };
  for (int i = 0; i < 6; ++i) {
    LimitOutcome outcome = a.limits.Admit(matches, {}, SystemClock().MonotonicNs());
    REQUIRE(outcome);
    outcome->Settle({});
  }
  CHECK(b.limits.Admit(matches, {}, SystemClock().MonotonicNs()));  // given back at once
  CHECK(watch.Until([&] { return left(b) == 4 && left(a) == 4; }));
  CHECK(b.Metrics().find("spillway_limit_gossip_messages_total{fate=\"heard\"}") !=
        std::string::npos);

  // Cut off, each keeps to its half of what is left, when each knows what the other has heard.
  CHECK(watch.Until([&] { return watch.Confirmed("a", "b"); }));
  a.bus->Disconnect();
  b.bus->Disconnect();
  const auto alone = [](const Node& node) {
    return node.Metrics().find("spillway_limit_fleet{state=\"live\"} 1") != std::string::npos;
  };
  CHECK(watch.Until([&] { return alone(a) && alone(b) && left(a) == 2 && left(b) == 2; }));
  a.gossip->Stop();
  a.gossip->Stop();
}

TEST_CASE("a peer's first word of everybody's use does not take back what was given back here") {
  const bool gave_back = GENERATE(true, false);
  CAPTURE(gave_back);
  ManualClock clock;
  RateLimits limits({.subjects_max = 100, .cluster = true}, clock);
  GossipCore core(limits, "self", "1", clock.MonotonicNs());
  core.SetConnected(true, clock.MonotonicNs());
  const auto matches =
      MatchOf(SpecOf("limit", {.requests = 10, .tokens = 1'000, .period_ms = 3'600'000}), "s");
  if (gave_back) CHECK(limits.Admit(matches, {.input_tokens = 100}, clock.MonotonicNs()));
  // The peer took 6 and has heard of our one; or it knows of a life of ours that took it.
  v1::Gossip gossip;
  gossip.set_instance("peer");
  gossip.set_incarnation("1");
  gossip.set_sent(1);
  v1::LimitUse& use = *gossip.add_limits();
  use.set_limit("limit");
  use.set_subject("s");
  use.set_period_ms(3'600'000);
  use.set_requests(6);
  use.set_own_requests(6);
  use.set_fleet_requests(7);
  use.set_tokens(600);
  use.set_own_tokens(600);
  use.set_fleet_tokens(700);
  core.Receive(gossip.SerializeAsString(), clock.MonotonicNs());
  const LimitOutcome taken = limits.Admit(matches, {.input_tokens = 100}, clock.MonotonicNs());
  REQUIRE(taken);
  CHECK(taken->standings().requests.remaining == (gave_back ? 3 : 2));
  CHECK(taken->standings().tokens.remaining == (gave_back ? 300 : 200));
}

TEST_CASE("what a message may be") {
  ManualClock clock;
  RateLimits limits({.subjects_max = 100, .cluster = true}, clock);
  GossipCore core(limits, "self", "1", clock.MonotonicNs());
  core.SetConnected(true, clock.MonotonicNs());
  v1::Gossip good;
  good.set_instance("peer");
  good.set_incarnation("1");
  good.set_sent(1);
  v1::LimitUse& use = *good.add_limits();
  use.set_limit("limit");
  use.set_period_ms(1'000);
  struct Row {
    std::string name;
    std::function<void(v1::Gossip&)> change;
    bool heard;
    int64_t entries;
  };
  const Row row = GENERATE(values<Row>({
      {"good", [](v1::Gossip&) {}, true, 1},
      {"our own", [](v1::Gossip& gossip) { gossip.set_instance("self"); }, false, 0},
      {"no instance", [](v1::Gossip& gossip) { gossip.clear_instance(); }, false, 0},
      {"a bad instance", [](v1::Gossip& gossip) { gossip.set_instance("a b"); }, false, 0},
      {"a long incarnation",
       [](v1::Gossip& gossip) { gossip.set_incarnation(std::string(1'000, 'x')); }, false, 0},
      {"no limit's name", [](v1::Gossip& gossip) { gossip.mutable_limits(0)->clear_limit(); }, true,
       0},
      {"a long subject",
       [](v1::Gossip& gossip) { gossip.mutable_limits(0)->set_subject(std::string(1'000, 'x')); },
       true, 0},
      {"no period", [](v1::Gossip& gossip) { gossip.mutable_limits(0)->set_period_ms(0); }, true,
       0},
      {"a period beyond all",
       [](v1::Gossip& gossip) { gossip.mutable_limits(0)->set_period_ms(INT64_MAX); }, true, 0},
      {"subjects without end",
       [](v1::Gossip& gossip) {
         for (int i = 0; i < 1'500; ++i) {
           v1::LimitUse& more = *gossip.add_limits();
           more.set_limit("limit");
           more.set_subject("s" + std::to_string(i));
           more.set_period_ms(1'000);
         }
       },
       true, 50},
      {"more than a message may hold",
       [](v1::Gossip& gossip) {
         for (int i = 0; i < 3'000; ++i) gossip.add_limits()->set_limit("limit");
       },
       false, 0},
  }));
  CAPTURE(row.name);
  row.change(good);
  core.Receive(good.SerializeAsString(), clock.MonotonicNs());
  CHECK(core.received() == (row.heard ? 1 : 0));
  CHECK(limits.rep().table.totals().entries == row.entries);
  core.Receive("no message at all", clock.MonotonicNs());
  core.Receive(std::string(1'000'000, 'x'), clock.MonotonicNs());
  CHECK(core.received() == (row.heard ? 1 : 0));
}

TEST_CASE("messages stay small and everything arrives in the end") {
  ManualClock clock;
  RateLimits from({.cluster = true}, clock);
  RateLimits to({.cluster = true}, clock);
  GossipCore sender(from, "sender", "1", clock.MonotonicNs());
  GossipCore receiver(to, "receiver", "1", clock.MonotonicNs());
  sender.SetConnected(true, clock.MonotonicNs());
  receiver.SetConnected(true, clock.MonotonicNs());
  const auto spec = SpecOf("user", {.requests = 10, .period_ms = 3'600'000});
  const std::string tail(100, 'x');
  constexpr int kSubjects = 5'000;
  for (int i = 0; i < kSubjects; ++i) {
    LimitOutcome outcome =
        from.Admit(MatchOf(spec, std::to_string(i) + tail), {}, clock.MonotonicNs());
    REQUIRE(outcome);
    outcome->Settle({});
  }
  for (int tick = 0; tick < 10; ++tick) {
    const std::vector<std::string> messages = sender.Tick(clock.MonotonicNs());
    CHECK(messages.size() <= GossipCore::kMessagesMax + 1);
    for (const std::string& message : messages) {
      CHECK(message.size() <= GossipCore::kBytesMax + 1'024);
      receiver.Receive(message, clock.MonotonicNs());
    }
    clock.AdvanceMs(100);
  }
  for (int i = 0; i < kSubjects; i += 97) {
    LimitOutcome outcome =
        to.Admit(MatchOf(spec, std::to_string(i) + tail), {}, clock.MonotonicNs());
    REQUIRE(outcome);
    CHECK(outcome->standings().requests.remaining == 8);
  }
}

TEST_CASE("a copy that was lost is made up for by the rotation") {
  ManualClock clock;
  RateLimits from({.cluster = true}, clock);
  RateLimits to({.cluster = true}, clock);
  GossipCore sender(from, "sender", "1", clock.MonotonicNs());
  GossipCore receiver(to, "receiver", "1", clock.MonotonicNs());
  sender.SetConnected(true, clock.MonotonicNs());
  receiver.SetConnected(true, clock.MonotonicNs());
  const auto matches = MatchOf(SpecOf("limit", {.requests = 10, .period_ms = 3'600'000}));
  LimitOutcome outcome = from.Admit(matches, {}, clock.MonotonicNs());
  REQUIRE(outcome);
  outcome->Settle({});
  (void)sender.Tick(clock.MonotonicNs());  // lost
  for (int tick = 0; tick < 64; ++tick) {
    clock.AdvanceNs(100 * kNsPerMs);
    for (const std::string& message : sender.Tick(clock.MonotonicNs()))
      receiver.Receive(message, clock.MonotonicNs());
  }
  LimitOutcome there = to.Admit(matches, {}, clock.MonotonicNs());
  REQUIRE(there);
  CHECK(there->standings().requests.remaining == 8);
}

TEST_CASE("a peer that never confirms costs its part of the running period, not more") {
  ManualClock clock;
  RateLimits limits({.cluster = true}, clock);
  GossipCore core(limits, "self", "1", clock.MonotonicNs());
  core.SetConnected(true, clock.MonotonicNs());
  v1::Gossip mute;
  mute.set_instance("mute");
  mute.set_incarnation("1");
  const auto matches = MatchOf(SpecOf("limit", {.requests = 100}));
  const auto serve = [&](int count) {
    int served = 0;
    for (int i = 0; i < count; ++i) {
      LimitOutcome outcome = limits.Admit(matches, {}, clock.MonotonicNs());
      if (!outcome) continue;
      outcome->Settle({});
      ++served;
    }
    return served;
  };
  for (uint64_t tick = 1; tick <= 200; ++tick) {  // twenty periods
    mute.set_sent(tick);
    core.Receive(mute.SerializeAsString(), clock.MonotonicNs());
    (void)core.Tick(clock.MonotonicNs());
    CHECK(serve(tick % 10 == 1 ? 60 : 0) == (tick % 10 == 1 ? 60 : 0));
    clock.AdvanceNs(100 * kNsPerMs);
  }
  CHECK(serve(40) == 40);
  core.SetConnected(false, clock.MonotonicNs());
  CHECK(serve(100) == 10);  // half of 60, less the half of 40 that it may count its own
  clock.AdvanceMs(1'000);
  CHECK(serve(100) == 50);
}

}  // namespace
}  // namespace spillway
