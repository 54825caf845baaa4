#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/clock.h"
#include "common/error.h"
#include "common/metrics.h"
#include "common/money.h"
#include "dataplane/metering/account_charges.h"
#include "dataplane/metering/data_dir.h"
#include "dataplane/metering/frame.h"
#include "dataplane/metering/full_counts.h"
#include "spillway/v1/usage.pb.h"

namespace spillway {

enum class JournalFull : uint8_t {
  kCount,   // keep serving, aggregate in memory, alarm
  kRefuse,  // Append of a Started fails with kJournalFull
};

struct JournalOptions {
  std::string version;                               // of this program, for Hello
  int64_t bytes_max = int64_t{1024} * 1024 * 1024;   // all segments of all incarnations
  int64_t segment_bytes = int64_t{8} * 1024 * 1024;  // at most a quarter of bytes_max is used
  JournalFull full = JournalFull::kCount;
  bool standalone = false;  // keep running totals and drop what is in them; nothing is shipped
  bool threaded = true;     // false: tests call RunOnce themselves
  FinalCharges final_charges = {};  // at Open, for each incarnation that is closed
};

// The usage journal of one data plane: what was appended survives kill -9 by construction (it lies
// in a preallocated, shared mapping of a file), and power loss 10 ms later (fdatasync on the
// journal's own thread, which also prepares segments ahead and frees committed ones). Append may be
// called from any thread: it copies a few hundred bytes under a short lock and makes no system
// call. On Open the journals of dead incarnations are closed: their open attempts become Abandoned
// records. Owned by main; outlives Meter and Shipper.
class Journal {
 public:
  static Result<std::unique_ptr<Journal>> Open(const DataDir& dir, const JournalOptions& options,
                                               const Clock& clock);
  ~Journal();

  const std::string& instance() const;
  const std::string& incarnation() const;

  // Space is left for the ends of all open attempts, so that `refuse` never loses a bill: by a
  // Started also for its own, by others as they come.
  enum class Kind : uint8_t {
    kStarted,
    kEnd,      // of a journalled Started
    kLoneEnd,  // of none: as good as any other
    kOther,
  };
  // `record`: a serialised UsageRecord without its seq, which is added here; returns it.
  // kJournalFull: no space (for kEnd: the caller counts instead, see CountEnd).
  Result<int64_t> Append(std::string_view record, Kind kind);

  // One attempt's end that found no space: summed in memory, journalled as an Aggregate when there
  // is.
  void CountEnd(const FullCounts::End& end);

  // The last record of this incarnation, at a clean end: when no attempt is open. `holders`: what
  // their budget accounts come to. Nothing may be appended after it.
  void AppendClosed(const std::vector<v1::Closed>& holders = {});
  // Ends of attempts can only be counted now. Any thread; no lock.
  bool full() const;
  // Of this incarnation, for what belongs to it and goes with it.
  const std::string& folder() const;

  // What the journal's thread does every 10 ms: sync, prepare, write counted ends, free.
  void RunOnce();

  // For the shipper. Runs on its thread, whenever something was synced.
  void OnSynced(std::function<void()> listener);
  // This incarnation and every earlier one with records left, oldest first.
  std::vector<v1::JournalState> States() const;
  // Copies synced records with `from_seq` <= seq, without a hole between them, up to `bytes_max`
  // (at least one record). Starts at the first readable record at or behind from_seq; empty: none.
  Result<std::vector<StoredRecord>> Read(const std::string& incarnation, int64_t from_seq,
                                         int64_t to_seq, int64_t bytes_max);
  // Marks only grow. Frees what every mark allows; `backed_up_upto` set: not above it, nor after a
  // restart.
  void MarkPublished(const std::string& incarnation, int64_t upto);
  void MarkCommitted(const std::string& incarnation, int64_t upto,
                     std::optional<int64_t> backed_up_upto);

  // What instructions said; the epoch is kept over restarts. On disk when NoteInstruction returns.
  int64_t highest_epoch() const;
  bool retired() const;
  Result<void> NoteInstruction(int64_t epoch, bool retired);

  struct Stats {
    int64_t bytes = 0;  // of all segments
    int64_t bytes_max = 0;
    int64_t records = 0;    // appended by this incarnation
    int64_t unshipped = 0;  // records not acknowledged by the stream
    int64_t uncommitted = 0;
    int64_t oldest_age_ms = 0;  // of the oldest uncommitted record; 0: none
    double hours_left = -1;     // at the last minute's rate; -1: unlimited at this rate
    int64_t counted_ends = 0;   // counted while full, since start
    int64_t refused = 0;
    int64_t lost = 0;       // records found unreadable at replay
    int64_t abandoned = 0;  // attempts settled at replay
    int64_t sync_failures = 0;
    bool full = false;
  };
  Stats stats() const;
  void Collect(MetricsText& text) const;

 private:
  struct Rep;
  Journal();
  std::unique_ptr<Rep> rep_;
};

}  // namespace spillway
