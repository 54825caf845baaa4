#include "dataplane/metering/open_tracker.h"

#include "common/crypto/crc32c.h"
#include "common/durable_file.h"
#include "dataplane/metering/record_encoding.h"
#include "dataplane/metering/segment.h"
#include "spillway/v1/usage.pb.h"

namespace spillway {
namespace {

// A window lasts at most 31 days, and the control plane forgets its accounts at most 31 days later.
constexpr int64_t kChargesKeptMs = int64_t{64} * 24 * 3'600'000;

}  // namespace

void OpenTracker::Ended(int64_t started_seq) {
  open_.erase(started_seq);
  if (carried_.erase(started_seq) > 0) changed_ = true;
}

void OpenTracker::Follow(const Frame& frame) {
  followed_upto_ = frame.seq;
  const RecordPeek peek = PeekRecord(frame.record);
  if (peek.kind == v1::UsageRecord::kStarted) {
    open_.insert(frame.seq);
  } else if (peek.kind == v1::UsageRecord::kFinished) {
    Ended(peek.started_seq);
  } else if (peek.kind == v1::UsageRecord::kAggregate) {
    v1::UsageRecord record;
    if (!record.ParseFromArray(frame.record.data(), static_cast<int>(frame.record.size()))) return;
    for (const int64_t seq : record.aggregate().ended_started()) Ended(seq);
  }
  charges_.AddRecord(frame.record);
}

Result<bool> OpenTracker::Collect(const SegmentSpan& segment) {
  SW_TRY(const FileView view, FileView::Open(segment.path));
  FrameScanner frames(view.bytes());
  bool found = false;
  for (Frame frame; frames.Next(frame, true);) {
    const RecordPeek peek = PeekRecord(frame.record);
    if (peek.kind == v1::UsageRecord::kOutgrown && open_.contains(peek.started_seq)) {
      carried_.insert_or_assign(peek.started_seq, AsStarted(frame.record));
      found = true;
    }
    if (!open_.contains(frame.seq) || carried_.contains(frame.seq)) continue;
    char field[kSeqFieldBytesMax];
    const size_t seq_bytes = EncodeSeqField(frame.seq, field);
    carried_.emplace(frame.seq,
                     std::string(frame.record.substr(0, frame.record.size() - seq_bytes)));
    found = true;
  }
  return found;
}

Result<void> OpenTracker::Carry(const std::vector<SegmentSpan>& segments, int64_t now_ms) {
  SW_CHECK(CarryOpen(segments, now_ms));
  // One that starts at 0 never ends.
  charges_.EraseIf([now_ms](const v1::Account& account) {
    return account.window_start_s() > 0 &&
           account.window_start_s() * 1000 < now_ms - kChargesKeptMs;
  });
  if (charges_.empty()) return {};
  return SaveFreedCharges(folder_, followed_upto_, charges_);
}

Result<void> OpenTracker::CarryOpen(const std::vector<SegmentSpan>& segments, int64_t now_ms) {
  for (const SegmentSpan& segment : segments) {
    if (open_.empty()) break;
    SW_TRY(const bool found, Collect(segment));
    changed_ = changed_ || found;
  }
  if (!changed_) return {};
  std::string bytes = SegmentHeader(incarnation_, now_ms);
  for (const auto& [seq, record] : carried_) {
    const size_t at = bytes.size();
    bytes.resize(at + FrameBytes(record.size() + kSeqFieldBytesMax));
    bytes.resize(at + PutFrame(bytes.data() + at, record, Crc32c(record), seq));
  }
  SW_CHECK(durable::WriteFile(folder_ + "/" + std::string(kCarriedFile), bytes));
  changed_ = false;
  return {};
}

}  // namespace spillway
