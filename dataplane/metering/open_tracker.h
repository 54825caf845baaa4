#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_set>
#include <vector>

#include "common/error.h"
#include "dataplane/metering/account_charges.h"
#include "dataplane/metering/frame.h"
#include "dataplane/metering/replay.h"

namespace spillway {

// Which attempts of the live incarnation are open, learnt by following its records. When a segment
// is freed while an attempt that started in it still runs, its Started is carried over into a small
// file: whoever replays this journal after a kill finds every open attempt. What the freed records
// charged to budget accounts is kept likewise, as long as a window may count. Not thread-safe: the
// journal's thread owns it.
class OpenTracker {
 public:
  OpenTracker(std::string folder, std::string incarnation)
      : folder_(std::move(folder)), incarnation_(std::move(incarnation)) {}

  void Follow(const Frame& frame);
  int64_t followed_upto() const { return followed_upto_; }
  // Before these segments are removed; all of them are followed.
  Result<void> Carry(const std::vector<SegmentSpan>& segments, int64_t now_ms);

 private:
  void Ended(int64_t started_seq);
  Result<bool> Collect(const SegmentSpan& segment);
  Result<void> CarryOpen(const std::vector<SegmentSpan>& segments, int64_t now_ms);

  std::string folder_;
  std::string incarnation_;
  int64_t followed_upto_ = 0;
  std::unordered_set<int64_t> open_;
  std::map<int64_t, std::string> carried_;  // seq -> record without its seq field
  bool changed_ = false;
  AccountCharges charges_;  // of everything followed, but windows long over
};

}  // namespace spillway
