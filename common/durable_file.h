#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"

namespace spillway::durable {

// Files that are there whole or not at all, also across kill -9 and power loss. Any thread.

// Writes `path` + ".tmp", syncs it, renames it over `path`, syncs the folder. Mode 0600.
// kUnavailable with the system's reason.
Result<void> WriteFile(const std::string& path, std::string_view content);
// The whole file; kNotFound when it is absent, kInvalidConfig when it is larger than `bytes_max` or
// no file.
Result<std::string> ReadFile(const std::string& path, int64_t bytes_max = int64_t{256} << 20);
// Makes the folder and its parents, mode 0700.
Result<void> MakeFolder(const std::string& path);
Result<void> SyncFolder(const std::string& path);
// Names of the entries, sorted; empty when the folder is absent.
std::vector<std::string> ListFolder(const std::string& path);

// "cannot open PATH: No space left on device", for the current errno: kNotFound for ENOENT,
// otherwise kUnavailable.
std::unexpected<Error> FailErrno(std::string_view what, const std::string& path);

// A file descriptor that closes itself.
class FileHandle {
 public:
  FileHandle() = default;
  explicit FileHandle(int fd) : fd_(fd) {}
  FileHandle(FileHandle&& other) noexcept;
  FileHandle& operator=(FileHandle&& other) noexcept;
  ~FileHandle();

  static Result<FileHandle> Open(const std::string& path, int flags);
  bool is_open() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  // All of it, or an error.
  Result<void> Write(std::string_view bytes, const std::string& path_for_errors);
  void Close();

 private:
  int fd_ = -1;
};

}  // namespace spillway::durable
