#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

namespace spillway {

// Collects what callbacks on other threads bring, and waits for it.
template <typename T>
class Collector {
 public:
  void Add(T value) {
    const std::lock_guard lock(mutex_);
    values_.push_back(std::move(value));
    changed_.notify_all();
  }
  // False: the time was over first.
  bool WaitFor(const std::function<bool(const std::vector<T>&)>& enough, int timeout_ms = 15'000) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                             [&] { return enough(values_); });
  }
  bool WaitCount(size_t count, int timeout_ms = 15'000) {
    return WaitFor([&](const auto& values) { return values.size() >= count; }, timeout_ms);
  }
  std::vector<T> Values() {
    const std::lock_guard lock(mutex_);
    return values_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<T> values_;
};

}  // namespace spillway
