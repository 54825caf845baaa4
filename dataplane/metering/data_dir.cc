#include "dataplane/metering/data_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/durable_file.h"
#include "common/ids.h"

namespace spillway {
namespace {

bool IsInstanceId(std::string_view id) {
  return !id.empty() && id.size() <= 64 && std::ranges::all_of(id, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
           c == '-';
  });
}

Result<int> LockFolder(const std::string& path) {
  const std::string file = path + "/lock";
  const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return durable::FailErrno("cannot open", file);
  while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    const bool held = errno == EWOULDBLOCK;
    auto failure = durable::FailErrno("cannot lock", file);
    close(fd);
    if (!held) return failure;
    return Fail(ErrorCode::kConflict,
                "data-dir " + path +
                    " is in use by another process; give each data plane its own --data-dir");
  }
  return fd;
}

// What a file of one line says; empty when it does not exist.
Result<std::string> ReadLine(const std::string& path) {
  auto text = durable::ReadFile(path, 4096);
  if (!text) {
    if (text.error().code == ErrorCode::kNotFound) return std::string();
    return text;
  }
  while (!text->empty() && (text->back() == '\n' || text->back() == ' ')) text->pop_back();
  return text;
}

Result<std::string> ChooseInstance(const std::string& path, const std::string& wanted) {
  const std::string file = path + "/instance";
  SW_TRY(std::string kept, ReadLine(file));
  if (!kept.empty() && !IsInstanceId(kept))
    return Fail(ErrorCode::kCorrupt, file + " holds no instance id");
  if (!wanted.empty() && !IsInstanceId(wanted))
    return Fail(ErrorCode::kInvalidConfig,
                "--instance-id '" + wanted + "': allowed are 1 to 64 letters, digits, '_' and '-'",
                "instance-id");
  if (!kept.empty() && !wanted.empty() && kept != wanted)
    return Fail(ErrorCode::kConflict, "data-dir " + path + " belongs to instance '" + kept +
                                          "', not '" + wanted +
                                          "'; its journal can only be sent under its own name");
  if (!kept.empty()) return kept;
  std::string made = wanted.empty() ? FreshId() : wanted;
  SW_CHECK(durable::WriteFile(file, made + "\n"));
  return made;
}

}  // namespace

Result<DataDir> DataDir::Open(const std::string& path, const std::string& wanted_instance) {
  SW_CHECK(durable::MakeFolder(path + "/journal"));
  DataDir dir;
  dir.path_ = path;
  SW_TRY(dir.lock_fd_, LockFolder(path));
  SW_TRY(dir.instance_, ChooseInstance(path, wanted_instance));
  SW_TRY(dir.predecessor_, ReadLine(dir.journal_path() + "/latest"));
  dir.incarnation_ = FreshId();
  // On disk before it is used: an identity is never forgotten and then used again.
  SW_CHECK(durable::MakeFolder(dir.journal_path() + "/" + dir.incarnation_));
  SW_CHECK(durable::WriteFile(dir.journal_path() + "/latest", dir.incarnation_ + "\n"));
  return dir;
}

DataDir::DataDir(DataDir&& other) noexcept
    : lock_fd_(std::exchange(other.lock_fd_, -1)),
      path_(std::move(other.path_)),
      instance_(std::move(other.instance_)),
      incarnation_(std::move(other.incarnation_)),
      predecessor_(std::move(other.predecessor_)) {}

DataDir::~DataDir() {
  if (lock_fd_ >= 0) close(lock_fd_);
}

}  // namespace spillway
