#pragma once

#include <algorithm>
#include <cstdint>

#include "common/money.h"

namespace spillway {

// a + b, held within the range. A total that reached its upper end stays there: how far beyond it
// was is not known, so nothing that is taken off may bring it back.
inline Nanos SaturatingSum(Nanos a, Nanos b) {
  if (a == INT64_MAX) return a;
  Nanos sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return b > 0 ? INT64_MAX : INT64_MIN;
}

// The sum of many figures, however large they are: what was added can be taken off again exactly.
// Read as the nearest amount that can be told.
class NanosSum {
 public:
  void Add(Nanos part) { sum_ += part; }
  void Add(const NanosSum& parts) { sum_ += parts.sum_; }
  void Subtract(Nanos part) { sum_ -= part; }
  Nanos value() const {
    return static_cast<Nanos>(std::clamp<__int128>(sum_, INT64_MIN, INT64_MAX));
  }

 private:
  __int128 sum_ = 0;
};

}  // namespace spillway
