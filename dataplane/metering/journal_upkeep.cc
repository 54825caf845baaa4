// What the journal's own thread does: everything that touches the disk.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "common/durable_file.h"
#include "common/log.h"
#include "dataplane/metering/journal_state.h"

namespace spillway {
namespace {

constexpr auto kTick = std::chrono::milliseconds(10);
constexpr int64_t kMarksEveryNs = 1'000'000'000;
constexpr int64_t kTotalsEveryNs = 60'000'000'000;
constexpr int64_t kSampleEveryNs = 1'000'000'000;
constexpr size_t kSamplesMax = 3600;
constexpr size_t kSparesWanted = 2;

}  // namespace

void Journal::Rep::Loop(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    {
      const std::lock_guard lock(upkeep_mutex);
      RunOnce();
    }
    std::unique_lock lock(wake_mutex);
    wake.wait_for(lock, stop, kTick, [this] { return wake_wanted.exchange(false); });
  }
}

void Journal::Rep::RunOnce() {
  PrepareSegments(false);
  const bool synced = SyncAppended();
  Follow();
  WriteCounted();
  Free();
  SaveMarksWhenDue(false);
  SaveTotals(false);
  Sample();
  if (!synced) return;
  const std::lock_guard lock(listener_mutex);
  if (on_synced) on_synced();
}

void Journal::Rep::PrepareSegments(bool beyond_limit) {
  const auto bytes = static_cast<int64_t>(segment_bytes);
  const size_t wanted = options.bytes_max / bytes >= 16 ? kSparesWanted : 1;
  while (true) {
    {
      const std::lock_guard lock(append_mutex);
      budget_bytes = std::max<int64_t>(options.bytes_max - disk_bytes, 0);
      const bool allowed = budget_bytes >= bytes || (beyond_limit && spares.empty());
      if (spares.size() >= wanted || !allowed || closed) break;
    }
    auto made = WritableSegment::Create(folder + "/" + SegmentName(segment_index + 1), incarnation,
                                        clock.WallMs(), segment_bytes);
    if (made) made = durable::SyncFolder(folder).transform([&] { return *made; });
    if (!made) {
      if (!create_failed) log::Fault("journal cannot grow", {{"reason", made.error().message}});
      create_failed = true;
      const std::lock_guard lock(append_mutex);
      budget_bytes = 0;  // a disk that is full is no room
      return;
    }
    create_failed = false;
    ++segment_index;
    disk_bytes += bytes;
    const std::shared_ptr<WritableSegment> segment = std::move(*made);
    {
      const std::lock_guard lock(append_mutex);
      spares.push_back(segment);
    }
    // Written once as zeros: later syncs then change no metadata of the file, only its pages. A
    // failure shows at the first sync of records.
    if (!segment->Sync()) log::Debug("a new journal segment is not on disk yet");
  }
  const std::lock_guard lock(append_mutex);
  if (full && Room() > (open_started + 8) * end_bytes)
    full = false;  // some attempts more than those that run
}

bool Journal::Rep::SyncAppended() {
  std::vector<Sealed> done;
  Sealed current;
  size_t used = 0;
  {
    const std::lock_guard lock(append_mutex);
    done.swap(sealed);
    current = {.segment = active, .first_seq = active_first_seq, .last_seq = next_seq - 1};
    used = active->used();
  }
  if (current.last_seq <= synced_seq && done.empty()) return false;
  // A failed sync is counted, and the records go on their way: in the ledger they are safest.
  const auto sync = [this](const Sealed& part) {
    if (auto synced = part.segment->Sync(); !synced && ++sync_failures == 1)
      log::Fault("journal cannot be synced; it still survives a kill, not a power loss",
                 {{"reason", synced.error().message}});
    if (part.last_seq < part.first_seq) return;
    book.Extend(incarnation, {.path = part.segment->path(),
                              .first_seq = part.first_seq,
                              .last_seq = part.last_seq,
                              .bytes = static_cast<int64_t>(part.segment->bytes()),
                              .created_ms = clock.WallMs()});
  };
  for (const Sealed& part : done) sync(part);
  const size_t before = synced_segment == current.segment ? synced_used : kSegmentHeaderBytes;
  if (current.last_seq > synced_seq) sync(current);
  current.segment->Prefault(used, 2 * (used - before));
  synced_seq = current.last_seq;
  synced_segment = current.segment;
  synced_used = used;
  return true;
}

void Journal::Rep::Follow() {
  const auto failed = [](const Result<void>& read) {
    if (!read) log::Warn("journal cannot be followed", {{"reason", read.error().message}});
  };
  failed(follower.Read(incarnation, tracker->followed_upto() + 1, synced_seq,
                       [this](const Frame& frame) {
                         tracker->Follow(frame);
                         return true;
                       }));
  if (!totals) return;
  v1::UsageRecord record;  // one for all: parsing into it again costs no allocation
  for (const IncarnationLog& log : book.Heads()) {
    failed(follower.Read(log.incarnation, totals->IncludedUpto(log.incarnation) + 1, log.last_seq,
                         [&](const Frame& frame) {
                           if (record.ParseFromArray(frame.record.data(),
                                                     static_cast<int>(frame.record.size())))
                             totals->Add(log.incarnation, record);
                           totals->Include(log.incarnation, frame.seq);
                           return true;
                         }));
  }
}

