#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "common/error.h"

namespace spillway {

// What the fatal-signal handler of an earlier process left behind.
struct CrashRecord {
  uint64_t id = 0;       // random, one per record: a record is counted once
  int64_t revision = 0;  // on trial when it happened
  int64_t after_ms = 0;  // since its activation began
  int signal = 0;
};

// Notes in a file, opened beforehand, that this process died of a fatal signal (SEGV, ABRT, BUS,
// ILL, FPE) while a revision was on trial. The handler only reads atomics and calls clock_gettime,
// pwrite, sigaction and raise, all async-signal-safe; then the signal takes its former course (core
// dump, sanitizer report). SIGKILL leaves no trace, so `kill -9` never counts.
// One per process, owned by main, outlives the feed. Arm and Disarm: any thread.
class CrashMarker {
 public:
  static constexpr int64_t kWindowMs = 60'000;

  // Opens (or makes) the file and takes what an earlier process left. `window_ms`: how long after
  // Arm a crash is recorded.
  static Result<std::unique_ptr<CrashMarker>> Open(const std::string& path,
                                                   int64_t window_ms = kWindowMs);
  ~CrashMarker();
  CrashMarker(const CrashMarker&) = delete;
  CrashMarker& operator=(const CrashMarker&) = delete;

  const std::optional<CrashRecord>& left_behind() const { return left_behind_; }
  // Empties the file: what was left behind has been counted durably.
  Result<void> Forget();

  // Installs the handler for the whole process. Call once, after any other crash handler.
  Result<void> Install();
  // Gives the calling thread a stack of its own for the handler, so that a stack overflow is
  // recorded too. Each thread that serves requests calls it once; freed when the thread ends.
  static void PrepareThread();

  // From now on, and for the window less what has passed of it, a crash is this revision's.
  void Arm(int64_t revision, int64_t elapsed_ms = 0);
  void Disarm();
  int64_t armed_revision() const;  // 0: none

 private:
  CrashMarker(int fd, int64_t window_ms);

  int fd_;
  int64_t window_ms_;
  std::optional<CrashRecord> left_behind_;
};

}  // namespace spillway
