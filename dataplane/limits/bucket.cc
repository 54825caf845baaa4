#include "dataplane/limits/bucket.h"

#include <algorithm>

namespace spillway {
namespace {

constexpr int64_t kUnitsMax = kLimitMax * kBucketUnit;
// No debt is deeper: levels stay far from overflow whatever is added.
constexpr int64_t kDebtUnitsMax = int64_t{64} * kUnitsMax;

int64_t Units(int64_t amount) { return std::clamp<int64_t>(amount, 0, kLimitMax) * kBucketUnit; }

// Whole, rounded down.
int64_t PartOf(int64_t units, int64_t part, int64_t of) {
  const __int128 exact = static_cast<__int128>(units) * part;
  const __int128 whole = static_cast<__int128>(of) * kBucketUnit;
  const __int128 rounded = exact / whole - (exact % whole < 0 ? 1 : 0);
  return static_cast<int64_t>(rounded) * kBucketUnit;
}

}  // namespace

int64_t Bucket::SetShare(const BucketShare& share, int64_t unheard) {
  const int64_t before = full;
  full = Units(share.whole);
  alone = share.alone;
  if (full >= before) return 0;
  // Those who came back in this period have parts of their own: of the rest only one's own is sure.
  const int64_t kept = held >= before ? full : std::min(Units(share.own), held);
  if (held <= 0 || kept >= held) return 0;
  const int64_t charge = -PartOf(-Units(unheard), held - kept, held);
  level = PartOf(level - carried, kept, held) - charge;
  held = kept;
  carried = 0;
  absorbed = 0;
  wanted = 0;
  return charge / kBucketUnit;
}

void Bucket::SetLimit(int64_t new_limit, const BucketShare& share) {
  const int64_t change = Units(share.whole) - full;
  limit = std::clamp<int64_t>(new_limit, 0, kLimitMax);
  full += change;
  held = std::max<int64_t>(held + change, 0);
  level += change;  // what was used stays used
  alone = share.alone;
}

int64_t Bucket::Ceiling() const {
  if (wanted == 0) return full;
  return std::max(alone ? full : full + full / 4, std::min(wanted, limit * kBucketUnit));
}

void Bucket::Reset() {
  level = full;
  held = full;
  wanted = 0;
  carried = 0;
  absorbed = 0;
}

void Bucket::Refill(int64_t periods) {
  held = full;
  absorbed = 0;
  if (limit == 0) {
    level = 0;
    wanted = 0;
    return;
  }
  level = std::min(level + full, Ceiling());
  if (periods > 1) {
    // In the later ones nobody was held back; only a share too small for a request goes on filling.
    const int64_t most = std::max(full, std::min(wanted, limit * kBucketUnit));
    const __int128 refilled =
        static_cast<__int128>(level) + static_cast<__int128>(full) * (periods - 1);
    level = static_cast<int64_t>(std::min<__int128>(refilled, most));
  }
  wanted = 0;
  carried = std::max<int64_t>(level - full, 0);
}

int64_t Bucket::NeedUnits(int64_t amount) const { return Units(std::min(amount, limit)); }

bool Bucket::Fits(int64_t amount, int64_t hidden_units) const {
  if (limit == 0) return true;
  if (amount <= 0) return level >= 0;
  const int64_t need = NeedUnits(amount);
  return level >= need && level - need >= hidden_units;
}

void Bucket::NoteHeld(int64_t amount) {
  wanted = std::max({wanted, NeedUnits(amount), int64_t{1}});
}

void Bucket::Take(int64_t amount) {
  if (limit != 0) level = std::max(level - Units(amount), -kDebtUnitsMax);
}

void Bucket::GiveBack(int64_t amount) {
  if (limit == 0) return;
  level = std::min(level + Units(amount), std::max(level, Ceiling()));
}

int64_t Bucket::FloorUnits(int64_t floor_periods) const {
  return limit == 0 ? -kUnitsMax : -floor_periods * limit * kBucketUnit;
}

void Bucket::TakeRemote(int64_t amount, int64_t floor_periods) {
  const int64_t taken = std::min(Units(amount), std::max<int64_t>(full - held - absorbed, 0));
  absorbed += taken;
  level = std::min(level, std::max(level - (Units(amount) - taken), FloorUnits(floor_periods)));
}

void Bucket::GiveBackRemote(int64_t amount) {
  const int64_t returned = std::min(Units(amount), absorbed);
  absorbed -= returned;
  GiveBack((Units(amount) - returned) / kBucketUnit);
}

void Bucket::LowerTo(int64_t used, int64_t floor_periods) {
  level = std::min(level, std::max(full - Units(used), FloorUnits(floor_periods)));
}

void Bucket::RaiseToFloor(int64_t floor_periods) {
  level = std::max(level, FloorUnits(floor_periods));
}

int64_t Bucket::Remaining() const { return std::clamp<int64_t>(level / kBucketUnit, 0, limit); }

int64_t Bucket::Used() const {
  return std::max<int64_t>(held - level + absorbed + kBucketUnit - 1, 0) / kBucketUnit;
}

int64_t Bucket::PeriodsUntil(int64_t amount) const {
  const int64_t missing = std::max<int64_t>(NeedUnits(amount), 0) - level;
  if (missing <= 0 || full <= 0) return 0;
  return (missing - 1) / full;
}

}  // namespace spillway
