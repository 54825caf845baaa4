#include <rocksdb/env.h>
#include <rocksdb/utilities/backup_engine.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <tuple>
#include <utility>

#include "common/utc.h"
#include "controlplane/store/store.h"
#include "controlplane/store/store_rep.h"

namespace spillway {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "backup-";
constexpr size_t kTimeChars = 24;
constexpr std::string_view kAutomatic = "-auto";      // behind the time
constexpr std::string_view kUnfinished = ".part";     // a backup that is being made
constexpr std::string_view kUnpacked = ".restoring";  // a backup that is being restored

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

// "backup-2026-11-21T11:30:45.123Z" and what may follow -> its time; kCorrupt: not one of ours.
Result<int64_t> TimeOf(const std::string& name) {
  if (!name.starts_with(kPrefix)) return Fail(ErrorCode::kCorrupt, "no backup");
  return ParseUtc(std::string_view(name).substr(kPrefix.size(), kTimeChars));
}

Store::BackupKind KindOf(std::string_view name) {
  const bool automatic = name.substr(kPrefix.size() + kTimeChars).starts_with(kAutomatic);
  return automatic ? Store::BackupKind::kAutomatic : Store::BackupKind::kAsked;
}

// Everything in the folder whose name begins so and, behind that, contains `part`.
void DropMatching(const fs::path& folder, std::string_view begin, std::string_view part) {
  std::error_code failed;
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder, failed)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(begin) && name.find(part, begin.size()) != std::string::npos)
      found.push_back(entry.path());
  }
  for (const fs::path& path : found) fs::remove_all(path, failed);
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

// There is no moment without a database that a failure would leave; a death may.
Result<void> Replace(const std::string& unpacked, const std::string& path) {
  const std::string aside = FreeName(path + ".before-restore-1");
  const bool had_one = fs::exists(path);
  if (had_one) SW_CHECK(Rename(path, aside));
  if (auto replaced = Rename(unpacked, path); !replaced) {
    if (had_one) std::ignore = Rename(aside, path);
    return replaced;
  }
  return SyncFolder(fs::path(path).parent_path().string());
}

}  // namespace

Result<Store::Backup> Store::CreateBackup(const std::string& backups_path, int64_t now_ms,
                                          BackupKind kind) {
  std::error_code failed;
  fs::create_directories(backups_path, failed);
  if (failed) {
    return Fail(ErrorCode::kUnavailable, backups_path + " cannot be made: " + failed.message());
  }
  std::string name = std::string(kPrefix) + FormatUtc(now_ms);
  if (kind == BackupKind::kAutomatic) name += kAutomatic;
  const std::string path = FreeName(backups_path + "/" + name);
  const std::string unfinished = FreeName(path + std::string(kUnfinished));
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
  return Backup{.path = path,
                .bytes = static_cast<int64_t>(info.size),
                .created_at_ms = now_ms,
                .kind = kind};
}

Result<std::vector<Store::Backup>> Store::ListBackups(const std::string& backups_path) {
  std::vector<Backup> backups;
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(backups_path, failed)) {
    const std::string name = entry.path().filename().string();
    const auto created_at_ms = TimeOf(name);
    if (!created_at_ms || name.find(kUnfinished) != std::string::npos) continue;
    const auto engine = OpenBackup(entry.path().string());
    if (!engine) continue;
    const auto info = InfoOf(**engine);
    if (!info) continue;
    backups.push_back({.path = entry.path().string(),
                       .bytes = static_cast<int64_t>(info->size),
                       .created_at_ms = *created_at_ms,
                       .kind = KindOf(name)});
  }
  std::ranges::sort(backups, {}, [](const Backup& backup) {
    return std::pair(backup.created_at_ms, backup.path);
  });
  return backups;
}

void Store::DropUnfinishedBackups(const std::string& backups_path) {
  DropMatching(backups_path, kPrefix, kUnfinished);
}

bool Store::Exists(const std::string& path) {
  std::error_code failed;
  return fs::exists(path + "/CURRENT", failed);
}

Result<void> Store::Restore(const std::string& backup_path, const std::string& path,
                            const std::function<Result<void>()>& before_replacing) {
  SW_TRY(const OfflineLock lock, OfflineLock::Take(path));
  const std::string unpacked = path + std::string(kUnpacked);
  std::error_code failed;
  fs::create_directories(fs::path(unpacked).parent_path(), failed);
  // Of a restore that died: the backup it came from is still there.
  DropMatching(fs::path(path).parent_path(), fs::path(unpacked).filename().string(), {});
  auto ready = Unpack(backup_path, unpacked);
  if (ready && before_replacing) ready = before_replacing();
  if (!ready) {
    fs::remove_all(unpacked, failed);
    return ready;
  }
  return Replace(unpacked, path);
}

}  // namespace spillway
