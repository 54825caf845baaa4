#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace spillway {

// A request body that does not fit a lent buffer. Grows with what has arrived: an announced size
// takes address space of at most kStepBytes in advance.
class BodyBuffer {
 public:
  static constexpr size_t kStepBytes = size_t{256} * 1024;
  static constexpr size_t kFirstBytes = size_t{16} * 1024;  // when the size is not known

  BodyBuffer() = default;
  ~BodyBuffer() { Clear(); }
  BodyBuffer(const BodyBuffer&) = delete;
  BodyBuffer& operator=(const BodyBuffer&) = delete;

  std::string_view view() const { return {bytes_, size_}; }
  size_t size() const { return size_; }
  // Room for more bytes, at most up to `total_max` in all and never none below it; at least
  // `at_once` are taken. BufferPool::kPaddingBytes may be read behind it.
  std::span<char> Space(size_t total_max, size_t at_once = kStepBytes);
  void Commit(size_t bytes) { size_ += bytes; }
  void Append(std::string_view bytes, size_t total_max, size_t at_once = kStepBytes);
  void Clear();

 private:
  char* bytes_ = nullptr;  // owned, from malloc
  size_t capacity_ = 0;
  size_t size_ = 0;
};

}  // namespace spillway
