#include "common/crypto/key_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <format>

#include "common/ids.h"

namespace spillway {
namespace {

constexpr size_t kKeyFileBytesMax = size_t{64} * 1024;

class OpenFile {
 public:
  explicit OpenFile(int descriptor) : descriptor_(descriptor) {}
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  int get() const { return descriptor_; }
  bool ok() const { return descriptor_ >= 0; }

 private:
  int descriptor_;
};

std::unexpected<Error> SystemFault(std::string_view what, const std::string& path) {
  return Fail(ErrorCode::kUnavailable,
              std::format("cannot {} {}: {}", what, path, std::strerror(errno)));
}

bool WriteAll(int descriptor, std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = ::write(descriptor, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    content.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

// The name in the folder must survive a power cut as well as the content.
bool SyncFolder(const std::string& path) {
  std::string folder = std::filesystem::path(path).parent_path().string();
  if (folder.empty()) folder = ".";
  const OpenFile file(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return file.ok() && ::fsync(file.get()) == 0;
}

Result<void> WriteSynced(const std::string& path, std::string_view content, mode_t mode) {
  const OpenFile file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!file.ok()) return SystemFault("create", path);
  // fchmod: the process's umask must not decide who can read the public half.
  if (::fchmod(file.get(), mode) != 0 || !WriteAll(file.get(), content) || ::fsync(file.get()) != 0)
    return SystemFault("write", path);
  return {};
}

}  // namespace

Result<Secret> ReadKeyFile(const std::string& path) {
  const OpenFile file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.ok()) return SystemFault("open", path);
  std::string content(kKeyFileBytesMax + 1, '\0');
  size_t size = 0;
  while (size < content.size()) {
    const ssize_t got = ::read(file.get(), content.data() + size, content.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return SystemFault("read", path);
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  Secret secret(std::string(content.data(), size));
  explicit_bzero(content.data(), content.size());
  if (size > kKeyFileBytesMax) return Fail(ErrorCode::kCorrupt, path + " is too large for a key");
  return secret;
}

bool KeyFileExists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

Result<bool> CreateKeyFile(const std::string& path, std::string_view content, mode_t mode) {
  const std::string draft = path + "." + FreshId();
  if (auto written = WriteSynced(draft, content, mode); !written) {
    ::unlink(draft.c_str());
    return std::unexpected(std::move(written).error());
  }
  // link() refuses an existing name, which rename() would replace: two processes that start at the
  // same time end up with one key.
  const int linked = ::link(draft.c_str(), path.c_str());
  const int reason = errno;
  ::unlink(draft.c_str());
  errno = reason;
  if (linked != 0 && reason == EEXIST) return false;
  if (linked != 0 || !SyncFolder(path)) return SystemFault("create", path);
  return true;
}

}  // namespace spillway
