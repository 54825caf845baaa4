#include "controlplane/ledger/rollups.h"

#include <algorithm>

#include "controlplane/ledger/keys.h"

namespace spillway::ledger {

Result<Rollups::Hour*> Rollups::Load(int64_t hour_s) {
  const auto [at, made] = hours_.try_emplace(hour_s);
  Hour& hour = at->second;
  hour.used = ++use_;
  if (!made) return &hour;
  const std::string prefix = HourPrefix(hour_s);
  auto read = store_.Scan(Table::kLedgerRollups, prefix, prefix,
                          [&hour](std::string_view key, std::string_view value) {
                            if (const auto totals = Totals::FromBytes(value))
                              hour.rows.emplace(key, *totals);
                            return true;
                          });
  if (!read) {
    hours_.erase(at);
    return std::unexpected(std::move(read).error());
  }
  rows_cached_ += static_cast<int64_t>(hour.rows.size());
  return &hour;
}

Totals* Rollups::Pending(const std::string& key, Hour& hour, int64_t hour_s, bool beyond_cap) {
  if (const auto at = pending_.find(key); at != pending_.end()) return &at->second.totals;
  const auto kept = hour.rows.find(key);
  if (kept != hour.rows.end())
    return &pending_.emplace(key, Change{hour_s, kept->second}).first->second.totals;
  const bool full = static_cast<int64_t>(hour.rows.size()) + hour.pending_new >= rows_per_hour_max_;
  if (full && !beyond_cap) return nullptr;
  ++hour.pending_new;
  return &pending_.emplace(key, Change{hour_s, Totals{}}).first->second.totals;
}

Result<Totals*> Rollups::Row(int64_t time_ms, const v1::Attribution& attribution) {
  const int64_t hour_s = HourOf(time_ms);
  SW_TRY(Hour* const hour, Load(hour_s));
  if (Totals* row = Pending(RollupKey(hour_s, attribution), *hour, hour_s, false); row != nullptr)
    return row;
  ++overflowed_;
  return Pending(OverflowKey(hour_s), *hour, hour_s, true);
}

Result<void> Rollups::Add(int64_t time_ms, const v1::Attribution& attribution,
                          const Totals& amount) {
  SW_TRY(Totals* const row, Row(time_ms, attribution));
  *row += amount;
  return {};
}

Result<void> Rollups::Subtract(int64_t time_ms, const v1::Attribution& attribution,
                               const Totals& amount) {
  SW_TRY(Totals* const row, Row(time_ms, attribution));
  *row -= amount;
  return {};
}

void Rollups::Write(WriteBatch& batch) const {
  for (const auto& [key, change] : pending_)
    batch.Put(Table::kLedgerRollups, key, change.totals.Bytes());
}

void Rollups::Commit() {
  for (auto& [key, change] : pending_) {
    Hour& hour = hours_[change.hour_s];
    const bool made = hour.rows.insert_or_assign(key, change.totals).second;
    if (made) ++rows_cached_;
  }
  pending_.clear();
  for (auto& [hour_s, hour] : hours_) hour.pending_new = 0;
  Evict();
}

void Rollups::Discard() {
  pending_.clear();
  for (auto& [hour_s, hour] : hours_) hour.pending_new = 0;
}

void Rollups::Evict() {
  while (rows_cached_ > rows_cached_max_ && hours_.size() > 1) {
    const auto oldest =
        std::ranges::min_element(hours_, {}, [](const auto& hour) { return hour.second.used; });
    rows_cached_ -= static_cast<int64_t>(oldest->second.rows.size());
    hours_.erase(oldest);
  }
}

}  // namespace spillway::ledger
