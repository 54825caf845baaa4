#include "dataplane/upstream/resolver.h"

#include <catch2/catch_all.hpp>
#include <memory>

#include "dataplane/exchange/timer_wheel.h"
#include "tests/unit/dataplane/upstream/await.h"

namespace spillway {
namespace {

using boost::asio::ip::make_address;

// Answers lookups when the test says so.
struct FakeDns {
  std::vector<std::function<void(Result<Addresses>)>> waiting;
  int asked = 0;

  Lookup lookup() {
    return [this](const std::string&, std::function<void(Result<Addresses>)> done) {
      ++asked;
      waiting.push_back(std::move(done));
    };
  }
  void Answer(Result<Addresses> answer) {
    auto done = std::move(waiting.front());
    waiting.erase(waiting.begin());
    done(std::move(answer));
  }
};

Result<Addresses> Failure() { return Fail(ErrorCode::kUpstreamUnreachable, "no such host"); }

struct Fixture {
  ManualClock clock;
  Loop loop{clock};
  FakeDns dns;
  Resolver resolver{
      loop,
      {.fresh_ms = 30'000, .aging_ms = 300'000, .stale_ms = 3'600'000, .failure_ms = 1'000},
      dns.lookup()};
  Wakeup wakeup{loop};

  Result<Addresses> Now() { return Await(loop, resolver.Resolve("api.example", wakeup)); }
};

const Addresses kOne = {make_address("192.0.2.1")};
const Addresses kTwo = {make_address("192.0.2.2")};

TEST_CASE("a name is asked once and waited for by all who need it") {
  Fixture f;
  Wakeup other(f.loop);
  Running<Result<Addresses>> first(f.loop, f.resolver.Resolve("api.example", f.wakeup));
  Running<Result<Addresses>> second(f.loop, f.resolver.Resolve("api.example", other));
  REQUIRE(RunUntil(f.loop, [&] { return f.dns.asked == 1; }));
  f.dns.Answer(kOne);
  CHECK(first.Wait().value() == kOne);
  CHECK(second.Wait().value() == kOne);
  CHECK(f.Now().value() == kOne);
  CHECK(f.dns.asked == 1);
}

TEST_CASE("an old answer serves while a new one is fetched, and for hours when there is none") {
  Fixture f;
  Running<Result<Addresses>> first(f.loop, f.resolver.Resolve("api.example", f.wakeup));
  REQUIRE(RunUntil(f.loop, [&] { return f.dns.asked == 1; }));
  f.dns.Answer(kOne);
  REQUIRE(first.Wait().has_value());

  f.clock.AdvanceMs(31'000);
  CHECK(f.Now().value() == kOne);  // at once, and asks again
  CHECK(f.dns.asked == 2);
  f.dns.Answer(Failure());
  CHECK(f.Now().value() == kOne);
  f.clock.AdvanceMs(200'000);
  CHECK(f.Now().value() == kOne);
  CHECK(f.dns.asked == 3);
  f.dns.Answer(kTwo);
  CHECK(f.Now().value() == kTwo);

  f.clock.AdvanceMs(3'600'001);
  Running<Result<Addresses>> late(f.loop, f.resolver.Resolve("api.example", f.wakeup));
  REQUIRE(RunUntil(f.loop, [&] { return f.dns.asked == 4; }));
  CHECK_FALSE(late.done());
  f.dns.Answer(Failure());
  CHECK(late.Wait().error().code == ErrorCode::kUpstreamUnreachable);
}

TEST_CASE("an answer of long ago waits for a new one, and serves when there is none") {
  Fixture f;
  const auto ask = [&](int times) {
    auto asking = std::make_unique<Running<Result<Addresses>>>(
        f.loop, f.resolver.Resolve("api.example", f.wakeup));
    REQUIRE(RunUntil(f.loop, [&] { return f.dns.asked == times; }));
    return asking;
  };
  const auto first = ask(1);
  f.dns.Answer(kOne);
  REQUIRE(first->Wait().has_value());
  f.clock.AdvanceMs(300'000);
  const auto asking = ask(2);
  CHECK_FALSE(asking->done());
  SECTION("the new one is used") {
    f.dns.Answer(kTwo);
    CHECK(asking->Wait().value() == kTwo);
  }
  SECTION("asking fails") {
    f.dns.Answer(Failure());
    CHECK(asking->Wait().value() == kOne);
    CHECK(f.Now().value() == kOne);  // at once: the failure is fresh
    CHECK(f.dns.asked == 2);
  }
  SECTION("asking hangs: only the first ones wait, and not for long") {
    f.clock.AdvanceMs(520);
    f.loop.timers->Advance();
    CHECK(asking->Wait().value() == kOne);
    CHECK(f.Now().value() == kOne);
    CHECK(f.dns.asked == 2);
    f.dns.Answer(kTwo);
    CHECK(f.Now().value() == kTwo);
  }
}

TEST_CASE("a failure is remembered for a moment only") {
  Fixture f;
  Running<Result<Addresses>> first(f.loop, f.resolver.Resolve("api.example", f.wakeup));
  REQUIRE(RunUntil(f.loop, [&] { return f.dns.asked == 1; }));
  f.dns.Answer(Failure());
  CHECK_FALSE(first.Wait().has_value());
  CHECK_FALSE(f.Now().has_value());
  CHECK(f.dns.asked == 1);
  f.clock.AdvanceMs(1'001);
  Running<Result<Addresses>> again(f.loop, f.resolver.Resolve("api.example", f.wakeup));
  REQUIRE(RunUntil(f.loop, [&] { return f.dns.asked == 2; }));
  f.dns.Answer(kOne);
  CHECK(again.Wait().value() == kOne);
}

TEST_CASE("one who stops waiting for a name leaves the others waiting") {
  Fixture f;
  Wakeup other(f.loop);
  Running<Result<Addresses>> first(f.loop, f.resolver.Resolve("api.example", f.wakeup));
  Running<Result<Addresses>> second(f.loop, f.resolver.Resolve("api.example", other));
  REQUIRE(RunUntil(f.loop, [&] { return f.dns.asked == 1; }));
  f.wakeup.Wake();
  CHECK(first.Wait().error().code == ErrorCode::kCancelled);
  CHECK_FALSE(second.done());
  f.dns.Answer(kOne);
  CHECK(second.Wait().value() == kOne);
}

TEST_CASE("a full table drops no name that somebody waits for, and none to find one it has") {
  ManualClock clock;
  Loop loop(clock);
  FakeDns dns;
  Resolver resolver(loop, {.hosts_max = 1}, dns.lookup());
  Wakeup wakeup(loop);
  Wakeup other(loop);
  Running<Result<Addresses>> first(loop, resolver.Resolve("a.example", wakeup));
  REQUIRE(RunUntil(loop, [&] { return dns.asked == 1; }));
  // It runs before the first one, which is woken behind it.
  Running<Result<Addresses>> second(loop, resolver.Resolve("b.example", other));
  dns.Answer(kOne);
  CHECK(first.Wait().value() == kOne);
  dns.Answer(kTwo);
  CHECK(second.Wait().value() == kTwo);
  CHECK(Await(loop, resolver.Resolve("a.example", wakeup)).value() == kOne);
  CHECK(Await(loop, resolver.Resolve("b.example", wakeup)).value() == kTwo);
  CHECK(dns.asked == 2);
}

TEST_CASE("an answer that comes after the resolver is gone is nobody's") {
  ManualClock clock;
  Loop loop(clock);
  FakeDns dns;
  {
    Resolver resolver(loop, {}, dns.lookup());
    Wakeup wakeup(loop);
    Running<Result<Addresses>> asked(loop, resolver.Resolve("api.example", wakeup));
    REQUIRE(RunUntil(loop, [&] { return dns.asked == 1; }));
    wakeup.Wake();
    CHECK_FALSE(asked.Wait().has_value());
  }
  dns.Answer(kOne);
}

TEST_CASE("addresses where no provider can be are never used") {
  const std::pair<const char*, bool> rows[] = {
      {"169.254.169.254", true},
      {"::ffff:169.254.169.254", true},
      {"fe80::1", true},
      {"fd00:ec2::254", true},
      {"0.0.0.0", true},
      {"::", true},
      {"224.0.0.1", true},
      {"ff02::1", true},
      {"240.0.0.1", true},
      {"100.100.100.200", true},
      {"168.63.129.16", true},
      {"64:ff9b::a9fe:a9fe", true},
      {"127.0.0.1", false},
      {"10.0.0.1", false},
      {"::1", false},
      {"fd00::1", false},
      {"192.0.2.1", false},
      {"2001:db8::1", false},
  };
  for (const auto& [address, forbidden] : rows) {
    DYNAMIC_SECTION(address) { CHECK(IsForbidden(make_address(address)) == forbidden); }
  }
  Fixture f;
  CHECK_FALSE(Await(f.loop, f.resolver.Resolve("169.254.169.254", f.wakeup)).has_value());
  CHECK(Await(f.loop, f.resolver.Resolve("127.0.0.1", f.wakeup)).value().size() == 1);
  CHECK(f.dns.asked == 0);
  Running<Result<Addresses>> rebound(f.loop, f.resolver.Resolve("api.example", f.wakeup));
  REQUIRE(RunUntil(f.loop, [&] { return f.dns.asked == 1; }));
  f.dns.Answer(Addresses{make_address("169.254.169.254"), make_address("192.0.2.1")});
  CHECK(rebound.Wait().value() == kOne);
}

TEST_CASE("the system's resolver answers for localhost") {
  Loop loop(SystemClock());
  Resolver resolver(loop);
  Wakeup wakeup(loop);
  const Result<Addresses> found = Await(loop, resolver.Resolve("localhost", wakeup));
  REQUIRE(found.has_value());
  CHECK(found->front().is_loopback());
}

}  // namespace
}  // namespace spillway
