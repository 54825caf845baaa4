#include "dataplane/pipeline/distinct_names.h"

#include <functional>

#include "common/utc.h"

namespace spillway {
namespace {

constexpr uint64_t kMix = 0x9e3779b97f4a7c15;

uint64_t Mixed(uint64_t hash, std::string_view text) {
  return (hash ^ std::hash<std::string_view>{}(text)) * kMix + 1;
}

}  // namespace

std::string_view DistinctNames::Admit(std::string_view team, Kind kind, std::string_view name,
                                      std::string_view value) {
  if (value.empty() || value == kOverflow) return value;
  const uint64_t owner = Mixed(static_cast<uint64_t>(kind), team);
  if (Knows(shards_[(owner >> 32) % shards_.size()], owner, Mixed(Mixed(owner, name), value))) {
    return value;
  }
  overflowed_[static_cast<size_t>(kind)].fetch_add(1, std::memory_order_relaxed);
  return kOverflow;
}

bool DistinctNames::Knows(Shard& shard, uint64_t owner, uint64_t value) {
  const int64_t day = clock_.WallMs() / kDayMs;
  const std::lock_guard lock(shard.mutex);
  if (shard.day != day) {
    names_.fetch_sub(shard.count, std::memory_order_relaxed);
    shard.names.clear();
    shard.count = 0;
    shard.day = day;
  }
  std::unordered_set<uint64_t>& known = shard.names[owner];
  if (known.contains(value)) return true;
  if (static_cast<int64_t>(known.size()) >= team_max_ ||
      names_.load(std::memory_order_relaxed) >= kNamesMax) {
    return false;
  }
  known.insert(value);
  ++shard.count;
  names_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

void DistinctNames::Append(MetricsText& text) const {
  text.Family("spillway_attribution_names", "gauge",
              "Different users, features and tag values that teams brought today.");
  text.Sample("spillway_attribution_names", {}, names_.load(std::memory_order_relaxed));
  text.Family("spillway_attribution_overflow_total", "counter",
              "Names attributed to (overflow): their team brought too many different ones today.");
  text.Sample("spillway_attribution_overflow_total", {{"kind", "user"}}, overflowed(Kind::kUser));
  text.Sample("spillway_attribution_overflow_total", {{"kind", "feature"}},
              overflowed(Kind::kFeature));
  text.Sample("spillway_attribution_overflow_total", {{"kind", "tag"}}, overflowed(Kind::kTag));
}

}  // namespace spillway
