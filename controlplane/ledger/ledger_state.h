#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "controlplane/ledger/charge_sink.h"
#include "controlplane/ledger/ledger.h"
#include "controlplane/ledger/marks.h"
#include "controlplane/ledger/rollups.h"

namespace spillway {

// The insides of Ledger. Writers hold write_mutex from reading state to publishing it; what readers
// look at changes under state_mutex, for a moment, after the batch is durable. Lock order: write,
// state.
struct Ledger::Rep {
  Rep(Store& the_store, const LedgerOptions& the_options)
      : store(the_store),
        options(the_options),
        rollups(the_store, options.rollup_rows_per_hour_max, options.rollup_rows_cached_max) {}

  Result<void> Load();
  Result<void> LoadMarks();
  Result<void> LoadOpen();
  v1::IncarnationMark MarkFor(const std::string& packed, const ledger::Mark& mark) const;

  Store& store;
  const LedgerOptions options;
  ChargeSink* charges = nullptr;  // set before the first batch; null: nobody counts budgets

  std::mutex write_mutex;
  ledger::Rollups rollups;
  // Open rows that are no running attempt ('E', 'F'), so that a Started looks up only these.
  std::unordered_map<std::string, std::unordered_map<int64_t, char>> special;

  mutable std::mutex state_mutex;
  std::unordered_map<std::string, ledger::Mark> marks;                    // by packed incarnation
  std::unordered_map<std::string, std::vector<std::string>> of_instance;  // -> packed incarnations
  struct Heard {
    std::string instance;
    int64_t upto = 0;
  };
  std::unordered_map<std::string, Heard> heard;  // what data planes say they published
  Position position;
  v1::LedgerBackupMark backup;
  std::unordered_map<std::string, int64_t> backed_up;  // by packed incarnation

  std::atomic<int64_t> open_started = 0;
  std::atomic<int64_t> pruned_before_ms = 0;
  int64_t steady_read_ns = 0;  // monotonic, of the last SteadyDate; 0: none yet
  std::atomic<int64_t> records = 0, duplicates = 0, bad = 0, deferred = 0, unreadable = 0,
                       orphans = 0, replaced = 0, refused_runs = 0, batches = 0;
};

}  // namespace spillway
