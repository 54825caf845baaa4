#include "dataplane/server/inbox.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace spillway {

std::span<char> Inbox::Space(size_t bytes) {
  const size_t used = end_ - begin_;
  const size_t needed = std::max(bytes, used + 1);
  if (needed > capacity_) {
    if (needed <= BufferPool::kBufferBytes) {
      MoveTo(pool_.Take(), BufferPool::kBufferBytes, true);
    } else {
      const size_t capacity = std::max(needed, 2 * BufferPool::kBufferBytes);
      MoveTo(std::make_unique_for_overwrite<char[]>(capacity + BufferPool::kPaddingBytes), capacity,
             false);
    }
  } else if (begin_ + needed > capacity_) {
    std::memmove(buffer_.get(), begin(), used);
    begin_ = 0;
    end_ = used;
  }
  return {buffer_.get() + end_, capacity_ - end_};
}

void Inbox::Consume(size_t bytes) {
  begin_ += std::min(bytes, end_ - begin_);
  if (begin_ == end_) Clear();
}

void Inbox::Shrink() {
  if (empty()) return Clear();
  const size_t used = end_ - begin_;
  if (lent_)
    MoveTo(std::make_unique_for_overwrite<char[]>(used + BufferPool::kPaddingBytes), used, false);
}

void Inbox::Clear() {
  if (lent_) pool_.Put(std::move(buffer_));
  buffer_.reset();
  capacity_ = begin_ = end_ = 0;
  lent_ = false;
}

void Inbox::MoveTo(std::unique_ptr<char[]> buffer, size_t capacity, bool lent) {
  const size_t used = end_ - begin_;
  if (used > 0) std::memcpy(buffer.get(), begin(), used);
  if (lent_) pool_.Put(std::move(buffer_));
  buffer_ = std::move(buffer);
  capacity_ = capacity;
  begin_ = 0;
  end_ = used;
  lent_ = lent;
}

}  // namespace spillway
