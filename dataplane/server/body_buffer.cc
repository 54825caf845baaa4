#include "dataplane/server/body_buffer.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "dataplane/exchange/loop.h"

namespace spillway {

std::span<char> BodyBuffer::Space(size_t total_max, size_t at_once) {
  if (size_ == capacity_) {
    const size_t capacity = std::min(total_max, std::max(2 * capacity_, at_once));
    // realloc may extend in place, or move pages instead of bytes.
    void* memory = std::realloc(bytes_, capacity + BufferPool::kPaddingBytes);
    if (memory == nullptr) throw std::bad_alloc();
    bytes_ = static_cast<char*>(memory);
    capacity_ = capacity;
  }
  return {bytes_ + size_, capacity_ - size_};
}

void BodyBuffer::Append(std::string_view bytes, size_t total_max, size_t at_once) {
  while (!bytes.empty()) {
    const std::span<char> space = Space(total_max, at_once);
    const size_t part = std::min(space.size(), bytes.size());
    std::memcpy(space.data(), bytes.data(), part);
    Commit(part);
    bytes.remove_prefix(part);
  }
}

void BodyBuffer::Clear() {
  std::free(bytes_);
  bytes_ = nullptr;
  capacity_ = size_ = 0;
}

}  // namespace spillway
