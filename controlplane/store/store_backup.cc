#include <rocksdb/env.h>
#include <rocksdb/utilities/backup_engine.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "common/utc.h"
#include "controlplane/store/store.h"
#include "controlplane/store/store_rep.h"

namespace spillway {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "backup-";

rocksdb::BackupEngineOptions EngineOptions(const std::string& folder) {
  rocksdb::BackupEngineOptions options(folder);
  options.share_table_files = false;  // each backup stands for itself
  options.sync = true;
  return options;
}

Result<std::unique_ptr<rocksdb::BackupEngineReadOnly>> OpenBackup(const std::string& folder) {
  std::error_code failed;
  if (!fs::is_directory(folder + "/meta", failed)) {
    return Fail(ErrorCode::kNotFound, folder + " is not a backup");
  }
  rocksdb::BackupEngineReadOnly* engine = nullptr;
  const auto opened =
      rocksdb::BackupEngineReadOnly::Open(rocksdb::Env::Default(), EngineOptions(folder), &engine);
  SW_CHECK(ToResult(opened, "open backup " + folder));
  return std::unique_ptr<rocksdb::BackupEngineReadOnly>(engine);
}

Result<rocksdb::BackupInfo> InfoOf(const rocksdb::BackupEngineReadOnly& engine) {
  std::vector<rocksdb::BackupInfo> infos;
  engine.GetBackupInfo(&infos);
  if (infos.empty()) return Fail(ErrorCode::kCorrupt, "the backup is empty or damaged");
  return infos.back();
}

// "backup-2026-11-21T11:30:45.123Z" -> its time; kCorrupt: not one of ours.
Result<int64_t> TimeOf(const std::string& name) {
  if (!name.starts_with(kPrefix)) return Fail(ErrorCode::kCorrupt, "no backup");
  return ParseUtc(std::string_view(name).substr(kPrefix.size(), 24));
}

std::string FreeName(const std::string& wanted) {
  std::string name = wanted;
  for (int i = 1; fs::exists(name); ++i) name = wanted + "-" + std::to_string(i);
  return name;
}

Result<void> SyncFolder(const std::string& folder) {
  std::unique_ptr<rocksdb::Directory> directory;
  SW_CHECK(ToResult(rocksdb::Env::Default()->NewDirectory(folder, &directory), "open " + folder));
  return ToResult(directory->Fsync(), "sync " + folder);
}

Result<void> Rename(const std::string& from, const std::string& to) {
  std::error_code failed;
  fs::rename(from, to, failed);
  if (failed) {
    return Fail(ErrorCode::kUnavailable, "rename " + from + " to " + to + ": " + failed.message());
  }
  return {};
}

// Holds the database's own lock, so that nobody opens it while it is replaced.
class OfflineLock {
 public:
  static Result<OfflineLock> Take(const std::string& path) {
    OfflineLock lock;
    if (!fs::exists(path + "/CURRENT")) return lock;
    const auto locked = rocksdb::Env::Default()->LockFile(path + "/LOCK", &lock.file_);
    if (!locked.ok()) {
      return Fail(ErrorCode::kUnavailable, path + " is in use: stop the control plane first");
    }
    return lock;
  }
  OfflineLock(OfflineLock&& other) noexcept : file_(std::exchange(other.file_, nullptr)) {}
  OfflineLock& operator=(OfflineLock&&) = delete;
  ~OfflineLock() {
    if (file_ != nullptr) rocksdb::Env::Default()->UnlockFile(file_);
  }

 private:
  OfflineLock() = default;
  rocksdb::FileLock* file_ = nullptr;
};

Result<void> Unpack(const std::string& backup_path, const std::string& target) {
  SW_TRY(const auto engine, OpenBackup(backup_path));
  SW_TRY(const auto info, InfoOf(*engine));
  SW_CHECK(ToResult(engine->VerifyBackup(info.backup_id, true), "check backup " + backup_path));
  const auto restored = engine->RestoreDBFromBackup(info.backup_id, target, target);
  SW_CHECK(ToResult(restored, "restore " + backup_path));
  // Opens it once: a backup of a newer schema is refused before anything is replaced.
  return Store::Open({.path = target}).transform([](const auto&) {});
}

}  // namespace

Result<Store::Backup> Store::CreateBackup(const std::string& backups_path, int64_t now_ms) {
  std::error_code failed;
  fs::create_directories(backups_path, failed);
  if (failed) {
    return Fail(ErrorCode::kUnavailable, backups_path + " cannot be made: " + failed.message());
  }
  const std::string path = FreeName(backups_path + "/" + std::string(kPrefix) + FormatUtc(now_ms));
  const std::string unfinished = FreeName(path + ".part");
  {
    rocksdb::BackupEngine* engine = nullptr;
    const auto opened =
        rocksdb::BackupEngine::Open(rocksdb::Env::Default(), EngineOptions(unfinished), &engine);
    SW_CHECK(ToResult(opened, "open " + unfinished));
    const std::unique_ptr<rocksdb::BackupEngine> owner(engine);
    if (const auto made = engine->CreateNewBackup(rep_->db.get()); !made.ok()) {
      fs::remove_all(unfinished, failed);
      return ToResult(made, "backup").transform([] { return Backup{}; });
    }
  }
  SW_TRY(const auto engine, OpenBackup(unfinished));
  SW_TRY(const auto info, InfoOf(*engine));
  SW_CHECK(Rename(unfinished, path));
  SW_CHECK(SyncFolder(backups_path));
  return Backup{.path = path, .bytes = static_cast<int64_t>(info.size), .created_at_ms = now_ms};
}

Result<std::vector<Store::Backup>> Store::ListBackups(const std::string& backups_path) {
  std::vector<Backup> backups;
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(backups_path, failed)) {
    const std::string name = entry.path().filename().string();
    const auto created_at_ms = TimeOf(name);
    if (!created_at_ms || name.find(".part") != std::string::npos) continue;
    const auto engine = OpenBackup(entry.path().string());
    if (!engine) continue;
    const auto info = InfoOf(**engine);
    if (!info) continue;
    backups.push_back({entry.path().string(), static_cast<int64_t>(info->size), *created_at_ms});
  }
  std::ranges::sort(backups, {}, [](const Backup& backup) {
    return std::pair(backup.created_at_ms, backup.path);
  });
  return backups;
}

Result<void> Store::Restore(const std::string& backup_path, const std::string& path) {
  SW_TRY(const OfflineLock lock, OfflineLock::Take(path));
  const std::string unpacked = FreeName(path + ".restoring");
  std::error_code failed;
  fs::create_directories(fs::path(unpacked).parent_path(), failed);
  if (const auto done = Unpack(backup_path, unpacked); !done) {
    fs::remove_all(unpacked, failed);
    return done;
  }
  if (fs::exists(path)) SW_CHECK(Rename(path, FreeName(path + ".before-restore-1")));
  SW_CHECK(Rename(unpacked, path));
  return SyncFolder(fs::path(path).parent_path().string());
}

}  // namespace spillway
