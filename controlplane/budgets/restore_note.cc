#include "controlplane/budgets/restore_note.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "controlplane/store/store.h"

namespace spillway {
namespace {

std::string PathOf(const std::string& data_dir) { return data_dir + "/restored"; }

Result<void> SyncFolder(const std::string& data_dir) {
  const int folder = open(data_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = folder >= 0 && fsync(folder) == 0;
  const int why = errno;
  if (folder >= 0) close(folder);
  if (synced) return {};
  return Fail(ErrorCode::kUnavailable, data_dir + " cannot be synced: " + std::strerror(why));
}

}  // namespace

Result<void> LeaveRestoreNote(const std::string& data_dir) {
  std::error_code ignored;
  std::filesystem::create_directories(data_dir, ignored);
  const std::string path = PathOf(data_dir);
  const int file = open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  const bool made = file >= 0 && fsync(file) == 0;
  const int why = errno;
  if (file >= 0) close(file);
  if (!made)
    return Fail(ErrorCode::kUnavailable, path + " cannot be written: " + std::strerror(why));
  return SyncFolder(data_dir);
}

bool HasRestoreNote(const std::string& data_dir) {
  std::error_code ignored;
  return std::filesystem::exists(PathOf(data_dir), ignored);
}

Result<void> RemoveRestoreNote(const std::string& data_dir) {
  if (unlink(PathOf(data_dir).c_str()) != 0 && errno != ENOENT) {
    return Fail(ErrorCode::kUnavailable,
                PathOf(data_dir) + " cannot be removed: " + std::strerror(errno));
  }
  return SyncFolder(data_dir);
}

Result<void> RefuseHalfRestored(const std::string& data_dir, const std::string& store_path) {
  if (!HasRestoreNote(data_dir) || Store::Exists(store_path)) return {};
  return Fail(ErrorCode::kInvalidConfig,
              store_path + " is not there, and " + PathOf(data_dir) +
                  " says that a restore began: run --restore again, or rename the newest " +
                  store_path + ".before-restore-N to " + store_path);
}

}  // namespace spillway
