#pragma once

#include <rocksdb/db.h>
#include <rocksdb/listener.h>

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "controlplane/store/store.h"

namespace spillway {

// The insides of Store, shared by store.cc and store_backup.cc.

// Grows with each change of a table's format that an older program could not read.
inline constexpr int kSchemaVersion = 1;

// Told by RocksDB when it had to stop writing, and when it can again.
class WatchErrors final : public rocksdb::EventListener {
 public:
  void OnBackgroundError(rocksdb::BackgroundErrorReason, rocksdb::Status* error) override;
  void OnErrorRecoveryEnd(const rocksdb::BackgroundErrorRecoveryInfo& info) override;
  bool failed() const { return failed_.load(std::memory_order_acquire); }
  void Clear() { failed_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> failed_{false};
};

struct WriteBatch::Rep {
  struct Change {
    Table table;
    bool erase;
    size_t key_size;
    size_t value_size;
  };
  std::vector<Change> changes;
  std::string bytes;  // keys and values, one behind the other

  void Add(Change change, std::string_view key, std::string_view value) {
    changes.push_back(change);
    bytes.append(key).append(value);
  }
};

struct Store::Rep {
  std::shared_ptr<WatchErrors> errors;  // shared with RocksDB, which calls it
  std::unique_ptr<rocksdb::DB> db;
  std::vector<rocksdb::ColumnFamilyHandle*> tables;  // [0] is RocksDB's own, unused

  rocksdb::ColumnFamilyHandle* Handle(Table table) const {
    return tables[static_cast<size_t>(table) + 1];
  }
};

Result<void> ToResult(const rocksdb::Status& status, std::string_view what);

}  // namespace spillway
