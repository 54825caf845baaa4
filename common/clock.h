#pragma once

#include <atomic>
#include <cstdint>

namespace spillway {

inline constexpr int64_t kNsPerMs = 1'000'000;

// Time, injected wherever it is read. Thread-safe. Deadlines and durations use the monotonic clock;
// wall time is for records, expiry dates and people.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual int64_t WallMs() const = 0;       // Unix milliseconds
  virtual int64_t MonotonicNs() const = 0;  // since some fixed point, never backwards
};

// The machine's clocks (CLOCK_REALTIME, CLOCK_MONOTONIC). Lives for the whole process.
const Clock& SystemClock();

// For tests: stands still until moved. Thread-safe.
class ManualClock final : public Clock {
 public:
  // Starts on 2026-01-01 UTC unless told.
  explicit ManualClock(int64_t wall_ms = 1'767'225'600'000) : wall_ns_(wall_ms * kNsPerMs) {}

  int64_t WallMs() const override { return wall_ns_.load() / kNsPerMs; }
  int64_t MonotonicNs() const override { return monotonic_ns_.load(); }

  // Time passes on both clocks.
  void AdvanceNs(int64_t ns) {
    wall_ns_ += ns;
    monotonic_ns_ += ns;
  }
  void AdvanceMs(int64_t ms) { AdvanceNs(ms * kNsPerMs); }
  // Somebody sets the machine's date: the monotonic clock does not notice.
  void SetWallMs(int64_t wall_ms) { wall_ns_ = wall_ms * kNsPerMs; }

 private:
  std::atomic<int64_t> wall_ns_;
  std::atomic<int64_t> monotonic_ns_ = 1'000'000'000;
};

}  // namespace spillway
