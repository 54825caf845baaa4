#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/error.h"

namespace spillway {

// The file behind the access log and the one thread that writes it. Loops hand over whole blocks of
// lines; nobody waits for the disk: when kBlocksMax blocks are not written yet, further ones are
// dropped and their lines counted. Thread-safe. Destroying it writes what was handed over.
class AccessLog {
 public:
  static constexpr size_t kBlockBytes = size_t{32} * 1024;
  static constexpr size_t kBlocksMax = 128;

  // `path`: a file to append to, created with mode 0640; "-" is stdout. kInvalidConfig.
  static Result<std::unique_ptr<AccessLog>> Open(const std::string& path);
  ~AccessLog();

  // Takes whole lines and leaves an empty string with some capacity.
  void Hand(std::string& lines, int64_t line_count);
  // Opens the path again before the next write, for log rotation. Keeps the old file if that fails.
  void Reopen();

  int64_t lines_dropped() const { return lines_dropped_.load(std::memory_order_relaxed); }

 private:
  struct Block {
    std::string lines;
    int64_t line_count = 0;
  };
  AccessLog(std::string path, int fd);
  void Run();
  void WriteOut(std::vector<Block>& blocks, bool reopen);

  const std::string path_;
  int fd_;  // the writer's, once it runs
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Block> queue_;
  size_t blocks_writing_ = 0;
  std::vector<std::string> spare_;
  bool reopen_ = false;
  bool stop_ = false;
  std::atomic<int64_t> lines_dropped_{0};
  std::thread writer_;
};

}  // namespace spillway
