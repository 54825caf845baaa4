#include "dataplane/telemetry/histogram.h"

#include <algorithm>
#include <bit>
#include <string>

#include "dataplane/telemetry/series.h"

namespace spillway {
namespace {

// 2^(3 + bucket) microseconds as seconds, without the noise of a binary fraction.
std::string BoundText(int bucket) {
  const int64_t us = int64_t{1} << (Histogram::kSmallestLog2 + bucket);
  std::string fraction = std::to_string(us % 1'000'000);
  fraction.insert(0, 6 - fraction.size(), '0');
  while (!fraction.empty() && fraction.back() == '0') fraction.pop_back();
  std::string text = std::to_string(us / 1'000'000);
  if (!fraction.empty()) text += "." + fraction;
  return text;
}

}  // namespace

void Histogram::Observe(int64_t us) {
  us = std::max<int64_t>(us, 0);
  int bucket = 0;
  if (us > (1 << kSmallestLog2)) {
    bucket = std::min(std::bit_width(static_cast<uint64_t>(us - 1)) - kSmallestLog2, kBuckets);
  }
  Bump(counts_[static_cast<size_t>(bucket)]);
  Bump(sum_us_, us);
}

void HistogramSum::Add(const Histogram& shard) {
  for (size_t i = 0; i < counts_.size(); ++i) {
    counts_[i] += shard.counts_[i].load(std::memory_order_relaxed);
  }
  sum_us_ += shard.sum_us_.load(std::memory_order_relaxed);
}

void HistogramSum::Append(MetricsText& text, std::string_view name, std::string_view help) const {
  text.Family(name, "histogram", help);
  const std::string bucket_name = std::string(name) + "_bucket";
  int64_t total = 0;
  for (int i = 0; i < Histogram::kBuckets; ++i) {
    total += counts_[static_cast<size_t>(i)];
    text.Sample(bucket_name, {{"le", BoundText(i)}}, total);
  }
  total += counts_.back();
  text.Sample(bucket_name, {{"le", "+Inf"}}, total);
  text.Sample(std::string(name) + "_sum", {}, static_cast<double>(sum_us_) / 1e6);
  text.Sample(std::string(name) + "_count", {}, total);
}

}  // namespace spillway
