#include "controlplane/upkeep.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <utility>

#include "common/log.h"
#include "controlplane/store/store.h"

namespace spillway {

Upkeep::Upkeep(Ledger& ledger, const Clock& clock, Options options)
    : ledger_(ledger), clock_(clock), options_(std::move(options)) {}

Upkeep::~Upkeep() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void Upkeep::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Upkeep::Turn() {
  Prune();
  if (options_.backup_every_ms > 0) BackUpWhenDue();
}

void Upkeep::Run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    Turn();
    lock.lock();
    wake_.wait_for(lock, std::chrono::milliseconds(options_.turn_ms), [this] { return stopping_; });
  }
}

void Upkeep::Prune() {
  const auto pruned = ledger_.Prune(clock_);
  if (!pruned) log::Warn("old usage stays", {{"error", pruned.error().message}});
  if (pruned && *pruned > 0) log::Info("old usage events deleted", {{"events", *pruned}});
}

// One that is dated in the future was made under a wrong date, and puts nothing off.
bool Upkeep::BackupIsDue(int64_t now_ms) const {
  const auto backups = Store::ListBackups(options_.backup_dir);
  if (!backups) return true;
  return std::ranges::none_of(*backups, [&](const Store::Backup& backup) {
    return backup.created_at_ms <= now_ms &&
           now_ms - backup.created_at_ms < options_.backup_every_ms;
  });
}

void Upkeep::BackUpWhenDue() {
  const int64_t now_ms = clock_.WallMs();
  if (!BackupIsDue(now_ms)) return;
  const auto made = ledger_.BackUp(options_.backup_dir, now_ms, Store::BackupKind::kAutomatic);
  if (!made) {
    log::Fault("no backup was made", {{"error", made.error().message}});
    return;
  }
  log::Info("backup made", {{"path", made->path}, {"bytes", made->bytes}});
  DropOldBackups(made->path);
}

// The one just made stays whatever its date: data planes free what it holds.
void Upkeep::DropOldBackups(const std::string& just_made) {
  auto backups = Store::ListBackups(options_.backup_dir);
  if (!backups) return;
  std::erase_if(*backups, [&](const Store::Backup& backup) {
    return backup.kind != Store::BackupKind::kAutomatic || backup.path == just_made;
  });
  auto excess = static_cast<int64_t>(backups->size()) + 1 - options_.backups_kept;
  for (const Store::Backup& backup : *backups) {
    if (excess-- <= 0) break;
    std::error_code failed;
    std::filesystem::remove_all(backup.path, failed);
    if (failed) log::Warn("an old backup stays", {{"path", backup.path}});
  }
}

}  // namespace spillway
