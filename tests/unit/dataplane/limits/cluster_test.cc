#include "tests/unit/dataplane/limits/cluster.h"

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <deque>
#include <functional>
#include <string>
#include <vector>

namespace spillway {
namespace {

// Requests offered to data plane `node` in millisecond `ms`.
using Load = std::function<int(LimitCluster& cluster, int node, int64_t ms)>;

const Load kSteady = [](LimitCluster&, int, int64_t) { return 3; };
const Load kOneNode = [](LimitCluster&, int node, int64_t) { return node == 1 ? 5 : 0; };
const Load kLopsided = [](LimitCluster&, int node, int64_t ms) {
  return node == 0 ? 8 : ms % 7 == node ? 1 : 0;
};
// Everybody at once, in the first tenth of each second only.
const Load kBursts = [](LimitCluster&, int, int64_t ms) { return ms % 1'000 < 100 ? 20 : 0; };
// 70 requests in a tenth of each second, to each data plane in turn, and one that begins the
// period.
const Load kShortBursts = [](LimitCluster&, int node, int64_t ms) {
  constexpr int64_t kBegins = 300;
  int offered = ms == 0 && node == 0 ? 1 : 0;
  for (int64_t number = 0; number < 70; ++number) {
    if (number % 3 == node && ms % 1'000 == kBegins + 100 * number / 70) ++offered;
  }
  return offered;
};
// Each data plane in turn, a third of a second each.
const Load kInTurn = [](LimitCluster&, int node, int64_t ms) {
  return ms / 333 % 3 == node ? 10 : 0;
};
// Bursts at random, more than enough of them in every second.
const Load kRandom = [](LimitCluster& cluster, int, int64_t) {
  return cluster.random()() % 40 == 0 ? 200 : 0;
};
// The load moves to another data plane every two seconds.
const Load kMoving = [](LimitCluster&, int node, int64_t ms) {
  return ms / 2'000 % 3 == node ? 6 : 0;
};

struct Case {
  std::string name;
  Load load;
  LimitCluster::Network network = {};
  int64_t limit = 1'000;
  int64_t period_ms = 1'000;
  LimitAsk ask = {};
};

int64_t ServeTenPeriods(LimitCluster& cluster, const Case& row,
                        const std::vector<RateLimitMatch>& matches) {
  int64_t served = 0;
  cluster.Run(10 * row.period_ms, [&](int64_t ms) {
    for (int node = 0; node < static_cast<int>(cluster.size()); ++node)
      served += cluster.Serve(node, matches, row.load(cluster, node, ms), row.ask);
  });
  return served;
}

TEST_CASE("three data planes admit ten limits in ten periods within two percent") {
  const Case row = GENERATE(values<Case>({
      {"steady", kSteady},
      {"on one data plane", kOneNode},
      {"lopsided", kLopsided},
      {"bursts", kBursts},
      {"in turn", kInTurn},
      {"random bursts", kRandom},
      {"moving", kMoving},
      {"steady, a small limit", kSteady, {}, 50},
      {"bursts, a small limit", kBursts, {}, 50},
      {"short bursts, a small limit", kShortBursts, {}, 40},
      {"short bursts, a small limit, slow network", kShortBursts, {.delay_ms_max = 20}, 40},
      {"steady, slow network", kSteady, {.delay_ms_max = 20}},
      {"bursts, slow network", kBursts, {.delay_ms_max = 20}},
      {"steady, lossy", kSteady, {.delay_ms_max = 20, .loss_percent = 20, .twice_percent = 10}},
      {"bursts, lossy", kBursts, {.delay_ms_max = 20, .loss_percent = 20, .twice_percent = 10}},
      {"lopsided, lossy", kLopsided, {.delay_ms_max = 20, .loss_percent = 20}},
      {"periods of five seconds", kSteady, {}, 3'000, 5'000},
      {"in turn, five seconds", kInTurn, {}, 3'000, 5'000},
  }));
  CAPTURE(row.name);
  const auto seed = static_cast<uint64_t>(GENERATE(1, 2, 3));
  CAPTURE(seed);
  LimitCluster cluster(3, row.network, seed);
  const auto spec = SpecOf("limit", {.requests = row.limit, .period_ms = row.period_ms});
  const auto matches = MatchOf(spec, "s");
  for (int run = 0; run < 2; ++run) {  // from idle, then on and on
    const int64_t served = ServeTenPeriods(cluster, row, matches);
    CAPTURE(run, served);
    CHECK(served * 100 <= 10 * row.limit * 102);
    CHECK(served * 100 >= 10 * row.limit * 98);
  }
}

TEST_CASE("the same for tokens, whose estimates are settled later") {
  struct Row {
    std::string name;
    Load load;
    int64_t estimate;
    int64_t actual;
  };
  const Row row = GENERATE(values<Row>({
      {"steady, too high", [](LimitCluster&, int, int64_t) { return 1; }, 400, 250},
      {"steady, too low", [](LimitCluster&, int, int64_t) { return 1; }, 200, 250},
      {"bursts, too high", [](LimitCluster&, int, int64_t ms) { return ms % 1'000 < 400 ? 4 : 0; },
       400, 250},
  }));
  CAPTURE(row.name);
  LimitCluster cluster(3, {}, 5);
  constexpr int64_t kLimit = 100'000;
  const auto matches = MatchOf(SpecOf("limit", {.tokens = kLimit}));
  struct Running {
    LimitTicket ticket;
    int64_t ends_ms;
  };
  std::deque<Running> running;
  int64_t used = 0;
  cluster.Run(10'000, [&](int64_t ms) {
    while (!running.empty() && running.front().ends_ms <= ms) {
      running.front().ticket.Settle({row.actual, 0});
      running.pop_front();
    }
    for (int node = 0; node < 3; ++node) {
      for (int n = row.load(cluster, node, ms); n > 0; --n) {
        LimitOutcome outcome =
            cluster.limits(node).Admit(matches, {row.estimate, 0}, cluster.now_ns());
        if (!outcome) break;
        used += row.actual;
        running.push_back({*std::move(outcome), ms + 60});
      }
    }
  });
  CAPTURE(used);
  CHECK(used <= 10 * kLimit * 102 / 100);
  CHECK(used >= 10 * kLimit * 98 / 100);
}

TEST_CASE("without NATS the fleet admits the limit in total, never more") {
  const Case row = GENERATE(values<Case>({
      {"steady", kSteady},
      {"bursts", kBursts},
      {"lopsided", kLopsided},
      {"a small limit", kSteady, {}, 10},
      {"smaller than the fleet", kSteady, {}, 2},
  }));
  CAPTURE(row.name);
  const bool first_connected = GENERATE(true, false);
  CAPTURE(first_connected);
  LimitCluster cluster(3, row.network);
  const auto matches = MatchOf(SpecOf("limit", {.requests = row.limit}), "s");
  if (first_connected) ServeTenPeriods(cluster, row, matches);
  for (int node = 0; node < 3; ++node) cluster.Connect(node, false);
  if (!first_connected) cluster.Run(1'000, [](int64_t) {});
  int64_t served = ServeTenPeriods(cluster, row, matches);
  CAPTURE(served);
  CHECK(served <= 10 * row.limit);
  if (row.name == "steady") CHECK(served >= 10 * row.limit * 98 / 100);
  cluster.Run(3 * row.period_ms, [](int64_t) {});
  served = ServeTenPeriods(cluster, row, matches);
  CHECK(served <= 10 * row.limit);
  if (row.name == "steady") CHECK(served >= 10 * row.limit * 98 / 100);
  CHECK(served > 0);
}

// What is admitted in the tenth of a second around the cut is what nobody else has heard.
struct Cut {
  std::string name;
  Load before;  // milliseconds count from the start of the period of the cut
  Load after;
  bool noticed = true;  // by the bus; else by silence, after half a second
  LimitCluster::Network network = {};
  int64_t limit = 1'000;
};
const Load kNothing = [](LimitCluster&, int, int64_t) { return 0; };
// Used up after two thirds of a period.
const Load kTrickle = [](LimitCluster& cluster, int, int64_t) {
  return cluster.random()() % 2 == 0 ? 1 : 0;
};

// By period, from the one of the cut on. The periods of all data planes begin within a few
// milliseconds, when everything of the last one is used up, or much later.
std::vector<int64_t> ServeAroundCut(LimitCluster& cluster, const Cut& row, int64_t cut_ms,
                                    const std::vector<RateLimitMatch>& matches) {
  constexpr int64_t kMarginMs = 20;
  std::vector<int64_t> served(10);
  cluster.Run(10'000 - kMarginMs, [&](int64_t ms) {
    if (ms == cut_ms) {
      for (int node = 0; node < 3; ++node) {
        if (row.noticed) cluster.Connect(node, false);
        cluster.Isolate(node, true);
      }
    }
    const Load& load = ms < cut_ms ? row.before : row.after;
    for (int node = 0; node < 3; ++node) {
      served[static_cast<size_t>((ms + kMarginMs) / 1'000)] +=
          cluster.Serve(node, matches, load(cluster, node, ms));
    }
  });
  return served;
}

TEST_CASE("from the period of the cut on, never more than the limit") {
  const Cut row = GENERATE(values<Cut>({
      {"steady", kSteady, kSteady},
      {"a trickle", kTrickle, kTrickle},
      {"bursts", kBursts, kSteady},
      {"in turn", kInTurn, kInTurn},
      {"on one before, on all after", kOneNode, kSteady},
      {"nothing before, everything after", kNothing, kSteady},
      {"everything before, on one after", kSteady, kOneNode},
      {"lossy", kTrickle, kSteady, true, {.delay_ms_max = 20, .loss_percent = 20}},
      {"steady, silent", kSteady, kSteady, false},
      {"a trickle, silent", kTrickle, kTrickle, false},
      {"in turn, silent", kInTurn, kInTurn, false},
      {"on one before, on all after, silent", kOneNode, kSteady, false},
      {"random bursts, silent", kRandom, kRandom, false, {.delay_ms_max = 20}},
      {"a small limit", kTrickle, kTrickle, true, {}, 10},
      {"a limit smaller than the fleet", kTrickle, kTrickle, true, {}, 2},
  }));
  CAPTURE(row.name);
  const int64_t cut_ms = GENERATE(0, 1, 2, 5, 20, 70, 150, 400, 620, 900);
  CAPTURE(cut_ms);
  LimitCluster cluster(3, row.network, static_cast<uint64_t>(cut_ms + 1));
  const auto matches = MatchOf(SpecOf("limit", {.requests = row.limit}), "s");
  cluster.Run(3'000, [&](int64_t ms) {
    for (int node = 0; node < 3; ++node)
      cluster.Serve(node, matches, row.before(cluster, node, ms));
  });
  const std::vector<int64_t> served = ServeAroundCut(cluster, row, cut_ms, matches);
  CAPTURE(served);
  CHECK(std::ranges::fold_left(served, int64_t{0}, std::plus<>()) <= 10 * row.limit);
  // The first that began after all had noticed.
  const size_t first = row.noticed || cut_ms < 400 ? 1 : 2;
  for (size_t period = first; period < served.size(); ++period) {
    CAPTURE(period);
    CHECK(served[period] <= row.limit);
  }
  // What was too much is paid back within a few periods, then every share is there.
  if (row.name != "everything before, on one after") CHECK(served.back() == row.limit);
}

TEST_CASE("whoever is cut off keeps to its share, and comes back without a jump") {
  LimitCluster cluster(3, {});
  const Case row{"steady", kSteady};
  const auto matches = MatchOf(SpecOf("limit", {.requests = row.limit}), "s");
  ServeTenPeriods(cluster, row, matches);
  for (int cycle = 0; cycle < 3; ++cycle) {
    cluster.Connect(2, false);
    int64_t served = ServeTenPeriods(cluster, row, matches);
    CAPTURE(cycle, served);
    // The others notice after half a second. They used its share until then, and pay it back.
    CHECK(served <= 10 * row.limit * 102 / 100);
    CHECK(served >= 10 * row.limit * 97 / 100);
    cluster.Connect(2, true);
    served = ServeTenPeriods(cluster, row, matches);
    CAPTURE(served);
    CHECK(served <= 10 * row.limit * 102 / 100);
    CHECK(served >= 10 * row.limit * 98 / 100);
  }
}

TEST_CASE("a silent member's share stays reserved until the control plane counts fewer") {
  LimitCluster cluster(3, {});
  const auto matches = MatchOf(SpecOf("limit", {.requests = 900}), "s");
  cluster.Connect(2, false);  // and it serves nothing
  cluster.Run(1'000, [](int64_t) {});
  const Load on_two = [](LimitCluster&, int node, int64_t) { return node < 2 ? 3 : 0; };
  int64_t served = ServeTenPeriods(cluster, {"on two", on_two}, matches);
  CHECK(served <= 6'000);
  CHECK(served >= 5'880);
  cluster.Run(15'000, [](int64_t) {});
  cluster.SetFleetSize(2);
  served = ServeTenPeriods(cluster, {"on two", on_two}, matches);
  CHECK(served <= 9'000);
  CHECK(served >= 8'820);
}

TEST_CASE("one that joins without NATS takes no more than 1/(N+1)") {
  LimitCluster cluster(3, {});
  const auto matches = MatchOf(SpecOf("limit", {.requests = 1'200}), "s");
  const int joined = cluster.Add();
  cluster.core(joined).SetFleetSize(3, cluster.now_ns(), cluster.now_ns());
  int64_t served = 0;
  cluster.Run(10'000, [&](int64_t) { served += cluster.Serve(joined, matches, 3); });
  CHECK(served <= 3'000);
  CHECK(served >= 2'940);
}

TEST_CASE("a restarted data plane learns what was used in the running period") {
  LimitCluster cluster(3, {});
  const auto matches = MatchOf(SpecOf("limit", {.requests = 3'000, .period_ms = 3'600'000}), "s");
  int64_t served = 0;
  const auto all = [&](int64_t) {
    for (int node = 0; node < 3; ++node) served += cluster.Serve(node, matches, 2);
  };
  cluster.Run(2'000, all);
  CHECK(served >= 2'990);
  // One after the other: what the first ones used is known to the others each time.
  for (int node = 0; node < 3; ++node) {
    cluster.Restart(node);
    cluster.Run(1'000, [](int64_t) {});
    cluster.Run(2'000, all);
  }
  CAPTURE(served);
  CHECK(served <= 3'060);
}

TEST_CASE("concurrent requests over three data planes") {
  struct Row {
    std::string name;
    int64_t limit;
    bool nats;
    int64_t above;  // by how much the sum may exceed it for an instant
  };
  const Row row = GENERATE(values<Row>({{"with NATS", 60, true, 6},
                                        {"with NATS, few", 5, true, 4},
                                        {"without", 60, false, 0},
                                        {"without, few", 5, false, 0},
                                        {"without, one", 1, false, 0}}));
  CAPTURE(row.name);
  LimitCluster cluster(3, {});
  if (!row.nats) {
    for (int node = 0; node < 3; ++node) cluster.Connect(node, false);
  }
  const auto matches = MatchOf(SpecOf("limit", {.concurrent = row.limit}));
  struct Running {
    LimitTicket ticket;
    int64_t ends_ms;
  };
  std::vector<Running> running;
  int64_t most = 0;
  int64_t sum = 0;
  cluster.Run(5'000, [&](int64_t ms) {
    std::erase_if(running, [ms](const Running& one) { return one.ends_ms <= ms; });
    for (int node = 0; node < 3; ++node) {
      LimitOutcome outcome = cluster.limits(node).Admit(matches, {}, cluster.now_ns());
      if (!outcome) continue;
      outcome->Settle({});
      const auto length_ms = static_cast<int64_t>(200 + cluster.random()() % 200);
      running.push_back({*std::move(outcome), ms + length_ms});
    }
    most = std::max(most, static_cast<int64_t>(running.size()));
    if (ms >= 1'000) sum += static_cast<int64_t>(running.size());
  });
  const int64_t average_tenths = sum / 400;
  CAPTURE(most, average_tenths);
  CHECK(most <= row.limit + row.above);
  CHECK(average_tenths * 10 >= row.limit * 85);  // and the slots are used
  running.clear();
}

TEST_CASE("a data plane that lies can hold back, but not for long after it is gone") {
  LimitCluster cluster(2, {});
  const auto matches = MatchOf(SpecOf("limit", {.requests = 100}), "s");
  const Case row{"steady", kSteady, {}, 100};
  ServeTenPeriods(cluster, row, matches);
  v1::Gossip lie;
  lie.set_instance("liar");
  lie.set_incarnation("1");
  v1::LimitUse& use = *lie.add_limits();
  use.set_limit("limit");
  use.set_subject("s");
  use.set_period_ms(1'000);
  for (int i = 1; i <= 1'000; ++i) {
    lie.set_sent(static_cast<uint64_t>(i));
    use.set_requests(INT64_MAX / 8 / 1'000 * i);
    use.set_own_requests(INT64_MAX);
    use.set_fleet_requests(INT64_MAX);
    use.set_concurrent(-5);
    for (int node = 0; node < 2; ++node)
      cluster.core(node).Receive(lie.SerializeAsString(), cluster.now_ns());
  }
  CHECK(cluster.Serve(0, matches, 10) == 0);
  cluster.SetFleetSize(2);
  cluster.Run(18'000, [](int64_t) {});
  cluster.SetFleetSize(2);
  CHECK(ServeTenPeriods(cluster, row, matches) >= 900);
}

TEST_CASE("taking back what was never claimed lets nobody admit more") {
  LimitCluster cluster(2, {});
  const auto matches = MatchOf(SpecOf("limit", {.requests = 100}), "s");
  v1::Gossip lie;
  lie.set_instance("liar");
  lie.set_incarnation("1");
  v1::LimitUse& use = *lie.add_limits();
  use.set_limit("limit");
  use.set_subject("s");
  use.set_period_ms(1'000);
  int64_t served = 0;
  uint64_t sent = 0;
  cluster.Run(10'000, [&](int64_t ms) {
    for (int node = 0; node < 2; ++node) {
      lie.set_sent(++sent);
      use.set_requests(ms == 0 ? 1'000'000'000 : 1'000'000'000 - 1'000 * ms);
      if (ms > 0) cluster.core(node).Receive(lie.SerializeAsString(), cluster.now_ns());
      served += cluster.Serve(node, matches, 2);
    }
  });
  CHECK(served <= 1'020);
}

}  // namespace
}  // namespace spillway
