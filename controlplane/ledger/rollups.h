#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>

#include "common/error.h"
#include "controlplane/ledger/totals.h"
#include "controlplane/store/store.h"
#include "spillway/v1/usage.pb.h"

namespace spillway::ledger {

// The hourly roll-ups: whole hours cached from the store, and the changes of one batch above them.
// A combination of names that finds its hour full goes to the hour's overflow row, for good: rows
// never vanish, so every later event of it finds the same place. Not thread-safe.
class Rollups {
 public:
  Rollups(const Store& store, int64_t rows_per_hour_max, int64_t rows_cached_max)
      : store_(store), rows_per_hour_max_(rows_per_hour_max), rows_cached_max_(rows_cached_max) {}

  // Changes of the batch at hand. The error is the store's.
  Result<void> Add(int64_t time_ms, const v1::Attribution& attribution, const Totals& amount);
  Result<void> Subtract(int64_t time_ms, const v1::Attribution& attribution, const Totals& amount);
  void Write(WriteBatch& batch) const;
  // The batch is durable; or it is not and never was.
  void Commit();
  void Discard();

  // Events in overflow rows since the start; from any thread.
  int64_t overflowed() const { return overflowed_; }

 private:
  struct Hour {
    std::unordered_map<std::string, Totals> rows;
    int64_t pending_new = 0;
    int64_t used = 0;
  };
  Result<Hour*> Load(int64_t hour_s);
  Result<Totals*> Row(int64_t time_ms, const v1::Attribution& attribution);
  Totals* Pending(const std::string& key, Hour& hour, int64_t hour_s, bool beyond_cap);
  void Evict();

  const Store& store_;
  const int64_t rows_per_hour_max_;
  const int64_t rows_cached_max_;
  std::map<int64_t, Hour> hours_;
  struct Change {
    int64_t hour_s = 0;
    Totals totals;
  };
  std::unordered_map<std::string, Change> pending_;
  int64_t rows_cached_ = 0;
  int64_t use_ = 0;
  std::atomic<int64_t> overflowed_ = 0;
};

}  // namespace spillway::ledger
