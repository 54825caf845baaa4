#include "controlplane/ledger/totals.h"

#include <catch2/catch_all.hpp>
#include <cstring>
#include <vector>

namespace spillway::ledger {
namespace {

std::string OldRow(const std::vector<int64_t>& numbers) {
  std::string bytes(numbers.size() * sizeof(int64_t), '\0');
  std::memcpy(bytes.data(), numbers.data(), bytes.size());
  return bytes;
}

TEST_CASE("totals survive the store, each number by itself") {
  for (size_t i = 0; i < kNumbers.size(); ++i) {
    Totals totals;
    totals.*kNumbers[i] = static_cast<int64_t>(i) * 7919 - 3;
    const auto read = Totals::FromBytes(totals.Bytes());
    REQUIRE(read.has_value());
    CHECK(*read == totals);
    CHECK_FALSE(read->partial);
    CHECK_FALSE(read->Agrees({}));
  }
}

TEST_CASE("rows of older programs are read, and stay marked when they grow") {
  const auto old = Totals::FromBytes(OldRow({1, 2, 3, 4, 5, 6, 7, 8, 9}));
  REQUIRE(old.has_value());
  CHECK(old->requests == 1);
  CHECK(old->cost_nanos == 7);
  CHECK(old->events == 9);
  CHECK(old->retries == 0);
  CHECK(old->partial);
  Totals more;
  more.cost_nanos = 100;
  more.retries = 1;
  more.retry_nanos = 100;
  Totals grown = *old;
  grown += more;
  const auto again = Totals::FromBytes(grown.Bytes());
  REQUIRE(again.has_value());
  CHECK(again->partial);
  CHECK(again->cost_nanos == 107);
  CHECK(again->retry_nanos == 100);
  Totals recomputed = *again;
  recomputed.partial = false;
  recomputed.retries = 50;
  CHECK(again->Agrees(recomputed));
  recomputed.cost_nanos += 1;
  CHECK_FALSE(again->Agrees(recomputed));
}

TEST_CASE("what is no row is refused") {
  for (const size_t size : {size_t{0}, size_t{8}, size_t{64}, size_t{71}, size_t{74}})
    CHECK_FALSE(Totals::FromBytes(std::string(size, '\0')).has_value());
  CHECK_FALSE(Totals::FromBytes(std::string(72, '\0') + "x").has_value());
  CHECK(Totals::FromBytes(std::string(72, '\0') + "p")->partial);
  // A newer program's row: what is known of it.
  std::string newer = Totals{}.Bytes() + std::string(16, '\1');
  CHECK(Totals::FromBytes(newer).has_value());
}

TEST_CASE("an attempt is in one class at most") {
  struct Case {
    const char* name;
    v1::EndReason end;
    bool winner, fallback;
    int64_t requests, retries, fallbacks, disconnects;
  };
  const Case kCases[] = {
      {"answered", v1::END_FINISHED, true, false, 1, 0, 0, 0},
      {"answered by a fallback", v1::END_FINISHED, true, true, 1, 0, 1, 0},
      {"failed, another followed", v1::END_UPSTREAM_ERROR, false, false, 0, 1, 0, 0},
      {"a fallback that failed", v1::END_UPSTREAM_CUT, false, true, 0, 1, 0, 0},
      {"cut after its first byte", v1::END_UPSTREAM_CUT, true, false, 1, 0, 0, 0},
      {"the client left", v1::END_CLIENT_LEFT, true, false, 1, 0, 0, 1},
      {"the client left a fallback", v1::END_CLIENT_LEFT, false, true, 1, 0, 0, 1},
      {"nobody knows", v1::END_ABANDONED, false, false, 1, 0, 0, 0},
  };
  for (const Case& test : kCases) {
    DYNAMIC_SECTION(test.name) {
      v1::Finished finished;
      finished.set_end(test.end);
      finished.set_winner(test.winner);
      finished.set_fallback(test.fallback);
      finished.set_cost_nanos(9);
      const Totals totals = TotalsOf(finished);
      CHECK(totals.requests == test.requests);
      CHECK(totals.retries == test.retries);
      CHECK(totals.fallbacks == test.fallbacks);
      CHECK(totals.disconnects == test.disconnects);
      CHECK(totals.retry_nanos == 9 * test.retries);
      CHECK(totals.fallback_nanos == 9 * test.fallbacks);
      CHECK(totals.disconnect_nanos == 9 * test.disconnects);
    }
  }
}

}  // namespace
}  // namespace spillway::ledger
