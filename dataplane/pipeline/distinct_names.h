#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "common/clock.h"
#include "common/metrics.h"

namespace spillway {

// How many different users, features and tag values one team may bring a day: names that clients
// invent must not grow accounts, reports and gossip without end. What exceeds is attributed to
// kOverflow, visibly. One per process, shared by every pipeline; thread-safe (a short lock on one
// of 16 shards). Remembers 8 bytes a name until midnight UTC; nothing else is kept of it.
class DistinctNames {
 public:
  static constexpr std::string_view kOverflow = "(overflow)";
  static constexpr int64_t kTeamMaxDefault = 10'000;  // of each kind
  static constexpr int64_t kNamesMax = 2'000'000;     // of all teams together

  enum class Kind : uint8_t { kUser, kFeature, kTag };

  explicit DistinctNames(const Clock& clock, int64_t team_max = kTeamMaxDefault)
      : clock_(clock), team_max_(team_max) {}

  // `value` when the team brought it today already or has room for it, else kOverflow. `name`: the
  // tag's, for kTag. The view is one of the two.
  std::string_view Admit(std::string_view team, Kind kind, std::string_view name,
                         std::string_view value);

  // spillway_attribution_names, spillway_attribution_overflow_total{kind}. Any thread.
  void Append(MetricsText& text) const;
  int64_t overflowed(Kind kind) const {
    return overflowed_[static_cast<size_t>(kind)].load(std::memory_order_relaxed);
  }

 private:
  struct Shard {
    std::mutex mutex;
    int64_t day = 0;
    int64_t count = 0;  // of all sets
    // By team and kind. The sets hold hashes: two names that share one count once.
    std::unordered_map<uint64_t, std::unordered_set<uint64_t>> names;
  };

  bool Knows(Shard& shard, uint64_t owner, uint64_t value);

  const Clock& clock_;
  const int64_t team_max_;
  std::array<Shard, 16> shards_;
  std::atomic<int64_t> names_{0};
  std::array<std::atomic<int64_t>, 3> overflowed_{};
};

}  // namespace spillway
