#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"

namespace spillway {

// The tables of the control plane's database (RocksDB column families). Key formats stand with the
// code that owns each table.
enum class Table : uint8_t {
  kMeta,           // schema version, cluster id, epoch, counters
  kResources,      // current resources: kind byte + name -> StoredResource
  kHistory,        // revision (big endian) + kind + name -> what was before, for diff and rollback
  kRevisions,      // revision (big endian) -> RevisionRecord
  kAdminTokens,    // name -> AdminTokenRecord
  kInstances,      // instance -> InstanceRecord (roster, retired)
  kLedgerMarks,    // incarnation -> high-water mark and gaps
  kLedgerOpen,     // incarnation + seq -> Started
  kLedgerEvents,   // time + incarnation + seq -> Finished event
  kLedgerRollups,  // hour + dimensions -> totals
  kLedgerLost,     // unused: what is lost stands in the marks; older stores have it
  kLeases,         // account + holder -> what the lease desk granted and heard
  kLeaseCharges,   // account + holder -> what the ledger settled
  kLeaseHolders,   // who holds leases, and what the ledger has to tell (budgets/lease_tables.h)
  kAlerts,         // budget + subject + window + what -> Alert, decided, with its deliveries
};
inline constexpr int kTableCount = 15;

// Everything one transaction changes; atomic over all tables.
class WriteBatch {
 public:
  WriteBatch();
  ~WriteBatch();
  WriteBatch(WriteBatch&&) noexcept;
  WriteBatch& operator=(WriteBatch&&) noexcept;

  void Put(Table table, std::string_view key, std::string_view value);
  void Delete(Table table, std::string_view key);
  bool empty() const;

 private:
  friend class Store;
  struct Rep;
  std::unique_ptr<Rep> rep_;
};

// The control plane's database: RocksDB, every write synced before it returns; writers that come
// together share one sync. Thread-safe. Only store.cc and store_backup.cc know RocksDB.
class Store {
 public:
  struct Options {
    std::string path;            // a folder, made when absent
    int64_t disk_bytes_max = 0;  // 0: no cap
  };
  // Refuses a database of a newer schema with one clear line; takes an exclusive lock.
  static Result<std::unique_ptr<Store>> Open(const Options& options);
  ~Store();

  // Atomic and synced (fsync of the write-ahead log). kUnavailable: the disk is full or failed; the
  // store is then read-only until it recovers, and Writable() is false.
  Result<void> Write(WriteBatch batch);
  Result<std::optional<std::string>> Get(Table table, std::string_view key) const;
  // Keys from `from` (inclusive) that start with `prefix`, in byte order, until the callback
  // returns false. On a consistent view of the moment of the call.
  Result<void> Scan(
      Table table, std::string_view prefix, std::string_view from,
      const std::function<bool(std::string_view key, std::string_view value)>& row) const;
  bool Writable() const;

  // A consistent backup in its own folder under `backups_path`; returns its path and size. The
  // folder's name tells what kind it is.
  enum class BackupKind : uint8_t { kAsked, kAutomatic };
  struct Backup {
    std::string path;
    int64_t bytes = 0;
    int64_t created_at_ms = 0;
    BackupKind kind = BackupKind::kAsked;
  };
  Result<Backup> CreateBackup(const std::string& backups_path, int64_t now_ms,
                              BackupKind kind = BackupKind::kAsked);
  // Oldest first, of both kinds.
  static Result<std::vector<Backup>> ListBackups(const std::string& backups_path);
  // Deletes what a process that died left of backups it was making. Only while nobody makes one.
  static void DropUnfinishedBackups(const std::string& backups_path);

  static bool Exists(const std::string& path);
  // Offline: replaces the database at `path` (moved aside to `path`.before-restore-N, not deleted)
  // by a backup whose checksums are right. `before_replacing` runs when the backup is unpacked and
  // nothing is replaced yet; its failure ends the restore there. kUnavailable: the database is in
  // use.
  static Result<void> Restore(const std::string& backup_path, const std::string& path,
                              const std::function<Result<void>()>& before_replacing = {});

 private:
  struct Rep;
  explicit Store(std::unique_ptr<Rep> rep);
  Result<void> CheckSchema(const std::string& path);
  std::unique_ptr<Rep> rep_;
};

}  // namespace spillway
