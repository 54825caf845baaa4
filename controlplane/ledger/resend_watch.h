#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "spillway/v1/usage.pb.h"

namespace spillway::ledger {

// Decides when a gap is asked for again: not before it has had time to close by itself, then at
// doubling distances with jitter. Not thread-safe: the consumer's thread owns it.
class ResendWatch {
 public:
  using Ranges = std::map<std::string, std::vector<v1::Resend>>;  // by instance
  ResendWatch(int64_t after_ms, int64_t every_ms_max, unsigned seed)
      : after_ns_(after_ms * 1'000'000), every_ns_max_(every_ms_max * 1'000'000), random_(seed) {}

  // Of what is missing now, what is to be asked for now. `drained_ns`: when the stream was last
  // known to hold nothing new; a gap seen later than that may still close by what is on its way,
  // for a while.
  Ranges Due(const Ranges& missing, int64_t now_ns, int64_t drained_ns);
  size_t watched() const { return gaps_.size(); }

 private:
  struct Gap {
    int64_t seen_ns = 0;
    int64_t next_ns = 0;
    int tries = 0;
    int64_t round = 0;
  };
  static constexpr int64_t kPatience = 10;  // times after_ns_, when the stream never drains
  int64_t Wait(int tries);

  const int64_t after_ns_;
  const int64_t every_ns_max_;
  std::minstd_rand random_;
  std::map<std::pair<std::string, int64_t>, Gap> gaps_;  // by incarnation and first seq
  int64_t round_ = 0;
};

}  // namespace spillway::ledger
