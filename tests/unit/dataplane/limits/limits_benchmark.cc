#include <catch2/catch_all.hpp>
#include <string>
#include <vector>

#include "dataplane/limits/gossip_core.h"
#include "dataplane/limits/limits.h"
#include "tests/unit/dataplane/limits/specs.h"

namespace spillway {
namespace {

// Admit, settle and drop, uncontended; the bar is 150 ns for one limit.
TEST_CASE("cost of rate limits", "[.benchmark]") {
  const LimitFigures endless{
      .requests = 1'000'000'000'000, .tokens = 1'000'000'000'000, .concurrent = 1'000};
  const int64_t now_ns = SystemClock().MonotonicNs();
  const auto serve = [now_ns](RateLimits& limits, const std::vector<RateLimitMatch>& matches) {
    LimitOutcome outcome = limits.Admit(matches, {100, 50}, now_ns);
    if (outcome) outcome->Settle({90, 40});
    return outcome.has_value();
  };
  RateLimits alone({}, SystemClock());
  const auto one = MatchOf(SpecOf("team-tokens", endless), "support");
  BENCHMARK("one limit") { return serve(alone, one); };

  std::vector<RateLimitMatch> four;
  four.reserve(4);
  for (int i = 0; i < 4; ++i)
    four.push_back({.limit = SpecOf("limit" + std::to_string(i), endless), .subject = "support"});
  BENCHMARK("four limits") { return serve(alone, four); };

  RateLimits clustered({.cluster = true}, SystemClock());
  GossipCore core(clustered, "a", "1", now_ns);
  core.SetConnected(true, now_ns);
  for (const char* peer : {"b", "c"}) {
    v1::Gossip gossip;
    gossip.set_instance(peer);
    gossip.set_incarnation("1");
    gossip.set_sent(1);
    v1::LimitUse& use = *gossip.add_limits();
    use.set_limit("team-tokens");
    use.set_subject("support");
    use.set_period_ms(1'000);
    use.set_own_requests(100);
    core.Receive(gossip.SerializeAsString(), now_ns);
  }
  BENCHMARK("one limit, two peers") { return serve(clustered, one); };

  const auto narrow = MatchOf(SpecOf("narrow", {.requests = 1, .period_ms = 3'600'000}), "s");
  (void)serve(alone, narrow);
  BENCHMARK("refused") { return serve(alone, narrow); };

  std::string headers;
  const LimitStandings standings = alone.Standings(one, now_ns);
  BENCHMARK("headers") {
    headers.clear();
    standings.AppendHeaders(headers);
    return headers.size();
  };
}

}  // namespace
}  // namespace spillway
