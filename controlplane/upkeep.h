#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "common/clock.h"
#include "controlplane/ledger/ledger.h"

namespace spillway {

// What has to be done now and then: old usage events pruned, backups made and the oldest of its own
// removed. A failure is logged and tried again at the next turn.
class Upkeep {
 public:
  struct Options {
    std::string backup_dir;
    int64_t backup_every_ms = 0;  // 0: none
    int64_t backups_kept = 7;
    int64_t turn_ms = 60'000;
  };
  Upkeep(Ledger& ledger, const Clock& clock, Options options);
  ~Upkeep();
  // From now on a thread takes the turns, one every turn_ms.
  void Start();
  // One turn: all that is due.
  void Turn();

 private:
  void Run();
  void Prune();
  void BackUpWhenDue();
  bool BackupIsDue(int64_t now_ms) const;
  void DropOldBackups(const std::string& just_made);

  Ledger& ledger_;
  const Clock& clock_;
  const Options options_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace spillway
