#include "dataplane/metering/replay.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <format>

#include "common/crypto/crc32c.h"
#include "common/durable_file.h"
#include "dataplane/metering/record_encoding.h"
#include "dataplane/metering/segment.h"
#include "spillway/v1/usage.pb.h"

namespace spillway {
namespace {

constexpr std::string_view kSuffix = ".seg";

int64_t CreatedMs(std::string_view segment) {
  if (segment.size() < kSegmentHeaderBytes) return 0;
  int64_t created_ms = 0;
  std::memcpy(&created_ms, segment.data() + 40, sizeof(created_ms));
  return created_ms;
}

void Track(const Frame& frame, JournalScan& scan) {
  const RecordPeek peek = PeekRecord(frame.record);
  switch (peek.kind) {
    case v1::UsageRecord::kStarted:
      scan.open.emplace(frame.seq, std::string(frame.record));
      break;
    case v1::UsageRecord::kOutgrown:
      if (const auto at = scan.open.find(peek.started_seq); at != scan.open.end())
        at->second = AsStarted(frame.record);
      break;
    case v1::UsageRecord::kFinished:
    case v1::UsageRecord::kAbandoned:
      scan.open.erase(peek.started_seq);
      break;
    case v1::UsageRecord::kAggregate: {
      v1::UsageRecord record;
      if (!record.ParseFromArray(frame.record.data(), static_cast<int>(frame.record.size()))) break;
      for (const int64_t seq : record.aggregate().ended_started()) scan.open.erase(seq);
      break;
    }
    case v1::UsageRecord::kClosed: {
      // Not one for a holder that was left behind, nor one of several that were to come.
      v1::UsageRecord record;
      if (!record.ParseFromArray(frame.record.data(), static_cast<int>(frame.record.size()))) break;
      scan.closed = record.closed().holder().empty() && record.closed().last_seq() <= frame.seq;
      break;
    }
    default:
      break;
  }
}

Result<void> ReadCarried(const std::string& folder, JournalScan& scan) {
  auto bytes = durable::ReadFile(folder + "/" + std::string(kCarriedFile));
  if (!bytes) {
    if (bytes.error().code == ErrorCode::kNotFound) return {};
    return std::unexpected(std::move(bytes).error());
  }
  FrameScanner frames(*bytes);
  for (Frame frame; frames.Next(frame, true);) Track(frame, scan);
  return {};
}

// Adds one segment; `broken`: its last frame has a plausible seq but cannot be read.
Result<void> ScanSegment(const std::string& path, JournalScan& scan, bool& broken) {
  SW_TRY(const FileView view, FileView::Open(path));
  SegmentSpan span{.path = path,
                   .bytes = static_cast<int64_t>(view.bytes().size()),
                   .created_ms = CreatedMs(view.bytes())};
  FrameScanner frames(view.bytes(), kSegmentHeaderBytes, scan.last_seq);
  for (Frame frame; frames.Next(frame, true);) {
    if (frame.seq != scan.last_seq + 1)
      scan.unreadable.emplace_back(scan.last_seq + 1, frame.seq - 1);
    if (span.first_seq == 0) span.first_seq = frame.seq;
    span.last_seq = scan.last_seq = frame.seq;
    Track(frame, scan);
    if (frame.seq > scan.charges_upto) scan.charges.AddRecord(frame.record);
  }
  if (span.first_seq == 0 && !frames.broken()) {
    scan.empty_segments.push_back(path);
    return {};
  }
  broken = frames.broken();
  if (span.first_seq == 0)
    span.first_seq = span.last_seq = scan.last_seq + 1;  // one frame, unreadable
  scan.last_used_bytes = broken ? 0 : static_cast<int64_t>(frames.offset());
  scan.segments.push_back(std::move(span));
  return {};
}

v1::UsageRecord AbandonedRecord(int64_t started_seq, const std::string& started_bytes) {
  v1::UsageRecord started_record;
  started_record.ParseFromString(started_bytes);
  const v1::Started& started = started_record.started();
  v1::UsageRecord record;
  record.set_time_ms(started_record.time_ms());  // nobody knows when it ended
  record.mutable_abandoned()->set_started_seq(started_seq);
  v1::Finished& estimate = *record.mutable_abandoned()->mutable_estimate();
  estimate.set_started_seq(started_seq);
  estimate.set_request_id(started.request_id());
  estimate.set_attempt_id(started.attempt_id());
  estimate.set_attempt(started.attempt());
  *estimate.mutable_attribution() = started.attribution();
  *estimate.mutable_usage() = started.estimate();
  // Reports say what it likely cost; budgets keep what it held, and never less than that.
  estimate.set_cost_nanos(started.likely_nanos() != 0 ? started.likely_nanos()
                                                      : started.reserved_nanos());
  estimate.set_hold_nanos(std::max(started.reserved_nanos(), estimate.cost_nanos()));
  *estimate.mutable_accounts() = started.accounts();
  estimate.set_holder(started.holder());
  estimate.set_source(v1::USAGE_SOURCE_ESTIMATED);
  estimate.set_end(v1::END_ABANDONED);
  return record;
}

// Frames appended to a file's bytes.
class FrameFile {
 public:
  FrameFile(std::string_view incarnation, int64_t created_ms)
      : bytes_(SegmentHeader(incarnation, created_ms)) {}
  void Append(const v1::UsageRecord& record, int64_t seq) {
    const std::string text = record.SerializeAsString();
    const size_t at = bytes_.size();
    bytes_.resize(at + FrameBytes(text.size() + kSeqFieldBytesMax));
    bytes_.resize(at + PutFrame(bytes_.data() + at, text, Crc32c(text), seq));
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

int64_t IndexOf(std::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash != std::string_view::npos) path.remove_prefix(slash + 1);
  int64_t index = 0;
  std::from_chars(path.data(), path.data() + path.size(), index);
  return index;
}

}  // namespace

std::string SegmentName(int64_t index) { return std::format("{:010}{}", index, kSuffix); }

std::vector<std::string> SegmentFiles(const std::string& folder) {
  std::vector<std::string> paths;
  for (const std::string& name : durable::ListFolder(folder))
    if (name.ends_with(kSuffix)) paths.push_back(std::format("{}/{}", folder, name));
  return paths;
}

Result<JournalScan> ScanJournal(const std::string& folder, int64_t settled_upto,
                                int64_t known_upto) {
  JournalScan scan;
  SW_CHECK(ReadCarried(folder, scan));
  SW_TRY(FreedCharges freed, LoadFreedCharges(folder));
  scan.charges = std::move(freed.charges);
  scan.charges_upto = freed.upto_seq;
  bool broken = false;
  const std::vector<std::string> paths = SegmentFiles(folder);
  // The front: what was freed with permission is no hole.
  if (!paths.empty()) {
    SW_TRY(const FileView first, FileView::Open(paths.front()));
    Frame frame;
    FrameScanner frames(first.bytes());
    if (frames.Next(frame, true)) scan.last_seq = std::min(settled_upto, frame.seq - 1);
  }
  for (const std::string& path : paths) SW_CHECK(ScanSegment(path, scan, broken));
  int64_t end = scan.last_seq + (broken ? 1 : 0);
  if (!scan.closed) end = std::max(end, known_upto);
  if (end > scan.last_seq) scan.unreadable.emplace_back(scan.last_seq + 1, end);
  scan.last_seq = end;
  return scan;
}

Result<Closing> CloseJournal(const std::string& folder, const std::string& incarnation,
                             int64_t now_ms, const FinalCharges& final_charges, JournalScan& scan) {
  Closing closing;
  if (scan.closed) return closing;
  FrameFile file(incarnation, now_ms);
  int64_t last_seq = scan.last_seq;
  for (const auto& [from, to] : scan.unreadable) {
    v1::UsageRecord record;
    record.set_time_ms(now_ms);
    record.mutable_lost()->set_from_seq(from);
    record.mutable_lost()->set_to_seq(to);
    file.Append(record, ++last_seq);
    closing.lost += to - from + 1;
  }
  for (const auto& [seq, started] : scan.open) {
    const v1::UsageRecord record = AbandonedRecord(seq, started);
    file.Append(record, ++last_seq);
    scan.charges.AddRecord(record.SerializeAsString());
  }
  closing.abandoned = static_cast<int64_t>(scan.open.size());
  const std::vector<v1::Closed> holders =
      final_charges ? final_charges(folder, scan.charges) : scan.charges.ToClosed();
  for (const v1::UsageRecord& record : ClosingRecords(holders, last_seq + 1, now_ms))
    file.Append(record, ++last_seq);

  const std::vector<std::string> paths = SegmentFiles(folder);
  const std::string path =
      folder + "/" + SegmentName(paths.empty() ? 1 : IndexOf(paths.back()) + 1);
  SW_CHECK(durable::WriteFile(path, file.bytes()));
  // The preallocated rest of the last segment is of no more use.
  if (!scan.segments.empty() && scan.last_used_bytes > 0 &&
      truncate(scan.segments.back().path.c_str(), scan.last_used_bytes) == 0)
    scan.segments.back().bytes = scan.last_used_bytes;
  scan.segments.push_back({.path = path,
                           .first_seq = scan.last_seq + 1,
                           .last_seq = last_seq,
                           .bytes = static_cast<int64_t>(file.bytes().size()),
                           .created_ms = now_ms});
  scan.last_seq = last_seq;
  scan.open.clear();
  scan.closed = true;
  return closing;
}

}  // namespace spillway
