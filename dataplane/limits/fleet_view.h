#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <memory>
#include <vector>

#include "dataplane/limits/bucket.h"
#include "dataplane/limits/heard.h"

namespace spillway {

// Who shares the limits, at one moment. Immutable once published.
struct FleetView {
  uint64_t generation = 0;
  uint64_t joins = 0;  // peers that came, or came back: what was said before they missed
  int64_t live = 1;    // this data plane and the peers heard lately
  int64_t fleet = 1;   // all that may spend: silent ones keep their share
  struct Member {
    uint32_t id = 0;
    uint32_t life = 0;  // another process, or one that was silent, is another life
    friend auto operator<=>(const Member&, const Member&) = default;
  };
  std::vector<Member> members;  // the live peers, ascending
  // Places of the live ones (this one included) among all names in order; empty: not all are known.
  std::vector<int64_t> ranks;
  std::shared_ptr<const HeardByAll> heard;  // by the live ones; nullptr: nobody hears
  uint64_t losses = 0;                      // times that peers fell silent
  // By those that were live before the last loss, until then.
  std::shared_ptr<const HeardByAll> heard_before;

  bool IsLive(const Member& member) const { return std::ranges::binary_search(members, member); }
  // The live ones' part of `total`: the sum over all data planes is never above it, and equal to it
  // when everybody knows everybody. Whole: who has the larger parts of a total that cannot be
  // divided goes by `turn`, the same on all data planes.
  int64_t ShareOf(int64_t total, uint64_t turn) const {
    if (live >= fleet) return total;
    if (ranks.empty()) return total * live / fleet;
    const auto first = static_cast<int64_t>(turn % static_cast<uint64_t>(fleet));
    int64_t sum = 0;
    for (const int64_t rank : ranks) {
      const int64_t place = (rank + first) % fleet;
      sum += total * (place + 1) / fleet - total * place / fleet;
    }
    return sum;
  }
  BucketShare ShareOfLimit(int64_t limit, uint64_t turn) const {
    return {.whole = ShareOf(limit, turn),
            .own = limit / std::max<int64_t>(fleet, 1),
            .alone = live == 1 && fleet > 1};
  }
};

}  // namespace spillway
