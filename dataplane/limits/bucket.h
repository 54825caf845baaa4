#pragma once

#include <cstdint>

namespace spillway {

// Buckets count in 1/1024 of a request or token: what peers may have taken unheard is an estimate
// in fractions.
inline constexpr int64_t kBucketUnit = 1'024;
// Larger limits and figures are taken as this: a million million tokens.
inline constexpr int64_t kLimitMax = 1'000'000'000'000;

// A data plane's part of one limit, whole.
struct BucketShare {
  int64_t whole = 0;   // its own and its live peers' part
  int64_t own = 0;     // at least so much of that is its own
  bool alone = false;  // there are others, and none is heard
};

// What may still be admitted of one limit in the running period. Integers only: no drift. A value;
// its owner locks.
struct Bucket {
  int64_t limit = 0;   // per period, whole; 0: none, the bucket only counts
  int64_t full = 0;    // units: the share of the limit that this data plane and its live peers have
  int64_t held = 0;    // units: the part of `full` that `level` began this period with
  int64_t level = 0;   // units; negative: owed
  int64_t wanted = 0;  // units: the most that somebody asked for and did not get in this period
  int64_t carried = 0;   // units: what the last period left to this one
  int64_t absorbed = 0;  // units: what peers took of `full` - `held`
  bool alone = false;

  // A larger share is there from the next period on; until then peers' use is first taken off what
  // is to come. With a smaller one, contact to some peers was lost, and the part of what is left
  // (or owed) is taken at once. Of `unheard`, what this data plane used and those peers may not
  // know of, the part that they believe to be theirs is charged here. So all parts together are at
  // most what is left, whatever was heard and whenever each notices: the sum of
  // w(left + unheard by this one) - (1 - w) unheard by others is at most `left`, for parts w that
  // add up to 1. Returns what was charged, whole.
  int64_t SetShare(const BucketShare& share, int64_t unheard);
  void SetLimit(int64_t new_limit, const BucketShare& share);

  // `periods` have ended. What was not used is forgotten, unless somebody was held back.
  void Refill(int64_t periods);
  // No period runs: nothing is taken or owed.
  void Reset();
  // The most the bucket may hold. Alone, what a share leaves is kept only for a request that is
  // larger than the share: otherwise a period could admit more than the limit in total.
  int64_t Ceiling() const;
  bool IsFull() const { return level >= full; }

  // Whether `amount` may be taken while peers may have taken `hidden_units` unheard. An amount
  // above the limit fits when the limit would.
  bool Fits(int64_t amount, int64_t hidden_units) const;
  void NoteHeld(int64_t amount);
  void Take(int64_t amount);  // may make debt
  void GiveBack(int64_t amount);
  // What a peer says it took: no deeper than `floor_periods` limits of debt.
  void TakeRemote(int64_t amount, int64_t floor_periods);
  void GiveBackRemote(int64_t amount);
  // The fleet used so much of this period, as a peer knows.
  void LowerTo(int64_t used, int64_t floor_periods);

  // Forgives what is owed beyond that.
  void RaiseToFloor(int64_t floor_periods);

  int64_t Remaining() const;  // whole, 0..limit
  int64_t Used() const;       // of the share, whole, rounded up; may exceed the limit
  // Whole periods after the end of this one until `amount` fits; 0: at its end.
  int64_t PeriodsUntil(int64_t amount) const;

 private:
  int64_t NeedUnits(int64_t amount) const;
  int64_t FloorUnits(int64_t floor_periods) const;
};

}  // namespace spillway
