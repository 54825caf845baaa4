#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "dataplane/metering/full_counts.h"
#include "dataplane/metering/journal.h"
#include "dataplane/metering/log_book.h"
#include "dataplane/metering/log_reader.h"
#include "dataplane/metering/open_tracker.h"
#include "dataplane/metering/segment.h"
#include "dataplane/metering/standalone_totals.h"

namespace spillway {

// The insides of Journal. Two sides: appenders (any thread, under append_mutex_, memory only) and
// upkeep (the journal's thread, under upkeep_mutex_: all file work). Lock order: upkeep, append,
// marks.
struct Journal::Rep {
  Rep(const DataDir& dir, JournalOptions options, const Clock& clock);

  // journal_open.cc
  Result<void> Open(const std::string& predecessor);
  Result<void> LoadMarks();
  Result<int64_t> ReplayOlder(const std::string& predecessor);
  Result<int64_t> ReplayOne(const std::string& incarnation);
  Result<void> AppendHello(const std::string& predecessor, int64_t predecessor_last_seq);

  // journal.cc
  Result<int64_t> Append(std::string_view record, Kind kind);
  bool LeavesEnds(int64_t bytes, Kind kind);  // append_mutex_ held, as for the next
  bool Roll();
  int64_t Room() const;        // in segments that are ready
  int64_t RoomToCome() const;  // with those that may still be made

  // journal_upkeep.cc; upkeep_mutex_ held
  void RunOnce();
  void PrepareSegments(bool beyond_limit);
  bool SyncAppended();
  void Follow();
  void WriteCounted(Kind kind = Kind::kOther);
  void Free();
  void FreeLog(const IncarnationLog& log);
  void RemoveEmptyLogs();
  void SaveMarksWhenDue(bool now);
  Result<void> SaveMarks();
  void SettleInTotals();
  bool SaveTotals(bool now);
  void Sample();
  void Loop(const std::stop_token& stop);

  struct Sealed {
    std::shared_ptr<WritableSegment> segment;
    int64_t first_seq = 0;
    int64_t last_seq = 0;
  };

  const JournalOptions options;
  const Clock& clock;
  const std::string instance;
  const std::string incarnation;
  const std::string data_dir;
  const std::string journal_path;
  const std::string folder;  // of this incarnation
  size_t segment_bytes = 0;

  mutable std::mutex append_mutex;
  std::shared_ptr<WritableSegment> active;  // shared with upkeep, which syncs it beside appenders
  int64_t active_first_seq = 1;
  std::deque<std::shared_ptr<WritableSegment>> spares;
  std::vector<Sealed> sealed;
  int64_t next_seq = 1;
  int64_t open_started = 0;
  int64_t end_bytes = 512;  // that the end of an attempt may take: the largest one seen
  int64_t appended_bytes = 0;
  int64_t budget_bytes = 0;  // may still be allocated
  bool closed = false;
  std::atomic<bool> full = false;  // written under append_mutex
  std::atomic<int64_t> counted_ends = 0;
  std::atomic<int64_t> refused = 0;
  FullCounts counts;

  std::mutex upkeep_mutex;
  LogBook book;
  LogReader follower{book};
  std::optional<OpenTracker> tracker;
  std::optional<StandaloneTotals> totals;  // standalone only
  int64_t segment_index = 0;
  int64_t synced_seq = 0;
  size_t synced_used = 0;  // of the active segment
  std::shared_ptr<WritableSegment> synced_segment;
  int64_t saved_version = 0;
  int64_t freed_version = -1;
  int64_t marks_saved_ns = 0;
  int64_t totals_saved_ns = 0;
  bool create_failed = false;
  std::atomic<int64_t> disk_bytes = 0;
  std::atomic<int64_t> sync_failures = 0;
  std::atomic<int64_t> lost = 0;
  std::atomic<int64_t> abandoned = 0;

  mutable std::mutex marks_mutex;
  int64_t epoch = 0;
  bool retired = false;
  std::map<std::string, v1::JournalState> kept_marks;  // as read at start

  std::mutex reader_mutex;
  LogReader reader{book};

  struct RateSample {
    int64_t monotonic_ns = 0;
    int64_t wall_ms = 0;
    int64_t bytes = 0;
    int64_t last_seq = 0;
  };
  mutable std::mutex samples_mutex;
  std::deque<RateSample> samples;

  std::mutex listener_mutex;
  std::function<void()> on_synced;

  std::mutex wake_mutex;
  std::condition_variable_any wake;
  std::atomic<bool> wake_wanted = false;
  std::jthread thread;  // last: joined before anything above goes
};

}  // namespace spillway
