#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "common/error.h"
#include "controlplane/store/store.h"
#include "spillway/v1/admin.pb.h"

namespace spillway {

// The roster: every data plane ever heard of (table kInstances: instance -> serialised
// v1::Instance). Of the record these fields are kept: instance, incarnation (the last one),
// version, last_seen_ms (when it was last written, not when it was last heard), retired, and
// `connected` = it has not said goodbye. Thread-safe; all in memory, written when something lasting
// changes.
class Instances {
 public:
  static Result<std::unique_ptr<Instances>> Open(Store& store);

  std::optional<v1::Instance> Find(const std::string& instance) const;
  std::vector<v1::Instance> List() const;
  // Data planes to count on: neither retired nor gone with a goodbye.
  int64_t Expected() const;

  // What a heartbeat says. Writes (synced) only when the instance is new, has another incarnation
  // or version, says goodbye or comes back from one. A new incarnation of a retired instance is a
  // new life: the mark goes. On a full roster (10,000) a new one takes the place of the one that
  // has been retired or gone with a goodbye for the longest. kInvalidRequest: no name, or none is
  // gone.
  Result<void> Note(const v1::Instance& seen);
  // Marks it retired, in one synced batch with what the caller adds (the ledger's settlements).
  // kNotFound: never heard of.
  Result<void> Retire(const std::string& instance, int64_t now_ms, WriteBatch batch = {});

 private:
  explicit Instances(Store& store) : store_(store) {}
  Result<void> Save(const v1::Instance& record, WriteBatch batch);
  Result<void> SaveNew(const v1::Instance& record);
  Store& store_;
  mutable std::mutex mutex_;
  std::map<std::string, v1::Instance> records_;
};

}  // namespace spillway
