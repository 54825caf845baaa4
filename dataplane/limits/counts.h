#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace spillway {

// Counters of one limit, all subjects together.
struct LimitCounts {
  std::atomic<int64_t> subjects{0};
  std::atomic<int64_t> refused{0};
  std::atomic<int64_t> queued{0};
  std::atomic<int64_t> queue_full{0};
  std::atomic<int64_t> expired{0};     // left the queue at their deadline
  std::atomic<int64_t> overflowed{0};  // requests counted in the shared bucket
};

// By limit. Counters are never removed: references stay good. Names beyond kNamesMax share one.
// Thread-safe; not on the path of requests that are admitted.
class LimitCountsByName {
 public:
  static constexpr size_t kNamesMax = 4'096;

  LimitCounts& Of(std::string_view limit) {
    const std::lock_guard lock(mutex_);
    auto at = counts_.find(limit);
    if (at != counts_.end()) return *at->second;
    at = counts_.try_emplace(std::string(counts_.size() < kNamesMax ? limit : "(other)")).first;
    if (at->second == nullptr) at->second = std::make_unique<LimitCounts>();
    return *at->second;
  }
  void Visit(const std::function<void(const std::string&, const LimitCounts&)>& visit) const {
    const std::lock_guard lock(mutex_);
    for (const auto& [limit, counts] : counts_) visit(limit, *counts);
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::unique_ptr<LimitCounts>, std::less<>> counts_;
};

}  // namespace spillway
