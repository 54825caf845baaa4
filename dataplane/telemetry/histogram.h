#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>

#include "common/metrics.h"

namespace spillway {

// Durations in microseconds, counted in fixed buckets that double from 8 us to 134 s. One writing
// thread, any number of readers; a reader may miss what is being written.
class Histogram {
 public:
  static constexpr int kBuckets = 25;      // with a bound; +Inf comes on top
  static constexpr int kSmallestLog2 = 3;  // upper bound of the first: 8 us

  void Observe(int64_t us);

 private:
  friend class HistogramSum;
  std::array<std::atomic<int64_t>, kBuckets + 1> counts_{};
  std::atomic<int64_t> sum_us_{0};
};

// The shards of one histogram added up, as text in seconds.
class HistogramSum {
 public:
  void Add(const Histogram& shard);
  void Append(MetricsText& text, std::string_view name, std::string_view help) const;

 private:
  std::array<int64_t, Histogram::kBuckets + 1> counts_{};
  int64_t sum_us_ = 0;
};

}  // namespace spillway
