#include "dataplane/metering/frame.h"

#include <atomic>
#include <bit>
#include <cstring>

#include "common/crypto/crc32c.h"

namespace spillway {
namespace {

static_assert(std::endian::native == std::endian::little, "segment files are little-endian");

template <typename T>
T Load(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

}  // namespace

size_t EncodeSeqField(int64_t seq, char (&out)[kSeqFieldBytesMax]) {
  size_t size = 0;
  out[size++] = 0x08;  // field 1, varint
  auto rest = static_cast<uint64_t>(seq);
  while (rest >= 0x80) {
    out[size++] = static_cast<char>(rest | 0x80);
    rest >>= 7;
  }
  out[size++] = static_cast<char>(rest);
  return size;
}

size_t PutFrame(char* to, std::string_view record, uint32_t crc, int64_t seq) {
  char field[kSeqFieldBytesMax];
  const size_t field_bytes = EncodeSeqField(seq, field);
  const auto length = static_cast<uint32_t>(record.size() + field_bytes);
  crc = Crc32c({field, field_bytes}, crc);
  std::memcpy(to + kFrameHeaderBytes, record.data(), record.size());
  std::memcpy(to + kFrameHeaderBytes + record.size(), field, field_bytes);
  std::memcpy(to + 4, &crc, sizeof(crc));
  std::memcpy(to + 8, &seq, sizeof(seq));
  std::atomic_ref<uint32_t>(*reinterpret_cast<uint32_t*>(to))
      .store(length, std::memory_order_release);
  return FrameBytes(length);
}

std::string SegmentHeader(std::string_view incarnation, int64_t created_ms) {
  std::string header(kSegmentHeaderBytes, '\0');
  std::memcpy(header.data(), kSegmentMagic.data(), kSegmentMagic.size());
  std::memcpy(header.data() + 8, incarnation.data(), std::min<size_t>(incarnation.size(), 32));
  std::memcpy(header.data() + 40, &created_ms, sizeof(created_ms));
  return header;
}

bool FrameScanner::FrameAt(size_t offset, Frame& frame) const {
  if (offset + kFrameHeaderBytes > segment_.size()) return false;
  const char* at = segment_.data() + offset;
  const auto length = Load<uint32_t>(at);
  if (length < 2 || length > kRecordBytesMax ||
      length > segment_.size() - offset - kFrameHeaderBytes)
    return false;
  frame.crc32c = Load<uint32_t>(at + 4);
  frame.seq = Load<int64_t>(at + 8);
  frame.record = segment_.substr(offset + kFrameHeaderBytes, length);
  if (frame.seq <= 0) return false;
  char field[kSeqFieldBytesMax];
  // Before the checksum: this is what makes a search through garbage cheap.
  if (!frame.record.ends_with(std::string_view(field, EncodeSeqField(frame.seq, field))))
    return false;
  return Crc32c(frame.record) == frame.crc32c;
}

bool FrameScanner::Next(Frame& frame, bool search) {
  size_t at = offset_;
  bool found = FrameAt(at, frame) && frame.seq > last_seq_;
  if (!found && !search) return false;
  if (!found) {
    broken_ = at + kFrameHeaderBytes <= segment_.size() &&
              Load<uint32_t>(segment_.data() + at) != 0 &&
              Load<int64_t>(segment_.data() + at + 8) == last_seq_ + 1;
    while (!found && at + kFrameHeaderBytes <= segment_.size()) {
      at += 8;
      found = FrameAt(at, frame) && frame.seq > last_seq_;
    }
  }
  if (!found) return false;
  broken_ = false;
  offset_ = at + FrameBytes(frame.record.size());
  last_seq_ = frame.seq;
  return true;
}

}  // namespace spillway
