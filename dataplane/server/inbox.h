#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "dataplane/exchange/loop.h"

namespace spillway {

// The bytes received on one connection and not consumed yet. Holds a lent buffer only while there
// are any; what is left over for the next request moves to memory of its own size. Loop thread
// only.
class Inbox {
 public:
  explicit Inbox(BufferPool& pool) : pool_(pool) {}
  ~Inbox() { Clear(); }
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;

  std::string_view view() const { return {begin(), end_ - begin_}; }
  bool empty() const { return begin_ == end_; }
  // Free space behind the bytes, at least one byte, in all room for at least `bytes` from the first
  // on. May move the bytes; BufferPool::kPaddingBytes may be read behind the space.
  std::span<char> Space(size_t bytes = 1);
  void Commit(size_t bytes) { end_ += bytes; }
  void Consume(size_t bytes);
  // Gives a lent buffer back, keeping what is left over.
  void Shrink();
  void Clear();

 private:
  const char* begin() const { return buffer_.get() + begin_; }
  void MoveTo(std::unique_ptr<char[]> buffer, size_t capacity, bool lent);

  BufferPool& pool_;
  std::unique_ptr<char[]> buffer_;
  size_t capacity_ = 0;
  size_t begin_ = 0;
  size_t end_ = 0;
  bool lent_ = false;
};

}  // namespace spillway
