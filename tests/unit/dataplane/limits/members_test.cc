#include "dataplane/limits/members.h"

#include <catch2/catch_all.hpp>
#include <string>

#include "common/clock.h"

namespace spillway {
namespace {

constexpr int64_t kStart = 1'000'000'000;

struct MembersBench {
  Members members{"b", /*cluster=*/true, kStart};
  int64_t now_ns = kStart;
  uint64_t sent = 0;

  void Hear(const std::string& name, const std::string& incarnation = "1") {
    members.Hear(name, incarnation, ++sent, now_ns);
  }
  void PassMs(int64_t ms) {
    now_ns += ms * kNsPerMs;
    members.Tick(now_ns);
  }
  int64_t live() const { return members.view()->live; }
  int64_t fleet() const { return members.view()->fleet; }
};

TEST_CASE("one that joins without NATS counts itself on top of the fleet") {
  MembersBench bench;
  bench.members.SetFleetSize(3, bench.now_ns, bench.now_ns);
  CHECK(bench.live() == 1);
  CHECK(bench.fleet() == 4);
  bench.members.SetConnected(true, bench.now_ns);
  CHECK(bench.fleet() == 3);
  bench.members.SetConnected(false, bench.now_ns);
  CHECK(bench.fleet() == 3);  // it is known now
}

TEST_CASE("alone, without a cluster, the whole limit is its own") {
  Members alone("a", /*cluster=*/false, kStart);
  CHECK(alone.view()->fleet == 1);
  CHECK_FALSE(alone.Hear("b", "1", 1, kStart));
  CHECK(alone.view()->live == 1);
}

TEST_CASE("a silent member keeps its share until the control plane counts fewer") {
  MembersBench bench;
  bench.members.SetConnected(true, bench.now_ns);
  bench.members.SetFleetSize(3, bench.now_ns, bench.now_ns);
  CHECK(bench.live() == 1);  // two are counted and not heard
  bench.Hear("a");
  bench.Hear("c");
  CHECK(bench.live() == 3);
  CHECK(bench.members.view()->ranks == std::vector<int64_t>{0, 1, 2});
  bench.PassMs(300);
  bench.Hear("a");
  bench.PassMs(300);
  CHECK(bench.live() == 2);
  CHECK(bench.fleet() == 3);
  CHECK(bench.members.view()->ranks == std::vector<int64_t>{0, 1});
  for (int i = 0; i < 600; ++i) {
    bench.PassMs(100);
    bench.Hear("a");
    bench.members.SetFleetSize(3, bench.now_ns, bench.now_ns);
  }
  CHECK(bench.fleet() == 3);
  bench.members.SetFleetSize(2, bench.now_ns, bench.now_ns);
  CHECK(bench.live() == 2);
  CHECK(bench.fleet() == 2);
}

TEST_CASE("members seen count when the control plane does not know them yet") {
  MembersBench bench;
  bench.members.SetConnected(true, bench.now_ns);
  bench.members.SetFleetSize(2, bench.now_ns, bench.now_ns);
  for (const char* name : {"a", "c", "d"}) bench.Hear(name);
  CHECK(bench.fleet() == 4);
  CHECK(bench.live() == 4);
  // Silent for a moment only: an old count says nothing against it.
  bench.PassMs(600);
  bench.members.SetFleetSize(2, bench.now_ns, bench.now_ns);
  CHECK(bench.fleet() == 4);
  CHECK(bench.live() == 1);
  bench.PassMs(20'000);
  bench.members.SetFleetSize(2, bench.now_ns - 15'000 * kNsPerMs, bench.now_ns);
  CHECK(bench.fleet() == 4);
  bench.members.SetFleetSize(2, bench.now_ns, bench.now_ns);
  CHECK(bench.fleet() == 2);
}

TEST_CASE("losing NATS makes everybody silent at once") {
  MembersBench bench;
  bench.members.SetConnected(true, bench.now_ns);
  bench.Hear("a");
  bench.Hear("c");
  const uint64_t generation = bench.members.view()->generation;
  bench.members.SetConnected(false, bench.now_ns);
  CHECK(bench.live() == 1);
  CHECK(bench.fleet() == 3);
  CHECK(bench.members.view()->generation > generation);
}

TEST_CASE("own messages, old copies and too many names are ignored") {
  Members members("b", true, kStart);
  CHECK_FALSE(members.Hear("b", "1", 5, kStart));
  const auto first = members.Hear("a", "1", 5, kStart);
  REQUIRE(first);
  CHECK_FALSE(members.Hear("a", "1", 5, kStart));
  CHECK_FALSE(members.Hear("a", "1", 4, kStart));
  const auto next = members.Hear("a", "1", 6, kStart);
  REQUIRE(next);
  CHECK(next->life == first->life);
  const auto restarted = members.Hear("a", "2", 1, kStart);
  REQUIRE(restarted);
  CHECK(restarted->member == first->member);
  CHECK(restarted->life != first->life);
  members.Tick(kStart + 600 * kNsPerMs);
  const auto returned = members.Hear("a", "2", 2, kStart + 600 * kNsPerMs);
  REQUIRE(returned);
  CHECK(returned->life != restarted->life);
  for (size_t i = 0; i < 2 * Members::kMembersMax; ++i)
    members.Hear("m" + std::to_string(i), "1", 1, kStart + 600 * kNsPerMs);
  CHECK(members.members() == static_cast<int64_t>(Members::kMembersMax));
}

TEST_CASE("a round ends when every live member was heard in it") {
  Members members("b", true, kStart);
  members.SetConnected(true, kStart);
  const auto a = members.Hear("a", "1", 1, kStart);
  const auto c = members.Hear("c", "1", 1, kStart);
  int64_t now_ns = kStart + 100 * kNsPerMs;
  const uint64_t before = members.Complete(a->member, now_ns);
  CHECK(members.Complete(a->member, now_ns) == before);
  const uint64_t after = members.Complete(c->member, now_ns);
  CHECK(after == before + 1);
  // Not in less than 20 ms: messages take their time.
  now_ns += 1 * kNsPerMs;
  members.Complete(a->member, now_ns);
  CHECK(members.Complete(c->member, now_ns) == after);
  now_ns += 30 * kNsPerMs;
  CHECK(members.Complete(a->member, now_ns) == after + 1);
}

TEST_CASE("what was applied is confirmed, message by message") {
  Members members("b", true, kStart);
  members.SetConnected(true, kStart);
  CHECK(members.Confirmations().empty());
  const auto a = members.Hear("a", "1", 3, kStart);
  REQUIRE(a);
  CHECK(members.Confirmations().empty());  // heard, not applied yet
  members.Applied(a->member, 3);
  members.Applied(a->member, 2);  // an old copy
  members.Applied(a->member, 5);
  members.Applied(a->member, 6);
  auto confirmed = members.Confirmations();
  REQUIRE(confirmed.size() == 1);
  CHECK(confirmed[0].instance == "a");
  CHECK(confirmed[0].sent == 6);
  CHECK(confirmed[0].before == 0b101);  // 5 and 3
  members.Applied(a->member, 70);
  CHECK(members.Confirmations()[0].before == uint64_t{1} << 63);
  members.Applied(a->member, 1'000);
  CHECK(members.Confirmations()[0].before == 0);
  members.Hear("a", "2", 1, kStart);  // another process
  CHECK(members.Confirmations().empty());
}

TEST_CASE("a message is heard by all when every live member has confirmed it") {
  MembersBench bench;
  Members& members = bench.members;
  members.SetConnected(true, bench.now_ns);
  const auto a = members.Hear("a", "1", 1, bench.now_ns);
  const auto c = members.Hear("c", "1", 1, bench.now_ns);
  const auto has = [&](uint64_t sent) { return members.view()->heard->Has(sent); };
  members.Confirmed(a->member, 9, 0b11);
  CHECK_FALSE(has(9));
  members.Confirmed(c->member, 8, 0);
  CHECK(has(8));
  CHECK_FALSE(has(9));
  CHECK_FALSE(has(7));
  CHECK_FALSE(has(0));
  CHECK_FALSE(has(8 + HeardByAll::kWindow));
  members.Confirmed(c->member, 9, 0b10);
  CHECK(has(9));
  CHECK(has(7));

  // c falls silent: what it has heard is kept as it was, what the others have counts from now on.
  members.Confirmed(a->member, 12, 0);
  bench.PassMs(400);
  members.Hear("a", "1", 2, bench.now_ns);
  bench.PassMs(200);
  REQUIRE(bench.live() == 2);
  CHECK(has(12));
  CHECK(has(9));
  CHECK(members.view()->losses == 1);
  CHECK(members.view()->heard_before->Has(9));
  CHECK_FALSE(members.view()->heard_before->Has(12));
  // It comes back and knows nothing.
  const uint64_t joins = members.view()->joins;
  const auto returned = members.Hear("c", "1", 2, bench.now_ns);
  CHECK(members.view()->joins == joins + 1);
  members.Confirmed(a->member, 13, 0);
  CHECK_FALSE(has(13));
  members.Confirmed(returned->member, 13, 0);
  CHECK(has(13));
}

}  // namespace
}  // namespace spillway
