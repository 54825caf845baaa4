#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace spillway {

// Operators' metrics in Prometheus text format. Sources register a function that appends its
// families at scrape time; hot counters live sharded with their threads and are merged there.
// Thread-safe. A source must outlive the registry's last scrape.
class MetricsText {
 public:
  // # HELP and # TYPE lines; type: counter, gauge, histogram.
  void Family(std::string_view name, std::string_view type, std::string_view help);
  using Labels = std::vector<std::pair<std::string_view, std::string_view>>;
  void Sample(std::string_view name, const Labels& labels, double value);
  void Sample(std::string_view name, const Labels& labels, int64_t value);
  template <std::integral T>
  void Sample(std::string_view name, const Labels& labels, T value) {
    Sample(name, labels, static_cast<int64_t>(value));
  }
  std::string Take() && { return std::move(text_); }

 private:
  std::string text_;
};

class MetricsRegistry {
 public:
  using Source = std::function<void(MetricsText&)>;
  void Add(Source source);
  std::string Scrape() const;

 private:
  mutable std::mutex mutex_;
  std::vector<Source> sources_;
};

}  // namespace spillway
