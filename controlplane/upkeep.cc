#include "controlplane/upkeep.h"

#include <chrono>
#include <filesystem>
#include <utility>

#include "common/log.h"
#include "controlplane/store/store.h"

namespace spillway {

Upkeep::Upkeep(Ledger& ledger, const Clock& clock, Options options)
    : ledger_(ledger), clock_(clock), options_(std::move(options)), thread_([this] { Run(); }) {}

Upkeep::~Upkeep() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_.notify_all();
  }
  thread_.join();
}

void Upkeep::Run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    Prune();
    if (options_.backup_every_ms > 0) BackUpWhenDue();
    lock.lock();
    wake_.wait_for(lock, std::chrono::milliseconds(options_.turn_ms), [this] { return stopping_; });
  }
}

void Upkeep::Prune() {
  const auto pruned = ledger_.Prune(clock_.WallMs());
  if (!pruned) log::Warn("old usage stays", {{"error", pruned.error().message}});
  if (pruned && *pruned > 0) log::Info("old usage events deleted", {{"events", *pruned}});
}

void Upkeep::BackUpWhenDue() {
  const int64_t now_ms = clock_.WallMs();
  const auto backups = Store::ListBackups(options_.backup_dir);
  if (backups && !backups->empty() &&
      now_ms - backups->back().created_at_ms < options_.backup_every_ms) {
    return;
  }
  const auto made = ledger_.BackUp(options_.backup_dir, now_ms);
  if (!made) {
    log::Fault("no backup was made", {{"error", made.error().message}});
    return;
  }
  log::Info("backup made", {{"path", made->path}, {"bytes", made->bytes}});
  DropOldBackups();
}

void Upkeep::DropOldBackups() {
  const auto backups = Store::ListBackups(options_.backup_dir);
  if (!backups) return;
  auto excess = static_cast<int64_t>(backups->size()) - options_.backups_kept;
  for (const Store::Backup& backup : *backups) {
    if (excess-- <= 0) break;
    std::error_code failed;
    std::filesystem::remove_all(backup.path, failed);
    if (failed) log::Warn("an old backup stays", {{"path", backup.path}});
  }
}

}  // namespace spillway
