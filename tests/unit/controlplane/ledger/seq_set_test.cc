#include "controlplane/ledger/seq_set.h"

#include <catch2/catch_all.hpp>
#include <random>
#include <set>

#include "controlplane/ledger/keys.h"
#include "controlplane/ledger/marks.h"

namespace spillway {
namespace {

TEST_CASE("a set of ranges is a set of numbers") {
  std::minstd_rand random(Catch::getSeed());
  std::uniform_int_distribution<int64_t> number(1, 60);
  for (int round = 0; round < 300; ++round) {
    SeqSet set;
    std::set<int64_t> truth;
    for (int step = 0; step < 30; ++step) {
      const int64_t from = number(random);
      const int64_t to = std::min<int64_t>(60, from + number(random) % 8);
      switch (number(random) % 4) {
        case 0:
          set.Remove(from);
          truth.erase(from);
          break;
        case 1:
          if (step % 7 == 0) {
            set.RemoveUpto(from);
            truth.erase(truth.begin(), truth.upper_bound(from));
          }
          break;
        default:
          set.Add(from, to);
          for (int64_t i = from; i <= to; ++i) truth.insert(i);
      }
      std::set<int64_t> holes;
      for (const auto& [first, last] : set.Holes(5, 55))
        for (int64_t i = first; i <= last; ++i) holes.insert(i);
      for (int64_t i = 1; i <= 60; ++i) {
        REQUIRE(set.Contains(i) == truth.contains(i));
        REQUIRE(holes.contains(i) == (i >= 5 && i <= 55 && !truth.contains(i)));
      }
    }
    int64_t last = -1;
    for (const auto& [from, to] : set.map()) {
      REQUIRE(from > last + 1);  // neither touching nor overlapping
      last = to;
    }
  }
}

TEST_CASE("a mark moves over what fills its gap, and survives being stored") {
  ledger::Mark mark{.instance = "dp"};
  mark.Add(1, 3);
  mark.Add(6, 7);
  mark.Add(10, 12);
  CHECK(mark.committed_upto == 3);
  CHECK(mark.Gaps() == std::vector<std::pair<int64_t, int64_t>>{{4, 5}, {8, 9}});
  mark.Add(4, 9);
  CHECK(mark.committed_upto == 12);
  CHECK(mark.applied.empty());
  mark.Add(20, 20);
  mark.lost.Add(20, 20);
  mark.closed_seq = 20;
  v1::LedgerMark stored;
  REQUIRE(stored.ParseFromString(mark.Bytes()));
  const ledger::Mark again = ledger::Mark::FromProto(stored);
  CHECK(again.Gaps() == mark.Gaps());
  CHECK(again.lost.Contains(20));
  CHECK_FALSE(again.complete());
}

TEST_CASE("keys sort as what they mean and read back") {
  const auto packed = ledger::PackIncarnation("00112233445566778899aabbccddeeff");
  REQUIRE(packed.has_value());
  CHECK(ledger::UnpackIncarnation(*packed) == "00112233445566778899aabbccddeeff");
  CHECK_FALSE(ledger::PackIncarnation("00112233445566778899aabbccddeefg").has_value());
  CHECK_FALSE(ledger::PackIncarnation("").has_value());
  CHECK(ledger::EventKey(5, *packed, 300) < ledger::EventKey(5, *packed, 70'000));
  CHECK(ledger::EventKey(255, *packed, 9) < ledger::EventKey(256, *packed, 1));
  CHECK(ledger::EventKey(-5, *packed, 1) == ledger::EventKey(0, *packed, 1));
  const auto id = ledger::ReadEventKey(ledger::EventKey(77, *packed, 8));
  REQUIRE(id.has_value());
  CHECK(id->time_ms == 77);
  CHECK(id->seq == 8);
  v1::Attribution who;
  who.set_team("a\0b");
  who.set_model(std::string(300, 'm'));
  const std::string key = ledger::RollupKey(3600, who);
  const auto row = ledger::ReadRollupKey(key);
  REQUIRE(row.has_value());
  CHECK(row->hour_s == 3600);
  CHECK(row->names[1] == who.team());
  CHECK(row->names[5] == who.model());
  CHECK_FALSE(ledger::ReadRollupKey(std::string_view(key).substr(0, 20)).has_value());
}

}  // namespace
}  // namespace spillway
