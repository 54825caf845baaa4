#include "dataplane/metering/log_reader.h"

#include <algorithm>
#include <utility>

namespace spillway {

Result<LogReader::Cursor> LogReader::CursorAt(const SegmentSpan& span, int64_t seq) {
  const auto at = std::ranges::find_if(cursors_, [&](const Cursor& cursor) {
    return cursor.path == span.path && cursor.next_seq == seq;
  });
  if (at != cursors_.end()) {
    Cursor cursor = std::move(*at);
    cursors_.erase(at);
    return cursor;
  }
  SW_TRY(FileView view, FileView::Open(span.path));
  Cursor cursor{
      .path = span.path, .next_seq = seq, .offset = kSegmentHeaderBytes, .view = std::move(view)};
  FrameScanner frames(cursor.view.bytes(), cursor.offset);
  for (Frame frame; cursor.next_seq > span.first_seq && frames.Next(frame, true);) {
    if (frame.seq >= seq) break;
    cursor.offset = frames.offset();
    if (frame.seq == seq - 1) break;
  }
  return cursor;
}

LogReader::Stop LogReader::ReadSegment(Cursor& cursor, int64_t upto, bool& started,
                                       const std::function<bool(const Frame&)>& take) {
  FrameScanner frames(cursor.view.bytes(), cursor.offset, cursor.next_seq - 1);
  Frame frame;
  // Behind `upto` another thread may be writing: look no further.
  while (cursor.next_seq <= upto && frames.Next(frame, true)) {
    if (frame.seq > upto || (started && frame.seq != cursor.next_seq)) return Stop::kTaken;
    if (!take(frame)) return Stop::kTaken;
    started = true;
    cursor.next_seq = frame.seq + 1;
    cursor.offset = frames.offset();
  }
  return Stop::kSegmentEnd;
}

void LogReader::Keep(Cursor cursor) {
  if (cursors_.size() >= kCursorsMax) cursors_.erase(cursors_.begin());
  cursors_.push_back(std::move(cursor));
}

Result<void> LogReader::Read(const std::string& incarnation, int64_t from_seq, int64_t to_seq,
                             const std::function<bool(const Frame&)>& take) {
  bool started = false;
  int64_t seq = from_seq;
  while (seq <= to_seq) {
    const auto span = book_.Locate(incarnation, seq);
    if (!span) return {};
    if (started && span->first_seq > seq) return {};  // a hole between two segments
    SW_TRY(Cursor cursor, CursorAt(*span, std::max(seq, span->first_seq)));
    const Stop stop = ReadSegment(cursor, std::min(to_seq, span->last_seq), started, take);
    const int64_t next = cursor.next_seq;
    const auto behind = book_.Locate(incarnation, next);
    if (!behind || behind->path == span->path) Keep(std::move(cursor));
    const bool hole = next <= std::min(to_seq, span->last_seq);
    if (stop == Stop::kTaken || (started && hole)) return {};
    seq = std::max(next, span->last_seq + 1);
  }
  return {};
}

}  // namespace spillway
