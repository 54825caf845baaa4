#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/error.h"
#include "dataplane/metering/frame.h"

namespace spillway {

// A read-only mapping of a whole file. Move-only; any thread.
class FileView {
 public:
  static Result<FileView> Open(const std::string& path);
  FileView(FileView&& other) noexcept;
  FileView& operator=(FileView&& other) noexcept;
  ~FileView();
  std::string_view bytes() const { return {data_, size_}; }

 private:
  FileView() = default;
  const char* data_ = nullptr;
  size_t size_ = 0;
};

// A segment that is being written: a preallocated file under a shared, writable mapping. Append
// only copies memory; Create and Sync are for the journal's own thread. Calls of Append are
// serialised by the owner; Sync may run beside them.
class WritableSegment {
 public:
  // Allocates, maps and touches every page, so that no appender takes a page fault for a new one.
  static Result<std::shared_ptr<WritableSegment>> Create(std::string path,
                                                         std::string_view incarnation,
                                                         int64_t created_ms, size_t bytes);
  ~WritableSegment();

  const std::string& path() const { return path_; }
  size_t bytes() const { return size_; }
  // What fits behind the last frame, for FrameBytes(record + seq field).
  size_t room() const { return size_ - used_; }
  bool Fits(size_t record_bytes) const {
    return FrameBytes(record_bytes + kSeqFieldBytesMax) <= room();
  }
  void Append(std::string_view record, uint32_t crc, int64_t seq) {
    used_ += PutFrame(data_ + used_, record, crc, seq);
  }
  size_t used() const { return used_; }
  Result<void> Sync() const;
  // Takes the page faults of the next writes on the caller's thread (a sync makes pages read-only
  // again). `from`: a past value of used().
  void Prefault(size_t from, size_t bytes) const;

 private:
  WritableSegment() = default;
  std::string path_;
  int fd_ = -1;
  char* data_ = nullptr;
  size_t size_ = 0;
  size_t used_ = kSegmentHeaderBytes;
};

}  // namespace spillway
