#include "dataplane/metering/durable_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace spillway {
namespace {

// Closes on every way out.
class FileHandle {
 public:
  FileHandle(const std::string& path, int flags)
      : fd_(open(path.c_str(), flags | O_CLOEXEC, 0600)) {}
  ~FileHandle() {
    if (fd_ >= 0) close(fd_);
  }
  FileHandle(const FileHandle&) = delete;
  FileHandle& operator=(const FileHandle&) = delete;
  int fd() const { return fd_; }
  bool ok() const { return fd_ >= 0; }

 private:
  int fd_;
};

bool WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

}  // namespace

std::unexpected<Error> FailErrno(std::string_view what, const std::string& path) {
  const std::string reason = std::generic_category().message(errno);
  return Fail(ErrorCode::kUnavailable, std::string(what) + " " + path + ": " + reason);
}

Result<void> SyncFolder(const std::string& path) {
  const FileHandle folder(path, O_RDONLY | O_DIRECTORY);
  if (!folder.ok() || fsync(folder.fd()) != 0) return FailErrno("cannot sync", path);
  return {};
}

Result<void> MakeFolder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return Fail(ErrorCode::kUnavailable, "cannot make " + path + ": " + error.message());
  return {};
}

Result<void> WriteDurably(const std::string& path, std::string_view bytes) {
  const std::string temporary = path + ".new";
  {
    const FileHandle file(temporary, O_WRONLY | O_CREAT | O_TRUNC);
    if (!file.ok() || !WriteAll(file.fd(), bytes) || fsync(file.fd()) != 0)
      return FailErrno("cannot write", temporary);
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) return FailErrno("cannot rename to", path);
  return SyncFolder(std::filesystem::path(path).parent_path().string());
}

Result<std::string> ReadWhole(const std::string& path, size_t bytes_max) {
  const FileHandle file(path, O_RDONLY);
  if (!file.ok()) {
    if (errno == ENOENT) return Fail(ErrorCode::kNotFound, path + " does not exist");
    return FailErrno("cannot open", path);
  }
  struct stat info{};
  if (fstat(file.fd(), &info) != 0) return FailErrno("cannot read", path);
  if (static_cast<size_t>(info.st_size) > bytes_max)
    return Fail(ErrorCode::kCorrupt, path + " is too large");
  std::string bytes(static_cast<size_t>(info.st_size), '\0');
  size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t got = read(file.fd(), bytes.data() + have, bytes.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailErrno("cannot read", path);
    if (got == 0) break;
    have += static_cast<size_t>(got);
  }
  bytes.resize(have);
  return bytes;
}

std::vector<std::string> ListFolder(const std::string& path) {
  std::vector<std::string> names;
  std::error_code error;
  for (auto at = std::filesystem::directory_iterator(path, error);
       !error && at != std::filesystem::directory_iterator(); at.increment(error))
    names.push_back(at->path().filename().string());
  std::ranges::sort(names);
  return names;
}

}  // namespace spillway
