// Retirement, backups, pruning, metrics.
#include <algorithm>
#include <utility>

#include "common/utc.h"
#include "controlplane/ledger/apply.h"
#include "controlplane/ledger/keys.h"
#include "controlplane/ledger/ledger_state.h"

namespace spillway {
namespace {

constexpr size_t kPruneBatch = 5000;

}  // namespace

Result<v1::RetireInstanceResponse> Ledger::Retire(const std::string& instance, const Commit& commit,
                                                  bool free_leases) {
  const std::lock_guard write(rep_->write_mutex);
  ledger::ApplyBatch batch(*rep_);
  const auto own = rep_->of_instance.find(instance);
  for (const std::string& packed :
       own == rep_->of_instance.end() ? std::vector<std::string>() : own->second) {
    std::vector<std::pair<int64_t, v1::UsageRecord>> open;
    SW_CHECK(rep_->store.Scan(
        Table::kLedgerOpen, packed, packed, [&](std::string_view key, std::string_view value) {
          v1::UsageRecord started;
          const bool running = !value.empty() && value.front() == 'O';
          if (running &&
              started.ParseFromArray(value.data() + 1, static_cast<int>(value.size() - 1)))
            open.emplace_back(ledger::ReadInt64(key.substr(16)), std::move(started));
          return true;
        }));
    for (const auto& [seq, started] : open) SW_CHECK(batch.Retire(packed, seq, started));
  }
  SW_CHECK(batch.RetireHolders(instance, free_leases));
  WriteBatch writes = batch.TakeWrites();
  SW_CHECK(commit ? commit(std::move(writes)) : rep_->store.Write(std::move(writes)));
  batch.Publish();
  v1::RetireInstanceResponse response;
  response.set_orphans_settled(batch.settled);
  response.set_estimated_nanos(batch.estimated_nanos);
  return response;
}

Result<Store::Backup> Ledger::BackUp(const std::string& backups_path, int64_t now_ms) {
  v1::LedgerBackupMark mark;
  mark.set_created_at_ms(now_ms);
  {
    // Before the backup is made: it holds at least this.
    const std::lock_guard lock(rep_->state_mutex);
    mark.mutable_position()->set_stream_created_ns(rep_->position.created_ns);
    mark.mutable_position()->set_stream_seq(rep_->position.seq);
    for (const auto& [packed, kept] : rep_->marks) {
      v1::IncarnationMark& at = *mark.add_marks();
      at.set_incarnation(ledger::UnpackIncarnation(packed));
      at.set_committed_upto(kept.committed_upto);
    }
  }
  SW_TRY(Store::Backup made, rep_->store.CreateBackup(backups_path, now_ms));
  WriteBatch writes;
  writes.Put(Table::kMeta, ledger::kBackupKey, mark.SerializeAsString());
  SW_CHECK(rep_->store.Write(std::move(writes)));
  const std::lock_guard lock(rep_->state_mutex);
  for (const v1::IncarnationMark& at : mark.marks())
    if (const auto packed = ledger::PackIncarnation(at.incarnation()))
      rep_->backed_up[*packed] = at.committed_upto();
  rep_->backup = std::move(mark);
  return made;
}

Ledger::Position Ledger::purgeable() const {
  const std::lock_guard lock(rep_->state_mutex);
  if (!rep_->options.backups) return rep_->position;
  const Position backed_up{.created_ns = rep_->backup.position().stream_created_ns(),
                           .seq = rep_->backup.position().stream_seq()};
  // A backup of an earlier stream says nothing about this one.
  if (backed_up.created_ns != rep_->position.created_ns)
    return {.created_ns = rep_->position.created_ns, .seq = 0};
  return backed_up;
}

Result<int64_t> Ledger::Prune(int64_t now_ms) {
  int64_t before_ms =
      (now_ms - rep_->options.retention_days * kDayMs) / ledger::kHourMs * ledger::kHourMs;
  {
    const std::lock_guard lock(rep_->state_mutex);
    before_ms =
        std::min(before_ms, rep_->backup.created_at_ms() / ledger::kHourMs * ledger::kHourMs);
  }
  if (before_ms <= rep_->pruned_before_ms) return 0;
  std::string end;
  ledger::AppendInt64(end, before_ms);
  WriteBatch first;
  // Noted before anything goes: what verify then leaves out is only ever too much.
  first.Put(Table::kMeta, ledger::kPrunedKey, end);
  SW_CHECK(rep_->store.Write(std::move(first)));
  rep_->pruned_before_ms = before_ms;
  int64_t pruned = 0;
  while (true) {
    std::vector<std::string> keys;
    SW_CHECK(
        rep_->store.Scan(Table::kLedgerEvents, {}, {}, [&](std::string_view key, std::string_view) {
          if (key >= end || keys.size() == kPruneBatch) return false;
          keys.emplace_back(key);
          return true;
        }));
    if (keys.empty()) return pruned;
    WriteBatch batch;
    for (const std::string& key : keys) batch.Delete(Table::kLedgerEvents, key);
    SW_CHECK(rep_->store.Write(std::move(batch)));
    pruned += static_cast<int64_t>(keys.size());
  }
}

void Ledger::Collect(MetricsText& text) const {
  const auto put = [&text](std::string_view name, std::string_view type, std::string_view help,
                           int64_t value) {
    text.Family(name, type, help);
    text.Sample(name, {}, value);
  };
  int64_t awaited = 0;
  int64_t lost = 0;
  int64_t incarnations = 0;
  {
    const std::lock_guard lock(rep_->state_mutex);
    incarnations = static_cast<int64_t>(rep_->marks.size());
    for (const auto& [packed, mark] : rep_->marks) {
      for (const auto& [from, to] : mark.Gaps()) awaited += to - from + 1;
      for (const auto& [from, to] : mark.lost.map()) lost += to - from + 1;
    }
  }
  put("spillway_ledger_records_total", "counter", "Usage records applied.", rep_->records);
  put("spillway_ledger_batches_total", "counter", "Synced batches.", rep_->batches);
  put("spillway_ledger_duplicates_total", "counter", "Records that were applied already.",
      rep_->duplicates);
  put("spillway_ledger_bad_records_total", "counter",
      "Records with a wrong checksum, asked for again.", rep_->bad);
  put("spillway_ledger_deferred_total", "counter",
      "Records left for later: too many holes before them.", rep_->deferred);
  put("spillway_ledger_unreadable_total", "counter", "Intact records of an unknown kind.",
      rep_->unreadable);
  put("spillway_ledger_refused_runs_total", "counter", "Malformed runs.", rep_->refused_runs);
  put("spillway_ledger_orphans_total", "counter", "Attempts settled at their estimate.",
      rep_->orphans);
  put("spillway_ledger_estimates_replaced_total", "counter", "Estimates replaced by a late end.",
      rep_->replaced);
  put("spillway_ledger_open_started", "gauge", "Attempts whose end is not known yet.",
      rep_->open_started);
  put("spillway_ledger_gap_records", "gauge", "Records known to exist and awaited.", awaited);
  put("spillway_ledger_lost_records", "gauge", "Records declared unreadable by their data plane.",
      lost);
  put("spillway_ledger_incarnations", "gauge", "Incarnations with a mark.", incarnations);
}

}  // namespace spillway
