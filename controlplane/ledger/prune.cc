// Which events are old enough to go, and their deletion.
#include <algorithm>
#include <utility>
#include <vector>

#include "common/log.h"
#include "common/utc.h"
#include "controlplane/ledger/keys.h"
#include "controlplane/ledger/ledger_state.h"

namespace spillway {
namespace {

constexpr size_t kPruneBatch = 5000;

int64_t WholeHour(int64_t time_ms) { return time_ms / ledger::kHourMs * ledger::kHourMs; }

Result<void> PutTime(Store& store, std::string_view key, int64_t time_ms) {
  std::string bytes;
  ledger::AppendInt64(bytes, time_ms);
  WriteBatch batch;
  batch.Put(Table::kMeta, key, bytes);
  return store.Write(std::move(batch));
}

// The next events before `end`, from `from` on.
Result<std::vector<std::string>> OldEvents(const Store& store, std::string_view from,
                                           std::string_view end) {
  std::vector<std::string> keys;
  SW_CHECK(store.Scan(Table::kLedgerEvents, {}, from, [&](std::string_view key, std::string_view) {
    if (key >= end || keys.size() == kPruneBatch) return false;
    keys.emplace_back(key);
    return true;
  }));
  return keys;
}

}  // namespace

// The wall clock's date, approached by no more than the time that really passes, from either side,
// and kept in the store: a date that is wrong for a minute moves this one by a minute at most, and
// time that nobody counted (the process was down) is caught up with as long as it took.
Result<int64_t> Ledger::SteadyDate(const Clock& clock) {
  const int64_t wall_ms = clock.WallMs();
  const int64_t read_ns = clock.MonotonicNs();
  const int64_t since_ns = rep_->steady_read_ns == 0 ? 0 : read_ns - rep_->steady_read_ns;
  const int64_t passed_ms = since_ns / kNsPerMs;
  SW_TRY(const auto stored, rep_->store.Get(Table::kMeta, ledger::kSteadyDateKey));
  int64_t date_ms = wall_ms;
  if (stored && stored->size() == 8) {
    date_ms = ledger::ReadInt64(*stored) + passed_ms;
    date_ms += std::clamp(wall_ms - date_ms, -passed_ms, passed_ms);
  }
  SW_CHECK(PutTime(rep_->store, ledger::kSteadyDateKey, date_ms));
  rep_->steady_read_ns = read_ns;
  return date_ms;
}

Result<int64_t> Ledger::Prune(const Clock& clock) {
  SW_TRY(const int64_t date_ms, SteadyDate(clock));
  if (rep_->pruned_before_ms > date_ms) {
    // Nobody can have deleted what has not happened yet; whether the past is whole is not known.
    const int64_t before_ms = WholeHour(date_ms);
    log::Fault("the ledger's deletions were dated in the future: they end now",
               {{"dated", FormatUtc(rep_->pruned_before_ms)}});
    SW_CHECK(PutTime(rep_->store, ledger::kPrunedKey, before_ms));
    rep_->pruned_before_ms = before_ms;
  }
  const int64_t wall_ms = clock.WallMs();
  {
    // Made under a wrong date: which events it holds cannot be told by their times.
    const std::lock_guard lock(rep_->state_mutex);
    if (rep_->backup.created_at_ms() > wall_ms) return 0;
  }
  return Prune(std::min(date_ms, wall_ms));
}

Result<int64_t> Ledger::Prune(int64_t now_ms) {
  int64_t before_ms = WholeHour(now_ms - rep_->options.retention_days * kDayMs);
  {
    const std::lock_guard lock(rep_->state_mutex);
    before_ms = std::min(before_ms, WholeHour(rep_->backup.created_at_ms()));
  }
  if (before_ms <= rep_->pruned_before_ms) return 0;
  std::string end;
  ledger::AppendInt64(end, before_ms);
  SW_TRY(std::vector<std::string> keys, OldEvents(rep_->store, {}, end));
  if (keys.empty()) return 0;
  // Noted before anything goes: what verify then leaves out is only ever too much.
  SW_CHECK(PutTime(rep_->store, ledger::kPrunedKey, before_ms));
  rep_->pruned_before_ms = before_ms;
  int64_t pruned = 0;
  while (!keys.empty()) {
    WriteBatch batch;
    for (const std::string& key : keys) batch.Delete(Table::kLedgerEvents, key);
    SW_CHECK(rep_->store.Write(std::move(batch)));
    pruned += static_cast<int64_t>(keys.size());
    // From behind the last: what is deleted is passed over slowly.
    SW_TRY(keys, OldEvents(rep_->store, keys.back(), end));
  }
  return pruned;
}

}  // namespace spillway
