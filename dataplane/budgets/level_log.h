#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/error.h"
#include "dataplane/budgets/lease_account.h"
#include "spillway/v1/lease.pb.h"

namespace spillway {

// The levels that this process was granted and gave back, on disk before they are spent from: after
// a power cut, which may take the journal's last records, accounts close at them. A file of frames,
// appended and synced; written anew, with what still matters, when it has grown:
//   u32 length, u32 CRC-32C, a serialised LeaseLevels; zeros behind the last
// Space is taken ahead, so that a disk that fills up does not stop leasing at once. One owner, one
// thread.
class LevelLog {
 public:
  // Makes FOLDER/levels. `boot_id`: of the running machine (ReadBootId).
  static Result<std::unique_ptr<LevelLog>> Create(const std::string& folder, std::string boot_id);
  ~LevelLog();
  LevelLog(const LevelLog&) = delete;
  LevelLog& operator=(const LevelLog&) = delete;

  // Synced when it returns. Also without accounts: then the holder itself is on disk.
  Result<void> Append(std::string_view holder, const std::vector<v1::HolderAccount>& levels);
  // Whether it is time to call Compact.
  bool Grown() const { return used_ > kBytesAhead / 4 * 3 && used_ > 2 * compacted_; }
  // Writes the file anew without the accounts that `keep` does not want. When it fails, nothing is
  // lost, and Append works or says that it does not.
  using Keep = std::function<bool(std::string_view holder, const v1::Account& account)>;
  Result<void> Compact(const Keep& keep);

 private:
  static constexpr int64_t kBytesAhead = int64_t{4} * 1024 * 1024;
  LevelLog(std::string path, std::string boot_id)
      : path_(std::move(path)), boot_id_(std::move(boot_id)) {}
  Result<void> Open();
  Result<void> Write(const std::string& frames);
  Result<void> SyncFolder();

  std::string path_;
  std::string boot_id_;
  int fd_ = -1;
  int64_t used_ = 0;
  int64_t compacted_ = 0;       // bytes after the last Compact
  bool folder_synced_ = false;  // until then a power cut may leave the file without its name
  // (holder, serialised account) -> the last word
  std::map<std::pair<std::string, std::string>, v1::HolderAccount> last_;
};

// What a dead process's level log says.
struct RecordedLevels {
  bool found = false;
  std::string boot_id;
  std::set<std::string> holders;
  // (holder, serialised account) -> granted - returned, never negative
  std::map<std::pair<std::string, std::string>, Nanos> held;
};
// Reads up to the first frame that is not whole: what follows was never acknowledged.
Result<RecordedLevels> ReadLevels(const std::string& folder);

// /proc/sys/kernel/random/boot_id; empty when it cannot be read.
std::string ReadBootId();

}  // namespace spillway
