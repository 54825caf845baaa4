#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#include "common/clock.h"
#include "common/error.h"
#include "controlplane/api/change_set.h"
#include "controlplane/api/refusal.h"
#include "controlplane/store/config_store.h"
#include "spillway/v1/admin.pb.h"

namespace spillway::api {

// The one door through which the API changes the configuration: asks the write gate, runs the
// decision on the current state, checks the result, commits one revision. Thread-safe.
class ConfigWriter {
 public:
  // `epoch` stamps the revision; `gate` says whether this process may write (kNotNow otherwise).
  ConfigWriter(ConfigStore& store, const Clock& clock, std::function<int64_t()> epoch,
               std::function<Result<void>()> gate)
      : store_(store), clock_(clock), epoch_(std::move(epoch)), gate_(std::move(gate)) {}

  struct Audit {
    std::string author;
    std::string summary;  // empty: counted from the changes
  };
  using Decide = std::function<Outcome<ChangeSet>(const ConfigStore::State&)>;
  // Runs before the decision while no other commit can happen; may read the store's history, which
  // `decide` may not.
  using Prepare = std::function<Outcome<void>()>;
  // An empty change set makes no revision: the answer names the current one.
  Outcome<v1::ApplyResponse> Commit(const Audit& audit, const Decide& decide,
                                    const Prepare& prepare = {});

 private:
  Outcome<void> MayWrite() const;

  ConfigStore& store_;
  const Clock& clock_;
  std::function<int64_t()> epoch_;
  std::function<Result<void>()> gate_;
  std::mutex commit_mutex_;  // one commit at a time, its preparation included
};

}  // namespace spillway::api
