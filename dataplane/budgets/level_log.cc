#include "dataplane/budgets/level_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <system_error>

#include "common/crypto/crc32c.h"

namespace spillway {
namespace {

constexpr std::string_view kFile = "/levels";
constexpr size_t kHeaderBytes = 8;
constexpr uint32_t kFrameBytesMax = 64 * 1024 * 1024;
constexpr int64_t kAppendAccountsMax = 10'000;  // in one frame

std::unexpected<Error> FailFile(std::string_view what, const std::string& path) {
  return Fail(ErrorCode::kUnavailable,
              std::string(what) + " " + path + ": " + std::generic_category().message(errno));
}

void AppendFrame(const v1::LeaseLevels& levels, std::string& out) {
  const std::string bytes = levels.SerializeAsString();
  const auto length = static_cast<uint32_t>(bytes.size());
  const uint32_t crc = Crc32c(bytes);
  char header[kHeaderBytes];
  std::memcpy(header, &length, sizeof(length));
  std::memcpy(header + sizeof(length), &crc, sizeof(crc));
  out.append(header, kHeaderBytes).append(bytes);
}

// Frames that a reader takes, of all the accounts; at least one.
std::string FramesOf(const std::string& boot_id, std::string_view holder,
                     const std::vector<v1::HolderAccount>& levels) {
  std::string frames;
  size_t at = 0;
  do {
    v1::LeaseLevels frame;
    frame.set_boot_id(boot_id);
    frame.set_holder(std::string(holder));
    for (int64_t i = 0; i < kAppendAccountsMax && at < levels.size(); ++i, ++at)
      *frame.add_accounts() = levels[at];
    AppendFrame(frame, frames);
  } while (at < levels.size());
  return frames;
}

bool WriteAt(int fd, std::string_view bytes, int64_t offset) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(written));
    offset += written;
  }
  return true;
}

bool SyncFolderOf(const std::string& path) {
  const std::string folder = path.substr(0, path.rfind('/'));
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = fd >= 0 && fsync(fd) == 0;
  if (fd >= 0) close(fd);
  return synced;
}

}  // namespace

Result<std::unique_ptr<LevelLog>> LevelLog::Create(const std::string& folder, std::string boot_id) {
  std::unique_ptr<LevelLog> log(new LevelLog(folder + std::string(kFile), std::move(boot_id)));
  SW_CHECK(log->Open());
  SW_CHECK(log->Append({}, {}));
  return log;
}

LevelLog::~LevelLog() {
  if (fd_ >= 0) close(fd_);
}

Result<void> LevelLog::Open() {
  fd_ = open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd_ < 0) return FailFile("cannot open", path_);
  // Without space ahead it works, too, as long as the disk lets it.
  static_cast<void>(posix_fallocate(fd_, 0, kBytesAhead));
  if (fsync(fd_) != 0) return FailFile("cannot sync", path_);
  return {};
}

Result<void> LevelLog::SyncFolder() {
  if (!folder_synced_ && !SyncFolderOf(path_)) return FailFile("cannot sync the folder of", path_);
  folder_synced_ = true;
  return {};
}

Result<void> LevelLog::Write(const std::string& frames) {
  if (!WriteAt(fd_, frames, used_)) return FailFile("cannot write", path_);
  if (fdatasync(fd_) != 0) return FailFile("cannot sync", path_);
  used_ += static_cast<int64_t>(frames.size());
  return {};
}

Result<void> LevelLog::Append(std::string_view holder,
                              const std::vector<v1::HolderAccount>& levels) {
  SW_CHECK(SyncFolder());
  SW_CHECK(Write(FramesOf(boot_id_, holder, levels)));
  for (const v1::HolderAccount& level : levels)
    last_[{std::string(holder), level.account().SerializeAsString()}] = level;
  return {};
}

Result<void> LevelLog::Compact(const Keep& keep) {
  std::map<std::string, std::vector<v1::HolderAccount>> by_holder;
  std::erase_if(last_, [&](const auto& entry) {
    if (!keep(entry.first.first, entry.second.account())) return true;
    by_holder[entry.first.first].push_back(entry.second);
    return false;
  });
  by_holder[{}];
  std::string frames;
  for (const auto& [holder, levels] : by_holder) frames += FramesOf(boot_id_, holder, levels);
  LevelLog fresh(path_ + ".new", boot_id_);
  SW_CHECK(fresh.Open());
  SW_CHECK(fresh.Write(frames));
  if (rename(fresh.path_.c_str(), path_.c_str()) != 0) return FailFile("cannot rename to", path_);
  std::swap(fd_, fresh.fd_);
  used_ = fresh.used_;
  compacted_ = used_;
  folder_synced_ = false;
  return SyncFolder();
}

Result<RecordedLevels> ReadLevels(const std::string& folder) {
  const std::string path = folder + std::string(kFile);
  RecordedLevels out;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    if (access(path.c_str(), F_OK) != 0) return out;
    return FailFile("cannot read", path);
  }
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::string_view rest = bytes;
  while (rest.size() > kHeaderBytes) {
    uint32_t length = 0;
    uint32_t crc = 0;
    std::memcpy(&length, rest.data(), sizeof(length));
    std::memcpy(&crc, rest.data() + sizeof(length), sizeof(crc));
    if (length == 0 || length > kFrameBytesMax || length > rest.size() - kHeaderBytes) break;
    const std::string_view body = rest.substr(kHeaderBytes, length);
    v1::LeaseLevels levels;
    if (Crc32c(body) != crc || !levels.ParseFromArray(body.data(), static_cast<int>(body.size())))
      break;
    out.found = true;
    out.boot_id = levels.boot_id();
    out.holders.insert(levels.holder());
    for (const v1::HolderAccount& level : levels.accounts()) {
      out.held[{levels.holder(), level.account().SerializeAsString()}] =
          std::max<Nanos>(0, level.granted_seen() - level.returned());
    }
    rest.remove_prefix(kHeaderBytes + length);
  }
  return out;
}

std::string ReadBootId() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

}  // namespace spillway
