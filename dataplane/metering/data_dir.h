#pragma once

#include <string>

#include "common/error.h"

namespace spillway {

// A data plane's folder, held by one process at a time:
//   lock                 flock'd while the process lives (the kernel frees it on any death)
//   instance             the instance id
//   journal/latest       the newest incarnation
//   journal/INCARNATION/ segments of one incarnation
// Move-only; the lock lives as long as the object. Immutable, so thread-safe.
class DataDir {
 public:
  // Makes the folder when absent. `wanted_instance` empty: the kept id, else a random one. An id is
  // a subject token: [A-Za-z0-9_-]{1,64}. kConflict: another process holds the folder, or it
  // belongs to another instance; kInvalidConfig: a bad id; kUnavailable: the disk refused.
  static Result<DataDir> Open(const std::string& path, const std::string& wanted_instance);
  DataDir(DataDir&& other) noexcept;
  DataDir& operator=(DataDir&&) = delete;
  ~DataDir();

  const std::string& path() const { return path_; }
  const std::string& instance() const { return instance_; }
  // Made new by every Open.
  const std::string& incarnation() const { return incarnation_; }
  // The incarnation before this one; empty: none.
  const std::string& predecessor() const { return predecessor_; }
  std::string journal_path() const { return path_ + "/journal"; }

 private:
  DataDir() = default;
  int lock_fd_ = -1;
  std::string path_;
  std::string instance_;
  std::string incarnation_;
  std::string predecessor_;
};

}  // namespace spillway
