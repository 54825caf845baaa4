#include "dataplane/limits/ticket.h"

#include <catch2/catch_all.hpp>
#include <string>
#include <utility>

#include "dataplane/limits/limits.h"
#include "tests/unit/dataplane/limits/specs.h"

namespace spillway {
namespace {

TEST_CASE("resets are written as OpenAI writes them") {
  struct Row {
    int64_t ms;
    std::string want;
  };
  const Row row = GENERATE(values<Row>({
      {-5, "0ms"},
      {0, "0ms"},
      {12, "12ms"},
      {999, "999ms"},
      {1'000, "1s"},
      {1'001, "2s"},
      {59'000, "59s"},
      {59'001, "1m0s"},
      {90'000, "1m30s"},
      {360'000, "6m0s"},
      {3'600'000, "1h0m0s"},
      {86'399'000, "23h59m59s"},
  }));
  CHECK(ResetText(row.ms) == row.want);
}

TEST_CASE("headers show the tightest limit of each kind") {
  LimitStandings standings;
  std::string headers;
  standings.AppendHeaders(headers);
  CHECK(headers.empty());
  standings.Merge({.requests = {.limit = 100, .remaining = 50, .reset_ms = 1'000}});
  standings.Merge({.requests = {.limit = 1'000, .remaining = 400, .reset_ms = 360'000}});
  standings.Merge({.requests = {.limit = 10, .remaining = 9, .reset_ms = 12},
                   .tokens = {.limit = 5'000, .remaining = 0, .reset_ms = 12}});
  standings.AppendHeaders(headers);
  CHECK(headers ==
        "x-ratelimit-limit-requests: 1000\r\n"
        "x-ratelimit-remaining-requests: 400\r\n"
        "x-ratelimit-reset-requests: 6m0s\r\n"
        "x-ratelimit-limit-tokens: 5000\r\n"
        "x-ratelimit-remaining-tokens: 0\r\n"
        "x-ratelimit-reset-tokens: 12ms\r\n");
}

struct TicketBench {
  ManualClock clock;
  RateLimits limits{{}, clock};
  std::shared_ptr<const RateLimitSpec> spec =
      SpecOf("team", {.requests = 10, .tokens = 1'000, .concurrent = 2, .period_ms = 60'000});
  std::vector<RateLimitMatch> matches = MatchOf(spec, "a");

  LimitOutcome Admit(LimitAsk ask = {.input_tokens = 60, .output_tokens = 40}) {
    return limits.Admit(matches, ask, clock.MonotonicNs());
  }
  LimitStandings now() { return limits.Standings(matches, clock.MonotonicNs()); }
};

TEST_CASE("every end of a ticket gives back what it must") {
  struct Row {
    std::string name;
    void (*end)(LimitTicket);
    int64_t requests;  // left of 10
    int64_t tokens;    // left of 1,000
  };
  const Row row = GENERATE(values<Row>({
      {"dropped unsettled", [](LimitTicket) {}, 10, 1'000},
      {"settled as asked", [](LimitTicket ticket) { ticket.Settle({60, 40}); }, 9, 900},
      {"settled lower", [](LimitTicket ticket) { ticket.Settle({5, 5}); }, 9, 990},
      {"settled higher", [](LimitTicket ticket) { ticket.Settle({400, 300}); }, 9, 300},
      {"settled into debt", [](LimitTicket ticket) { ticket.Settle({4'000, 0}); }, 9, 0},
      {"settled twice: the last word counts",
       [](LimitTicket ticket) {
         ticket.Settle({900, 0});
         ticket.Settle({50, 0});
       },
       9, 950},
      {"settled at nothing", [](LimitTicket ticket) { ticket.Settle({}); }, 9, 1'000},
      {"negative figures count as none", [](LimitTicket ticket) { ticket.Settle({-100, 30}); }, 9,
       970},
      {"moved about",
       [](LimitTicket ticket) {
         LimitTicket other = std::move(ticket);
         LimitTicket third;
         third = std::move(other);
         third.Settle({100, 0});
       },
       9, 900},
      {"ended early, then again by its destructor",
       [](LimitTicket ticket) {
         ticket.Settle({100, 0});
         ticket.Drop();
       },
       9, 900},
  }));
  CAPTURE(row.name);
  TicketBench bench;
  LimitOutcome first = bench.Admit();
  REQUIRE(first);
  LimitOutcome second = bench.Admit();
  REQUIRE(second);
  CHECK_FALSE(bench.Admit());  // both slots are taken
  second->Drop();
  row.end(*std::move(first));
  CHECK(bench.now().requests.remaining == row.requests);
  CHECK(bench.now().tokens.remaining == row.tokens);
  if (row.tokens == 0) bench.clock.AdvanceMs(600'000);
  // Both slots are free again, on every path.
  const LimitOutcome third = bench.Admit();
  const LimitOutcome fourth = bench.Admit();
  CHECK(third);
  CHECK(fourth);
}

TEST_CASE("a ticket for many limits holds them all") {
  ManualClock clock;
  RateLimits limits({}, clock);
  std::vector<RateLimitMatch> matches;
  matches.reserve(9);
  for (int i = 0; i < 9; ++i) {
    matches.push_back(
        {.limit = SpecOf("limit" + std::to_string(i), {.requests = 3, .concurrent = 2}),
         .subject = "s"});
  }
  {
    const LimitOutcome one = limits.Admit(matches, {}, clock.MonotonicNs());
    const LimitOutcome two = limits.Admit(matches, {}, clock.MonotonicNs());
    CHECK(one);
    CHECK(two);
    for (const RateLimitMatch& match : matches)
      CHECK_FALSE(limits.Admit(std::span(&match, 1), {}, clock.MonotonicNs()));
  }
  for (const RateLimitMatch& match : matches)
    CHECK(limits.Standings(std::span(&match, 1), clock.MonotonicNs()).requests.remaining == 3);
}

}  // namespace
}  // namespace spillway
