// Backups, metrics.
#include <utility>

#include "controlplane/ledger/keys.h"
#include "controlplane/ledger/ledger_state.h"

namespace spillway {

Result<Store::Backup> Ledger::BackUp(const std::string& backups_path, int64_t now_ms,
                                     Store::BackupKind kind) {
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
  SW_TRY(Store::Backup made, rep_->store.CreateBackup(backups_path, now_ms, kind));
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
  put("spillway_ledger_rollup_overflow_total", "counter",
      "Events counted in an hour's overflow row: too many combinations of names.",
      rep_->rollups.overflowed());
  put("spillway_ledger_open_started", "gauge", "Attempts whose end is not known yet.",
      rep_->open_started);
  put("spillway_ledger_gap_records", "gauge", "Records known to exist and awaited.", awaited);
  put("spillway_ledger_lost_records", "gauge", "Records declared unreadable by their data plane.",
      lost);
  put("spillway_ledger_incarnations", "gauge", "Incarnations with a mark.", incarnations);
}

}  // namespace spillway
