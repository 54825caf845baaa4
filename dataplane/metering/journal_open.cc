// How a journal comes to life: marks, dead incarnations, the first segment, Hello.
#include <algorithm>
#include <filesystem>

#include "common/durable_file.h"
#include "common/log.h"
#include "dataplane/metering/journal_state.h"
#include "dataplane/metering/replay.h"

namespace spillway {
namespace {

constexpr size_t kSegmentBytesMin = size_t{32} * 1024;

size_t SegmentBytes(const JournalOptions& options) {
  const auto quarter =
      static_cast<size_t>(std::max<int64_t>(options.bytes_max / 4, kSegmentBytesMin));
  const auto wanted = std::max(static_cast<size_t>(options.segment_bytes), kSegmentBytesMin);
  return std::min(wanted, quarter) & ~size_t{4095};
}

}  // namespace

Journal::Rep::Rep(const DataDir& dir, JournalOptions the_options, const Clock& the_clock)
    : options(std::move(the_options)),
      clock(the_clock),
      instance(dir.instance()),
      incarnation(dir.incarnation()),
      data_dir(dir.path()),
      journal_path(dir.journal_path()),
      folder(dir.journal_path() + "/" + dir.incarnation()),
      segment_bytes(SegmentBytes(options)) {}

Result<void> Journal::Rep::LoadMarks() {
  auto bytes = durable::ReadFile(journal_path + "/marks");
  if (!bytes) {
    if (bytes.error().code == ErrorCode::kNotFound) return {};
    return std::unexpected(std::move(bytes).error());
  }
  v1::JournalMarks marks;
  if (!marks.ParseFromString(*bytes)) {
    // Nothing depends on them but how much is sent twice; the control plane names the epoch again.
    log::Warn("journal marks cannot be read; records will be sent again",
              {{"file", journal_path + "/marks"}});
    return {};
  }
  epoch = marks.epoch();  // not `retired`: a new incarnation is a new life
  for (const v1::JournalState& state : marks.journals()) kept_marks[state.incarnation()] = state;
  return {};
}

Result<int64_t> Journal::Rep::ReplayOne(const std::string& older) {
  const std::string path = journal_path + "/" + older;
  const v1::JournalState kept = kept_marks[older];
  const int64_t in_totals = totals ? totals->IncludedUpto(older) : 0;
  SW_TRY(JournalScan scan,
         ScanJournal(path, std::max(kept.committed_upto(), in_totals), kept.published_upto()));
  std::error_code ignored;  // what cannot be removed now is looked at again at the next start
  for (const std::string& empty : scan.empty_segments) std::filesystem::remove(empty, ignored);
  if (scan.segments.empty() && scan.open.empty() && scan.unreadable.empty()) {
    std::filesystem::remove_all(path, ignored);
    return scan.last_seq;
  }
  Closing closing;
  if (auto closed = CloseJournal(path, older, clock.WallMs(), options.final_charges, scan);
      closed) {
    closing = *closed;
  } else {
    // A full disk must not keep the process from serving: what is there is sent, the next start
    // closes it.
    log::Fault("a dead process's journal cannot be closed yet",
               {{"incarnation", older}, {"reason", closed.error().message}});
  }
  lost += closing.lost;
  abandoned += closing.abandoned;
  if (closing.lost > 0)
    log::Fault("journal records could not be read back",
               {{"incarnation", older}, {"records", closing.lost}});
  if (closing.abandoned > 0)
    log::Info("attempts of an earlier process settle at their estimate",
              {{"incarnation", older}, {"attempts", closing.abandoned}});
  for (const SegmentSpan& span : scan.segments) disk_bytes += span.bytes;
  const int64_t last_seq = scan.last_seq;
  // Committed is not freeable: the last backup may lack it. Reported only as far as it may go, so
  // that the control plane says the rest again.
  const int64_t freeable = std::min(std::max(kept.freeable_upto(), in_totals), last_seq);
  book.Add({.incarnation = older,
            .folder = path,
            .closed = scan.closed,
            .segments = std::move(scan.segments),
            .last_seq = last_seq,
            .published_upto = std::min(kept.published_upto(), last_seq),
            .committed_upto = freeable,
            .freeable_upto = freeable});
  return last_seq;
}

Result<int64_t> Journal::Rep::ReplayOlder(const std::string& predecessor) {
  struct Older {
    std::filesystem::file_time_type made;
    std::string incarnation;
  };
  std::vector<Older> found;
  for (const std::string& name : durable::ListFolder(journal_path)) {
    std::error_code error;
    if (name.size() != 32 || name == incarnation) continue;
    // The first segment's age is the incarnation's; the folder's own changes with its files.
    const auto segments = SegmentFiles(journal_path + "/" + name);
    const auto made = std::filesystem::last_write_time(
        segments.empty() ? journal_path + "/" + name : segments[0], error);
    found.push_back({made, name});
  }
  std::ranges::sort(found, {}, &Older::made);
  int64_t predecessor_last_seq = 0;
  for (const Older& older : found) {
    SW_TRY(const int64_t last_seq, ReplayOne(older.incarnation));
    if (older.incarnation == predecessor) predecessor_last_seq = last_seq;
  }
  return predecessor_last_seq;
}

Result<void> Journal::Rep::AppendHello(const std::string& predecessor,
                                       int64_t predecessor_last_seq) {
  v1::UsageRecord record;
  record.set_time_ms(clock.WallMs());
  record.mutable_hello()->set_predecessor(predecessor);
  record.mutable_hello()->set_predecessor_last_seq(predecessor_last_seq);
  record.mutable_hello()->set_version(options.version);
  SW_CHECK(Append(record.SerializeAsString(), Kind::kOther));
  return {};
}

Result<void> Journal::Rep::Open(const std::string& predecessor) {
  SW_CHECK(LoadMarks());
  if (options.standalone) {
    SW_TRY(totals, StandaloneTotals::Load(data_dir));
  }
  SW_TRY(const int64_t predecessor_last_seq, ReplayOlder(predecessor));
  tracker.emplace(folder, incarnation);
  // The first segment is made whatever the limit says: a full disk of old records must not keep the
  // process from starting.
  SW_TRY(active, WritableSegment::Create(folder + "/" + SegmentName(++segment_index), incarnation,
                                         clock.WallMs(), segment_bytes));
  SW_CHECK(durable::SyncFolder(folder));
  disk_bytes += static_cast<int64_t>(segment_bytes);
  budget_bytes = std::max<int64_t>(options.bytes_max - disk_bytes, 0);
  synced_segment = active;
  synced_used = active->used();
  book.Add({.incarnation = incarnation, .folder = folder, .live = true});
  SW_CHECK(AppendHello(predecessor, predecessor_last_seq));
  SyncAppended();
  return {};
}

Result<std::unique_ptr<Journal>> Journal::Open(const DataDir& dir, const JournalOptions& options,
                                               const Clock& clock) {
  std::unique_ptr<Journal> journal(new Journal());
  journal->rep_ = std::make_unique<Rep>(dir, options, clock);
  Rep& rep = *journal->rep_;
  SW_CHECK(rep.Open(dir.predecessor()));
  if (options.threaded)
    rep.thread = std::jthread([&rep](const std::stop_token& stop) { rep.Loop(stop); });
  return journal;
}

}  // namespace spillway
