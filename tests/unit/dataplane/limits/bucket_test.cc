#include "dataplane/limits/bucket.h"

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <string>
#include <vector>

#include "dataplane/limits/fleet_view.h"

namespace spillway {
namespace {

BucketShare Whole(int64_t share) { return {.whole = share, .own = share}; }

Bucket FullBucket(int64_t limit, int64_t share = kLimitMax) {
  Bucket bucket;
  bucket.SetLimit(limit, Whole(std::min(limit, share)));
  return bucket;
}

TEST_CASE("a bucket admits its limit once per period and pays debt first") {
  struct Row {
    std::string name;
    std::vector<int64_t> taken;  // in one period each; a negative figure is given back
    std::vector<int64_t> left;   // after the period's takings
  };
  const Row row = GENERATE(values<Row>({
      {"nothing is taken", {0, 0}, {10, 10}},
      {"what was not used is forgotten", {3, 0, 0}, {7, 10, 10}},
      {"the whole limit every period", {10, 10, 10}, {0, 0, 0}},
      {"debt is carried", {14, 0}, {0, 6}},
      {"debt of more than a period", {25, 0, 0}, {0, 0, 5}},
      {"what is given back can be taken again", {10, -4}, {0, 10}},
  }));
  CAPTURE(row.name);
  Bucket bucket = FullBucket(10);
  for (size_t i = 0; i < row.taken.size(); ++i) {
    if (i > 0) bucket.Refill(1);
    row.taken[i] >= 0 ? bucket.Take(row.taken[i]) : bucket.GiveBack(-row.taken[i]);
    CAPTURE(i);
    CHECK(bucket.Remaining() == row.left[i]);
  }
}

TEST_CASE("what fits") {
  struct Row {
    std::string name;
    int64_t taken;
    int64_t amount;
    int64_t hidden;
    bool want;
  };
  const Row row = GENERATE(values<Row>({
      {"all of it", 0, 100, 0, true},
      {"the rest", 60, 40, 0, true},
      {"one too many", 60, 41, 0, false},
      {"more than the limit, when full", 0, 5'000, 0, true},
      {"more than the limit, when not full", 1, 5'000, 0, false},
      {"nothing, with nothing left", 100, 0, 0, true},
      {"nothing, while in debt", 101, 0, 0, false},
      {"what peers may have taken is kept", 50, 20, 30, true},
      {"and not a token less", 50, 20, 31, false},
  }));
  CAPTURE(row.name);
  Bucket bucket = FullBucket(100);
  bucket.Take(row.taken);
  CHECK(bucket.Fits(row.amount, row.hidden * kBucketUnit) == row.want);
}

TEST_CASE("a bucket without limit admits everything") {
  Bucket bucket;
  bucket.Take(1'000'000);
  CHECK(bucket.Fits(1'000'000, 1'000'000));
}

TEST_CASE("the rest that was too small for what was asked is carried over") {
  Bucket bucket = FullBucket(1'000);
  int64_t admitted = 0;
  for (int period = 0; period < 10; ++period) {
    if (period > 0) bucket.Refill(1);
    while (bucket.Fits(300, 0)) {
      bucket.Take(300);
      admitted += 300;
    }
    bucket.NoteHeld(300);
  }
  CHECK(admitted == 9'900);  // without carrying: 9,000
  // Nobody was held back in the later periods: forgotten.
  bucket.Refill(3);
  CHECK(bucket.Remaining() == 1'000);
}

TEST_CASE("a share smaller than what is asked fills over several periods") {
  Bucket bucket = FullBucket(10, 3);
  int64_t admitted = 0;
  for (int period = 0; period < 30; ++period) {
    if (period > 0) bucket.Refill(1);
    while (bucket.Fits(5, 0)) {
      bucket.Take(5);
      admitted += 5;
    }
    bucket.NoteHeld(5);
    CHECK(admitted <= int64_t{3} * (period + 1));
  }
  CHECK(admitted == 75);  // five in every second period: a level above what is asked is not kept

  Bucket tiny = FullBucket(8, 2);
  CHECK_FALSE(tiny.Fits(8, 0));
  int periods = 0;
  while (!tiny.Fits(8, 0)) {
    tiny.NoteHeld(8);
    tiny.Refill(1);
    ++periods;
  }
  CHECK(periods == 3);
  // The same for one that comes back only after a while.
  tiny.Take(8);
  tiny.NoteHeld(8);
  tiny.Refill(7);
  CHECK(tiny.Fits(8, 0));
  CHECK(tiny.Remaining() == 8);
}

TEST_CASE("alone, what a share leaves is not carried over") {
  for (const bool alone : {false, true}) {
    CAPTURE(alone);
    Bucket bucket;
    bucket.SetLimit(1'000, {.whole = 300, .own = 300, .alone = alone});
    bucket.Reset();
    bucket.Take(250);
    bucket.NoteHeld(80);
    bucket.Refill(1);
    CHECK(bucket.Remaining() == (alone ? 300 : 350));
  }
}

TEST_CASE("shares of a bucket") {
  const auto share = [](int64_t whole) { return BucketShare{.whole = whole, .own = 30}; };
  Bucket bucket = FullBucket(90);
  bucket.Take(30);
  bucket.SetShare(share(30), 0);  // a third of what is left
  CHECK(bucket.Remaining() == 20);
  CHECK(bucket.Used() == 10);
  bucket.SetShare(share(90), 0);  // the others' part comes with the next period
  CHECK(bucket.Remaining() == 20);
  CHECK(bucket.Used() == 10);
  bucket.Refill(1);
  CHECK(bucket.Remaining() == 90);
  bucket.Take(120);
  bucket.SetShare(share(30), 0);  // and a third of what is owed
  bucket.Refill(1);
  CHECK(bucket.Remaining() == 20);
}

TEST_CASE("the part of those who came back is theirs until the period's end") {
  Bucket bucket = FullBucket(90);
  bucket.SetShare({.whole = 60, .own = 30}, 0);
  bucket.Take(10);
  bucket.SetShare({.whole = 90, .own = 30}, 0);
  bucket.TakeRemote(25, 1);  // of the 30 that are not in the bucket yet
  CHECK(bucket.Remaining() == 50);
  CHECK(bucket.Used() == 35);
  bucket.GiveBackRemote(5);
  CHECK(bucket.Remaining() == 50);
  bucket.TakeRemote(16, 1);
  CHECK(bucket.Remaining() == 44);
  // Another is lost: of the rest only the part that is surely one's own is.
  bucket.SetShare({.whole = 60, .own = 30}, 0);
  CHECK(bucket.Remaining() == 22);
  bucket.Refill(1);
  CHECK(bucket.Remaining() == 60);
}

TEST_CASE("parts of a bucket are together never more than what is left") {
  struct Row {
    std::string name;
    std::vector<int64_t> taken;    // by each
    std::vector<int64_t> unheard;  // of that, by all others
  };
  const Row row = GENERATE(values<Row>({
      {"all is heard", {10, 20, 30}, {0, 0, 0}},
      {"nothing is heard", {10, 20, 30}, {10, 20, 30}},
      {"two took everything", {99, 99, 0}, {99, 99, 0}},
      {"one took more than that, heard in part", {150, 1, 0}, {60, 1, 0}},
      {"the rest cannot be divided", {1, 0, 0}, {1, 0, 0}},
  }));
  CAPTURE(row.name);
  const std::vector<int64_t> shares = {33, 33, 34};
  int64_t used = 0;
  int64_t units = 0;
  for (size_t i = 0; i < 3; ++i) {
    Bucket bucket = FullBucket(100);
    for (size_t from = 0; from < 3; ++from)
      bucket.Take(row.taken[from] - (from == i ? 0 : row.unheard[from]));
    bucket.SetShare({.whole = shares[i], .own = 33, .alone = true}, row.unheard[i]);
    used += row.taken[i];
    units += bucket.level;
  }
  CAPTURE(used, units);
  CHECK(units <= (100 - used) * kBucketUnit);
  CHECK(units >= (100 - used - 6) * kBucketUnit);  // rounded to whole requests
}

TEST_CASE("what was carried into a period does not outlive the contact to peers") {
  Bucket bucket = FullBucket(1'000);
  bucket.Take(900);
  bucket.NoteHeld(300);
  bucket.Refill(1);
  CHECK(bucket.level == 1'100 * kBucketUnit);
  bucket.SetShare({.whole = 500, .own = 500, .alone = true}, 0);
  CHECK(bucket.Remaining() == 500);
}

TEST_CASE("a bucket whose limit is edited keeps what was used") {
  Bucket bucket = FullBucket(100);
  bucket.Take(60);
  bucket.SetLimit(80, Whole(80));
  CHECK(bucket.Remaining() == 20);
  bucket.SetLimit(50, Whole(50));
  CHECK(bucket.Remaining() == 0);
  bucket.Refill(1);
  CHECK(bucket.Remaining() == 40);
  bucket.SetLimit(200, Whole(200));
  CHECK(bucket.Remaining() == 190);
}

TEST_CASE("peers cannot push a bucket deeper than the floor nor raise it") {
  Bucket bucket = FullBucket(100);
  for (int i = 0; i < 1'000; ++i) bucket.TakeRemote(1'000'000, 2);
  CHECK(bucket.level == -200 * kBucketUnit);
  bucket.Take(50);
  bucket.TakeRemote(10, 2);
  CHECK(bucket.level == -250 * kBucketUnit);  // own debt is not forgiven
  bucket.LowerTo(0, 2);
  CHECK(bucket.level == -250 * kBucketUnit);
}

TEST_CASE("extreme figures neither overflow nor drift") {
  Bucket bucket = FullBucket(INT64_MAX);
  CHECK(bucket.limit == kLimitMax);
  for (int i = 0; i < 1'000; ++i) bucket.Take(INT64_MAX);
  CHECK(bucket.level < 0);
  CHECK_FALSE(bucket.Fits(0, 0));
  bucket.Refill(INT64_MAX);
  CHECK(bucket.Remaining() == kLimitMax);
  bucket.GiveBack(INT64_MAX);
  CHECK(bucket.Remaining() == kLimitMax);
  bucket.SetShare(Whole(1'000'000), 0);
  CHECK(bucket.Remaining() == 1'000'000);
}

TEST_CASE("shares have no remainder when everybody knows everybody") {
  for (int64_t total = 0; total < 20; ++total) {
    for (uint64_t turn = 0; turn < 4; ++turn) {
      int64_t sum = 0;
      for (int64_t rank = 0; rank < 3; ++rank) {
        const FleetView view{.live = 1, .fleet = 3, .ranks = {rank}};
        sum += view.ShareOf(total, turn);
      }
      CHECK(sum == total);
    }
  }
  const FleetView pair{.live = 2, .fleet = 3, .ranks = {0, 2}};
  CHECK(pair.ShareOf(10, 0) == 7);
  // Whose turn the larger parts are goes round.
  const FleetView first{.live = 1, .fleet = 3, .ranks = {0}};
  CHECK(first.ShareOf(1, 0) + first.ShareOf(1, 1) + first.ShareOf(1, 2) == 1);
  const FleetView strangers{.live = 1, .fleet = 3};
  CHECK(strangers.ShareOf(10, 1) == 3);
  CHECK(strangers.ShareOf(2, 1) == 0);
  CHECK(strangers.ShareOfLimit(10, 1).alone);
  CHECK_FALSE(pair.ShareOfLimit(10, 1).alone);
  CHECK_FALSE(FleetView{}.ShareOfLimit(10, 1).alone);
}

}  // namespace
}  // namespace spillway
