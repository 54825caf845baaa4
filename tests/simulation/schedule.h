#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

namespace spillway::simulation {

// The same figures from the same seed, on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u + 0x2545F4914F6CDD1Du) {}
  uint64_t Next() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  int64_t Below(int64_t end) { return static_cast<int64_t>(Next() % static_cast<uint64_t>(end)); }
  int64_t Between(int64_t low, int64_t high) { return low + Below(high - low + 1); }
  bool PerMille(int64_t chance) { return Below(1000) < chance; }

 private:
  uint64_t state_;
};

// What happens next, in the order of true time (microseconds), ties in the order of asking.
class Schedule {
 public:
  int64_t now_us() const { return now_us_ + frozen_us_; }
  void In(int64_t delay_us, std::function<void()> what) {
    queue_.push({.at_us = now_us_ + delay_us, .order = order_++, .what = std::move(what)});
  }
  // The whole world stands still and comes back later: everything under way arrives late.
  void Freeze(int64_t us) { frozen_us_ += us; }
  void Step() {
    Item item = queue_.top();
    queue_.pop();
    now_us_ = item.at_us;
    ++steps_;
    item.what();
  }
  int64_t steps() const { return steps_; }

 private:
  struct Item {
    int64_t at_us;
    uint64_t order;
    std::function<void()> what;
    bool operator<(const Item& other) const {
      return at_us != other.at_us ? at_us > other.at_us : order > other.order;
    }
  };
  std::priority_queue<Item> queue_;
  int64_t now_us_ = 0;
  int64_t frozen_us_ = 0;
  uint64_t order_ = 0;
  int64_t steps_ = 0;
};

}  // namespace spillway::simulation
