#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace spillway {

// A segment file: one header, then frames, 8-byte aligned, in the order of their seq; zeros behind
// the last. All integers little-endian.
//   header (64 bytes): "SWSEG1\0\0", incarnation (32 hex digits), u64 created (Unix ms), zeros
//   frame: u32 length of the record, u32 CRC-32C of the record, u64 seq, the record, padding
// A record is a serialised UsageRecord with its seq as the last field. The length is stored last,
// so that a process killed at any instruction leaves either a whole frame or none.
inline constexpr std::string_view kSegmentMagic{"SWSEG1\0\0", 8};
inline constexpr size_t kSegmentHeaderBytes = 64;
inline constexpr size_t kFrameHeaderBytes = 16;
inline constexpr size_t kRecordBytesMax = size_t{16} * 1024;
inline constexpr size_t kSeqFieldBytesMax = 11;

inline constexpr size_t FrameBytes(size_t record_bytes) {
  return (kFrameHeaderBytes + record_bytes + 7) & ~size_t{7};
}

// A record as it lies in a segment.
struct StoredRecord {
  int64_t seq = 0;
  uint32_t crc32c = 0;
  std::string bytes;
};

struct Frame {
  int64_t seq = 0;
  uint32_t crc32c = 0;
  std::string_view record;  // into the scanned bytes
};

// The field UsageRecord.seq on the wire; returns its length.
size_t EncodeSeqField(int64_t seq, char (&out)[kSeqFieldBytesMax]);

// Writes `record` + its seq field as a frame; `crc` covers `record` alone. `to` has room for
// FrameBytes(record.size() + kSeqFieldBytesMax); returns what the frame takes. Publishes the length
// last, for readers and for a kill at any moment.
size_t PutFrame(char* to, std::string_view record, uint32_t crc, int64_t seq);

std::string SegmentHeader(std::string_view incarnation, int64_t created_ms);

// Walks the frames of a segment. A frame counts only when length, checksum and its two seqs agree.
class FrameScanner {
 public:
  // `segment`: the whole file. `offset`: where a frame starts. Frames up to `last_seq` are ignored
  // when searching.
  explicit FrameScanner(std::string_view segment, size_t offset = kSegmentHeaderBytes,
                        int64_t last_seq = 0)
      : segment_(segment), offset_(offset), last_seq_(last_seq) {}
  // The next frame; false: the end, or garbage. `search`: garbage is skipped up to the next good
  // frame with a higher seq, and the caller sees a hole in the seqs.
  bool Next(Frame& frame, bool search);
  size_t offset() const { return offset_; }
  // A frame with the next seq lies where the last search began, but cannot be read.
  bool broken() const { return broken_; }

 private:
  bool FrameAt(size_t offset, Frame& frame) const;

  std::string_view segment_;
  size_t offset_;
  int64_t last_seq_;
  bool broken_ = false;
};

}  // namespace spillway
