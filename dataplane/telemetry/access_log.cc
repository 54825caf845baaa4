#include "dataplane/telemetry/access_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "common/log.h"

namespace spillway {
namespace {

int OpenFile(const std::string& path) {
  if (path == "-") return ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  return ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
}

bool WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

}  // namespace

Result<std::unique_ptr<AccessLog>> AccessLog::Open(const std::string& path) {
  const int fd = OpenFile(path);
  if (fd < 0) {
    return Fail(ErrorCode::kInvalidConfig,
                "access log " + path + " cannot be opened: " + std::strerror(errno));
  }
  return std::unique_ptr<AccessLog>(new AccessLog(path, fd));
}

AccessLog::AccessLog(std::string path, int fd)
    : path_(std::move(path)), fd_(fd), writer_([this] { Run(); }) {}

AccessLog::~AccessLog() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  writer_.join();
  ::close(fd_);
}

void AccessLog::Hand(std::string& lines, int64_t line_count) {
  std::string empty;
  {
    const std::lock_guard lock(mutex_);
    if (queue_.size() + blocks_writing_ >= kBlocksMax) {
      lines_dropped_.fetch_add(line_count, std::memory_order_relaxed);
      lines.clear();
      return;
    }
    if (!spare_.empty()) {
      empty = std::move(spare_.back());
      spare_.pop_back();
    }
    queue_.push_back({.lines = std::exchange(lines, std::move(empty)), .line_count = line_count});
  }
  wake_.notify_one();
}

void AccessLog::Reopen() {
  {
    const std::lock_guard lock(mutex_);
    reopen_ = true;
  }
  wake_.notify_one();
}

void AccessLog::Run() {
  std::vector<Block> blocks;
  for (bool stop = false; !stop;) {
    bool reopen = false;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stop_ || reopen_ || !queue_.empty(); });
      stop = stop_;
      reopen = std::exchange(reopen_, false);
      std::swap(blocks, queue_);
      blocks_writing_ = blocks.size();
    }
    WriteOut(blocks, reopen);
    const std::lock_guard lock(mutex_);
    for (Block& block : blocks) {
      if (spare_.size() == 8) break;
      block.lines.clear();
      spare_.push_back(std::move(block.lines));
    }
    blocks.clear();
    blocks_writing_ = 0;
  }
}

void AccessLog::WriteOut(std::vector<Block>& blocks, bool reopen) {
  if (reopen) {
    if (const int fd = OpenFile(path_); fd >= 0) {
      ::close(fd_);
      fd_ = fd;
    } else {
      log::Warn("access log cannot be reopened, writing to the old file",
                {{"path", path_}, {"reason", std::strerror(errno)}});
    }
  }
  for (const Block& block : blocks) {
    if (!WriteAll(fd_, block.lines)) {
      lines_dropped_.fetch_add(block.line_count, std::memory_order_relaxed);
    }
  }
}

}  // namespace spillway
