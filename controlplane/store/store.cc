#include "controlplane/store/store.h"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/listener.h>
#include <rocksdb/sst_file_manager.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <array>
#include <atomic>
#include <charconv>
#include <filesystem>
#include <format>
#include <system_error>
#include <utility>

#include "common/log.h"
#include "controlplane/store/store_rep.h"

namespace spillway {
namespace {

constexpr size_t kBlockCacheBytes = 64 << 20;
constexpr size_t kMemtableBytes = 16 << 20;      // of one table
constexpr size_t kAllMemtablesBytes = 64 << 20;  // of all together
constexpr uint64_t kLogBytesMax = 128 << 20;
constexpr size_t kChecksumBytes = 8;  // per key, from the batch to the block

// Names on disk; the order is Table's.
constexpr std::array<const char*, kTableCount> kTableNames = {
    "meta",        "resources",    "history",       "revisions",     "admin_tokens",
    "instances",   "ledger_marks", "ledger_open",   "ledger_events", "ledger_rollups",
    "ledger_lost", "leases",       "lease_charges", "lease_holders", "alerts"};

rocksdb::ColumnFamilyOptions TableOptions(const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions options;
  options.write_buffer_size = kMemtableBytes;
  options.memtable_protection_bytes_per_key = kChecksumBytes;
  options.compression = rocksdb::kLZ4Compression;
  options.bottommost_compression = rocksdb::kZSTD;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  table.cache_index_and_filter_blocks = true;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

rocksdb::DBOptions DatabaseOptions(const Store::Options& wanted,
                                   std::shared_ptr<rocksdb::EventListener> listener) {
  rocksdb::DBOptions options;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  options.track_and_verify_wals_in_manifest = true;
  options.paranoid_checks = true;
  options.manual_wal_flush = false;
  options.db_write_buffer_size = kAllMemtablesBytes;
  options.max_total_wal_size = kLogBytesMax;
  options.max_open_files = 256;
  options.max_background_jobs = 2;
  options.keep_log_file_num = 3;
  options.max_log_file_size = 8 << 20;
  options.listeners.push_back(std::move(listener));
  // Also what makes RocksDB look for free space and recover by itself after a full disk.
  options.sst_file_manager.reset(rocksdb::NewSstFileManager(rocksdb::Env::Default()));
  if (wanted.disk_bytes_max > 0) {
    options.sst_file_manager->SetMaxAllowedSpaceUsage(static_cast<uint64_t>(wanted.disk_bytes_max));
  }
  return options;
}

// A table that this program does not know was made by a newer one.
Result<void> RefuseUnknownTables(const std::string& path) {
  if (!std::filesystem::exists(path + "/CURRENT")) return {};
  std::vector<std::string> names;
  const auto status = rocksdb::DB::ListColumnFamilies(rocksdb::DBOptions(), path, &names);
  if (!status.ok()) return Fail(ErrorCode::kCorrupt, path + ": " + status.ToString());
  for (const std::string& name : names) {
    const bool known = name == rocksdb::kDefaultColumnFamilyName ||
                       std::ranges::find(kTableNames, name) != kTableNames.end();
    if (!known) {
      return Fail(
          ErrorCode::kInvalidConfig,
          std::format("{} has a table \"{}\" of a newer version of this program: run that version, "
                      "or restore a backup",
                      path, name));
    }
  }
  return {};
}

}  // namespace

void WatchErrors::OnBackgroundError(rocksdb::BackgroundErrorReason, rocksdb::Status* error) {
  failed_.store(true, std::memory_order_release);
  log::Fault("the store cannot write", {{"error", error->ToString()}});
}

void WatchErrors::OnErrorRecoveryEnd(const rocksdb::BackgroundErrorRecoveryInfo& info) {
  if (!info.new_bg_error.ok()) return;
  failed_.store(false, std::memory_order_release);
  log::Info("the store can write again");
}

Result<void> ToResult(const rocksdb::Status& status, std::string_view what) {
  if (status.ok()) return {};
  const auto code = status.IsCorruption() ? ErrorCode::kCorrupt : ErrorCode::kUnavailable;
  return Fail(code, "store: " + std::string(what) + ": " + status.ToString());
}

WriteBatch::WriteBatch() : rep_(std::make_unique<Rep>()) {}
WriteBatch::~WriteBatch() = default;
WriteBatch::WriteBatch(WriteBatch&&) noexcept = default;
WriteBatch& WriteBatch::operator=(WriteBatch&&) noexcept = default;

void WriteBatch::Put(Table table, std::string_view key, std::string_view value) {
  rep_->Add({table, false, key.size(), value.size()}, key, value);
}
void WriteBatch::Delete(Table table, std::string_view key) {
  rep_->Add({table, true, key.size(), 0}, key, {});
}
bool WriteBatch::empty() const { return rep_->changes.empty(); }

Store::Store(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}

Store::~Store() {
  for (rocksdb::ColumnFamilyHandle* table : rep_->tables) {
    rep_->db->DestroyColumnFamilyHandle(table);
  }
  rep_->db->Close();
}

Result<std::unique_ptr<Store>> Store::Open(const Options& options) {
  std::error_code failed;
  std::filesystem::create_directories(options.path, failed);
  if (failed) {
    return Fail(ErrorCode::kUnavailable, options.path + " cannot be made: " + failed.message());
  }
  SW_CHECK(RefuseUnknownTables(options.path));
  auto rep = std::make_unique<Rep>();
  rep->errors = std::make_shared<WatchErrors>();
  const auto cache = rocksdb::NewLRUCache(kBlockCacheBytes);
  std::vector<rocksdb::ColumnFamilyDescriptor> wanted;
  wanted.emplace_back(rocksdb::kDefaultColumnFamilyName, TableOptions(cache));
  for (const char* name : kTableNames) wanted.emplace_back(name, TableOptions(cache));
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* db = nullptr;
  const auto status =
      rocksdb::DB::Open(DatabaseOptions(options, rep->errors), options.path, wanted, &handles, &db);
  if (status.IsIOError() && status.ToString().find("lock") != std::string::npos) {
    return Fail(ErrorCode::kUnavailable, options.path + " is in use by another process");
  }
  SW_CHECK(ToResult(status, "open " + options.path));
  rep->db.reset(db);
  rep->tables = std::move(handles);
  std::unique_ptr<Store> store(new Store(std::move(rep)));
  SW_CHECK(store->CheckSchema(options.path));
  return store;
}

Result<void> Store::CheckSchema(const std::string& path) {
  SW_TRY(const auto stored, Get(Table::kMeta, "schema_version"));
  if (!stored) {
    WriteBatch batch;
    batch.Put(Table::kMeta, "schema_version", std::to_string(kSchemaVersion));
    return Write(std::move(batch));
  }
  int version = 0;
  const auto parsed = std::from_chars(stored->data(), stored->data() + stored->size(), version);
  if (parsed.ec != std::errc{} || version < 1) {
    return Fail(ErrorCode::kCorrupt, path + " has an unreadable schema version");
  }
  if (version > kSchemaVersion) {
    return Fail(ErrorCode::kInvalidConfig, path + " has schema " + std::to_string(version) +
                                               ", this program knows up to " +
                                               std::to_string(kSchemaVersion) +
                                               ": run the newer version, or restore a backup");
  }
  return {};
}

Result<void> Store::Write(WriteBatch batch) {
  if (batch.empty()) return {};
  if (!Writable()) {
    // A full disk is recovered from in the background; other failures only when asked.
    if (const auto resumed = rep_->db->Resume(); !resumed.ok()) {
      return Fail(ErrorCode::kUnavailable, "store: read-only: " + resumed.ToString());
    }
    rep_->errors->Clear();
  }
  rocksdb::WriteBatch changes(batch.rep_->bytes.size(), 0, kChecksumBytes, 0);
  size_t at = 0;
  for (const WriteBatch::Rep::Change& change : batch.rep_->changes) {
    const rocksdb::Slice key(batch.rep_->bytes.data() + at, change.key_size);
    const rocksdb::Slice value(key.data() + change.key_size, change.value_size);
    at += change.key_size + change.value_size;
    auto* const table = rep_->Handle(change.table);
    const auto added = change.erase ? changes.Delete(table, key) : changes.Put(table, key, value);
    SW_CHECK(ToResult(added, "batch"));
  }
  rocksdb::WriteOptions options;
  options.sync = true;
  return ToResult(rep_->db->Write(options, &changes), "write");
}

Result<std::optional<std::string>> Store::Get(Table table, std::string_view key) const {
  std::string value;
  const auto status = rep_->db->Get(rocksdb::ReadOptions(), rep_->Handle(table),
                                    rocksdb::Slice(key.data(), key.size()), &value);
  if (status.IsNotFound()) return std::nullopt;
  SW_CHECK(ToResult(status, "read"));
  return value;
}

Result<void> Store::Scan(Table table, std::string_view prefix, std::string_view from,
                         const std::function<bool(std::string_view, std::string_view)>& row) const {
  const std::unique_ptr<rocksdb::Iterator> at(
      rep_->db->NewIterator(rocksdb::ReadOptions(), rep_->Handle(table)));
  const std::string_view start = from > prefix ? from : prefix;
  for (at->Seek({start.data(), start.size()}); at->Valid(); at->Next()) {
    const std::string_view key(at->key().data(), at->key().size());
    if (!key.starts_with(prefix)) break;
    if (!row(key, {at->value().data(), at->value().size()})) break;
  }
  return ToResult(at->status(), "scan");
}

bool Store::Writable() const { return !rep_->errors->failed(); }

}  // namespace spillway
