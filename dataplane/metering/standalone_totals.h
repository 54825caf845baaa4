#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "common/error.h"
#include "dataplane/metering/account_charges.h"
#include "spillway/v1/usage.pb.h"

namespace spillway {

// Running totals of a data plane without a bus, per hour (the last three days), per day, and
// attribution, and what budget accounts were charged, in DATA/totals: written whole, synced and
// renamed, together with the seq up to which each incarnation's records are in them. So a record
// counts once, whatever is killed when. Not thread-safe: the journal's thread owns it.
class StandaloneTotals {
 public:
  static Result<StandaloneTotals> Load(const std::string& data_dir);

  int64_t IncludedUpto(const std::string& incarnation) const;
  // Adds a record behind IncludedUpto; others are ignored.
  void Add(const std::string& incarnation, const v1::UsageRecord& record);
  // Everything up to `seq` is in, also records that carry no usage.
  void Include(const std::string& incarnation, int64_t seq);
  // A freed incarnation needs no mark any more.
  void Forget(const std::string& incarnation);
  Result<void> Save(int64_t now_ms);
  v1::UsageTotals ToProto() const;

 private:
  using RowKey =
      std::pair<std::pair<int64_t, int64_t>, std::string>;  // (hours, start), attribution
  void AddTo(int64_t time_ms, const v1::Attribution& attribution, const v1::TotalsRow& amount);
  void AddRow(int64_t hours, int64_t time_ms, std::string attribution, const v1::TotalsRow& amount);
  void DropOldHours(int64_t now_ms);
  void AddCharges(const v1::UsageRecord& record);

  std::string path_;
  std::map<RowKey, v1::TotalsRow> rows_;
  std::map<std::pair<int64_t, int64_t>, int64_t> rows_of_window_;
  std::map<std::string, int64_t> included_;
  AccountCharges charges_;  // of all holders together: alone, a process is its own keeper
};

// Totals of a data-dir, also while a process runs on it: what is in the totals plus what is still
// only in the journal.
Result<v1::UsageTotals> ReadUsage(const std::string& data_dir);
// The same as a table for people: `spillway-dataplane --usage DIR`.
Result<std::string> RenderUsage(const std::string& data_dir);

}  // namespace spillway