void Journal::Rep::WriteCounted(Kind kind) {
  while (const auto shown = counts.Peek()) {
    v1::UsageRecord record;
    record.set_time_ms(clock.WallMs());
    *record.mutable_aggregate() = shown->aggregate;
    const bool was_full = [this] {
      const std::lock_guard lock(append_mutex);
      return full.load();
    }();
    if (was_full || !Append(record.SerializeAsString(), kind)) return;
    counts.Drop(*shown);
  }
}

void Journal::Rep::Free() {
  if (totals) SettleInTotals();
  if (book.version() == freed_version) return;
  freed_version = book.version();
  for (const IncarnationLog& log : book.Heads()) FreeLog(log);
  RemoveEmptyLogs();
}

// Standalone, what is in the saved totals is settled; it goes when its space is needed.
void Journal::Rep::SettleInTotals() {
  if (disk_bytes + 2 * static_cast<int64_t>(segment_bytes) <= options.bytes_max) return;
  const std::vector<IncarnationLog> heads = book.Heads();
  const bool helps = std::ranges::any_of(heads, [this](const IncarnationLog& log) {
    const auto first = book.Locate(log.incarnation, log.freeable_upto + 1);
    return first && totals->IncludedUpto(log.incarnation) >= first->last_seq &&
           !(log.live && first->last_seq == log.last_seq);
  });
  if (!helps || !SaveTotals(true)) return;
  for (const IncarnationLog& log : heads) {
    const int64_t upto = totals->IncludedUpto(log.incarnation);
    book.MarkCommitted(log.incarnation, upto, upto);
  }
}

void Journal::Rep::FreeLog(const IncarnationLog& log) {
  std::vector<SegmentSpan> spans = book.Freeable(log.incarnation);
  if (log.live) {
    // Only what was followed: its open attempts must be known before the segment goes.
    std::erase_if(spans, [this](const SegmentSpan& span) {
      return span.last_seq > tracker->followed_upto();
    });
  }
  if (spans.empty()) return;
  SaveMarksWhenDue(true);
  if (log.live) {
    if (auto carried = tracker->Carry(spans, clock.WallMs()); !carried) {
      log::Warn("journal segments stay: open attempts cannot be carried over",
                {{"reason", carried.error().message}});
      return;
    }
  }
  for (const SegmentSpan& span : spans) {
    if (unlink(span.path.c_str()) != 0) continue;
    disk_bytes -= span.bytes;
    book.Remove(log.incarnation, span.path);
  }
}

void Journal::Rep::RemoveEmptyLogs() {
  for (const IncarnationLog& log : book.TakeEmpty()) {
    std::error_code ignored;  // looked at again at the next start
    std::filesystem::remove_all(log.folder, ignored);
    if (totals && !ignored) totals->Forget(log.incarnation);
  }
}

Result<void> Journal::Rep::SaveMarks() {
  v1::JournalMarks marks;
  {
    const std::lock_guard lock(marks_mutex);
    marks.set_epoch(epoch);
    marks.set_retired(retired);
  }
  const int64_t version = book.version();
  for (const IncarnationLog& log : book.Heads()) {
    v1::JournalState& state = *marks.add_journals();
    state.set_incarnation(log.incarnation);
    state.set_last_seq(log.last_seq);
    state.set_published_upto(log.published_upto);
    state.set_committed_upto(log.committed_upto);
    state.set_freeable_upto(log.freeable_upto);
  }
  SW_CHECK(durable::WriteFile(journal_path + "/marks", marks.SerializeAsString()));
  saved_version = version;
  marks_saved_ns = clock.MonotonicNs();
  return {};
}

void Journal::Rep::SaveMarksWhenDue(bool now) {
  if (book.version() == saved_version) return;
  if (!now && clock.MonotonicNs() - marks_saved_ns < kMarksEveryNs) return;
  if (auto saved = SaveMarks(); !saved)
    log::Warn("journal marks cannot be saved", {{"reason", saved.error().message}});
}

bool Journal::Rep::SaveTotals(bool now) {
  if (!totals) return true;
  if (!now && clock.MonotonicNs() - totals_saved_ns < kTotalsEveryNs) return true;
  totals_saved_ns = clock.MonotonicNs();
  auto saved = totals->Save(clock.WallMs());
  if (!saved) log::Warn("usage totals cannot be saved", {{"reason", saved.error().message}});
  return saved.has_value();
}

void Journal::Rep::Sample() {
  RateSample sample{.monotonic_ns = clock.MonotonicNs(), .wall_ms = clock.WallMs()};
  {
    const std::lock_guard lock(append_mutex);
    sample.bytes = appended_bytes;
    sample.last_seq = next_seq - 1;
  }
  const std::lock_guard lock(samples_mutex);
  if (!samples.empty() && sample.monotonic_ns - samples.back().monotonic_ns < kSampleEveryNs)
    return;
  samples.push_back(sample);
  if (samples.size() > kSamplesMax) samples.pop_front();
}

}  // namespace spillway
