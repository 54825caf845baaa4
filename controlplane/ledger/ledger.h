#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/error.h"
#include "common/metrics.h"
#include "controlplane/ledger/charge_sink.h"
#include "controlplane/store/store.h"
#include "spillway/v1/admin.pb.h"
#include "spillway/v1/ledger.pb.h"
#include "spillway/v1/usage.pb.h"

namespace spillway {

struct LedgerOptions {
  int64_t retention_days = 90;                // of single events; roll-ups stay
  bool backups = false;                       // backups are made: free and purge only behind them
  int64_t rollup_rows_per_hour_max = 20'000;  // distinct combinations; the rest shares one row
  int64_t rollup_rows_cached_max = 100'000;
  int64_t ranges_max = 16'384;  // applied ranges above an incarnation's mark
};

// The name of every dimension in the row that takes what exceeds rollup_rows_per_hour_max.
inline constexpr std::string_view kOverflowRow = "(overflow)";

// What every data plane's usage adds up to, exactly once per event id (instance, incarnation, seq).
// Each Apply is one synced batch: events, open attempts, marks, roll-ups and the stream's position
// change together or not at all. Thread-safe; writers are serialised, readers see committed state.
class Ledger {
 public:
  static Result<std::unique_ptr<Ledger>> Open(Store& store, const LedgerOptions& options);
  ~Ledger();
  // Who takes what events charge to budgets. Once, before anything is applied; it must outlive the
  // last batch.
  void SetChargeSink(ChargeSink* charges);
  // Runs it while no batch is made: what it reads of the store's ledger tables belongs together.
  Result<void> WhileQuiet(const std::function<Result<void>()>& read);

  // Where in the stream the ledger stands: the identity and the last message applied.
  struct Position {
    int64_t created_ns = 0;
    uint64_t seq = 0;
    friend bool operator==(const Position&, const Position&) = default;
  };
  Position position() const;

  struct Applied {
    int64_t records = 0;  // new
    int64_t duplicates = 0;
    int64_t bad = 0;                     // wrong checksum: still missing
    int64_t deferred = 0;                // too many holes: still missing
    std::vector<std::string> instances;  // seen in the runs
  };
  // kUnavailable: the store cannot write; nothing has changed and nothing may be acknowledged.
  Result<Applied> Apply(std::span<const v1::UsageRun> runs, Position position);
  // Moves the position alone (a new stream).
  Result<void> SetPosition(Position position);
  bool Writable() const;
  // Remembers the name of the durable consumer, for its deletion by a later process; returns the
  // one remembered before, empty: none.
  Result<std::string> RememberConsumer(const std::string& name);

  // Marks of all incarnations of an instance that are not complete yet, plus those named.
  std::vector<v1::IncarnationMark> MarksOf(const std::string& instance,
                                           std::span<const std::string> incarnations = {}) const;
  // What is known to exist and is not applied, per instance.
  std::map<std::string, std::vector<v1::Resend>> Missing() const;
  // From behind each mark to the end, for every incarnation that is not complete.
  std::map<std::string, std::vector<v1::Resend>> EverythingAbove() const;
  // A data plane says that its records up to `upto` were published.
  void NoteKnown(const std::string& instance, const std::string& incarnation, int64_t upto);

  Result<v1::QuerySpendResponse> QuerySpend(const v1::QuerySpendRequest& request) const;
  Result<v1::ListLedgerGapsResponse> ListGaps() const;
  Result<v1::ListLedgerEventsResponse> ListEvents(const v1::ListLedgerEventsRequest& request) const;
  // Recomputes the roll-ups of the retained events. Slow; does not hold up Apply for long.
  Result<v1::VerifyLedgerResponse> Verify() const;

  // `spillway fleet retire`: settles the open attempts of all its incarnations at what they
  // reserved, and those that arrive from them later. `commit` writes the batch, with the roster's
  // own part; absent: the store alone.
  using Commit = std::function<Result<void>(WriteBatch batch)>;
  // `free_leases`: as in v1::RetireInstanceRequest.
  Result<v1::RetireInstanceResponse> Retire(const std::string& instance, const Commit& commit = {},
                                            bool free_leases = false);
  int64_t open_started() const;

  // A backup of the whole store, and the note of how far it reaches. MarksOf and the purge position
  // follow it when options.backups is set.
  Result<Store::Backup> BackUp(const std::string& backups_path, int64_t now_ms,
                               Store::BackupKind kind = Store::BackupKind::kAsked);
  // The stream may be purged up to and with this.
  Position purgeable() const;
  // Deletes events older than the retention, only those a backup holds; returns how many.
  Result<int64_t> Prune(int64_t now_ms);
  // The same, by a date that a wrong wall clock moves only slowly: SteadyDate. One thread.
  Result<int64_t> Prune(const Clock& clock);

  void Collect(MetricsText& text) const;

  struct Rep;

 private:
  explicit Ledger(std::unique_ptr<Rep> rep);
  Result<int64_t> SteadyDate(const Clock& clock);
  std::unique_ptr<Rep> rep_;
};

}  // namespace spillway
