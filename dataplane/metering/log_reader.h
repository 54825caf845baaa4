#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/error.h"
#include "dataplane/metering/log_book.h"
#include "dataplane/metering/segment.h"

namespace spillway {

// Reads synced records of any incarnation in order. Remembers where the last reads ended, so that
// going on costs no search. Not thread-safe; each user has its own. `book` outlives it.
class LogReader {
 public:
  explicit LogReader(const LogBook& book) : book_(book) {}

  // Calls `take` for the readable records with from_seq <= seq <= to_seq, in order and without a
  // hole, until it returns false (that record is not consumed). Starts at the first readable record
  // at or behind from_seq. Views are valid during the call.
  Result<void> Read(const std::string& incarnation, int64_t from_seq, int64_t to_seq,
                    const std::function<bool(const Frame&)>& take);

 private:
  struct Cursor {
    std::string path;
    int64_t next_seq = 0;
    size_t offset = 0;
    FileView view;
  };
  static constexpr size_t kCursorsMax = 4;
  enum class Stop : uint8_t { kTaken, kSegmentEnd };
  Result<Cursor> CursorAt(const SegmentSpan& span, int64_t seq);
  static Stop ReadSegment(Cursor& cursor, int64_t upto, bool& started,
                          const std::function<bool(const Frame&)>& take);
  void Keep(Cursor cursor);

  const LogBook& book_;
  std::vector<Cursor> cursors_;  // most recently used last
};

}  // namespace spillway
