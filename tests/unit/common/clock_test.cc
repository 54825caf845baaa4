#include "common/clock.h"

#include <catch2/catch_all.hpp>

namespace spillway {

TEST_CASE("the machine's clocks go on") {
  const Clock& clock = SystemClock();
  const int64_t before = clock.MonotonicNs();
  CHECK(clock.MonotonicNs() >= before);
  CHECK(clock.WallMs() > 1'700'000'000'000);
}

TEST_CASE("a manual clock stands still until moved") {
  ManualClock clock(5'000);
  const int64_t start = clock.MonotonicNs();
  CHECK(clock.WallMs() == 5'000);
  CHECK(clock.MonotonicNs() == start);

  clock.AdvanceMs(250);
  CHECK(clock.WallMs() == 5'250);
  CHECK(clock.MonotonicNs() == start + 250'000'000);

  clock.AdvanceNs(999'999);
  CHECK(clock.WallMs() == 5'250);
  CHECK(clock.MonotonicNs() == start + 250'999'999);
}

TEST_CASE("setting the date of a manual clock leaves the monotonic one alone") {
  ManualClock clock;
  const int64_t start = clock.MonotonicNs();
  clock.SetWallMs(7);
  CHECK(clock.WallMs() == 7);
  CHECK(clock.MonotonicNs() == start);
}

}  // namespace spillway
