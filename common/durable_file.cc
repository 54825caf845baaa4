#include "common/durable_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <format>
#include <system_error>
#include <utility>

namespace spillway::durable {

std::unexpected<Error> FailErrno(std::string_view what, const std::string& path) {
  const ErrorCode code = errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kUnavailable;
  return Fail(code, std::format("{} {}: {}", what, path, std::generic_category().message(errno)));
}

FileHandle::FileHandle(FileHandle&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FileHandle& FileHandle::operator=(FileHandle&& other) noexcept {
  if (this != &other) {
    Close();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

FileHandle::~FileHandle() { Close(); }

void FileHandle::Close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Result<FileHandle> FileHandle::Open(const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0600);
  if (fd < 0) return FailErrno("cannot open", path);
  return FileHandle(fd);
}

Result<void> FileHandle::Write(std::string_view bytes, const std::string& path_for_errors) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(fd_, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return FailErrno("cannot write", path_for_errors);
    bytes.remove_prefix(static_cast<size_t>(wrote));
  }
  return {};
}

Result<void> SyncFolder(const std::string& path) {
  SW_TRY(const FileHandle folder, FileHandle::Open(path, O_RDONLY | O_DIRECTORY));
  if (::fsync(folder.fd()) != 0) return FailErrno("cannot sync", path);
  return {};
}

Result<void> WriteFile(const std::string& path, std::string_view content) {
  const std::string temporary = path + ".tmp";
  SW_TRY(FileHandle file, FileHandle::Open(temporary, O_WRONLY | O_CREAT | O_TRUNC));
  SW_CHECK(file.Write(content, temporary));
  if (::fsync(file.fd()) != 0) return FailErrno("cannot sync", temporary);
  file.Close();
  if (std::rename(temporary.c_str(), path.c_str()) != 0) return FailErrno("cannot rename to", path);
  return SyncFolder(std::filesystem::path(path).parent_path().string());
}

Result<std::string> ReadFile(const std::string& path, int64_t bytes_max) {
  SW_TRY(const FileHandle file, FileHandle::Open(path, O_RDONLY));
  struct stat info = {};
  if (::fstat(file.fd(), &info) != 0) return FailErrno("cannot read", path);
  if (!S_ISREG(info.st_mode)) return Fail(ErrorCode::kInvalidConfig, path + ": is not a file");
  if (info.st_size > bytes_max) {
    return Fail(ErrorCode::kInvalidConfig, std::format("{}: has {} bytes, at most {} are read",
                                                       path, info.st_size, bytes_max));
  }
  std::string content(static_cast<size_t>(info.st_size), '\0');
  size_t filled = 0;
  while (filled < content.size()) {
    const ssize_t got = ::read(file.fd(), content.data() + filled, content.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailErrno("cannot read", path);
    if (got == 0) break;  // it shrank meanwhile: what is left is checked by its checksum
    filled += static_cast<size_t>(got);
  }
  content.resize(filled);
  return content;
}

Result<void> MakeFolder(const std::string& path) {
  std::error_code failed;
  std::filesystem::create_directories(path, failed);
  if (failed) return Fail(ErrorCode::kUnavailable, "cannot make " + path + ": " + failed.message());
  std::filesystem::permissions(path, std::filesystem::perms::owner_all, failed);
  return {};  // permissions: a folder of another owner that we may write is good enough
}

std::vector<std::string> ListFolder(const std::string& path) {
  std::vector<std::string> names;
  std::error_code failed;
  for (auto at = std::filesystem::directory_iterator(path, failed);
       !failed && at != std::filesystem::directory_iterator(); at.increment(failed))
    names.push_back(at->path().filename().string());
  std::ranges::sort(names);
  return names;
}

}  // namespace spillway::durable
