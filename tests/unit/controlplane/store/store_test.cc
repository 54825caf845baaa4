#include "controlplane/store/store.h"

#include <catch2/catch_all.hpp>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "controlplane/store/write_gate.h"
#include "tests/fakes/nats_server.h"

namespace spillway {
namespace {

std::unique_ptr<Store> OpenStore(const std::string& path) {
  auto store = Store::Open({.path = path});
  INFO((store ? "" : store.error().message));
  REQUIRE(store);
  return *std::move(store);
}

void Put(Store& store, Table table, std::string_view key, std::string_view value) {
  WriteBatch batch;
  batch.Put(table, key, value);
  const auto written = store.Write(std::move(batch));
  REQUIRE(written);
}

std::vector<std::string> Keys(const Store& store, Table table, std::string_view prefix,
                              std::string_view from, size_t max = 100) {
  std::vector<std::string> keys;
  REQUIRE(store.Scan(table, prefix, from, [&](std::string_view key, std::string_view) {
    keys.emplace_back(key);
    return keys.size() < max;
  }));
  return keys;
}

}  // namespace

TEST_CASE("a batch changes several tables at once and survives a reopen") {
  const TempFolder folder;
  {
    const auto store = OpenStore(folder.path() + "/db");
    WriteBatch batch;
    CHECK(batch.empty());
    batch.Put(Table::kMeta, "a", "1");
    batch.Put(Table::kLedgerLost, std::string("\0\xff", 2), "");
    batch.Put(Table::kMeta, "b", "2");
    batch.Delete(Table::kMeta, "b");
    CHECK_FALSE(batch.empty());
    const auto written = store->Write(std::move(batch));
    REQUIRE(written);
  }
  const auto store = OpenStore(folder.path() + "/db");
  CHECK(store->Get(Table::kMeta, "a").value() == "1");
  CHECK(store->Get(Table::kMeta, "b").value() == std::nullopt);
  CHECK(store->Get(Table::kLedgerLost, std::string("\0\xff", 2)).value() == "");
  CHECK(store->Get(Table::kResources, "a").value() == std::nullopt);
  CHECK(store->Writable());
}

TEST_CASE("a scan keeps to its prefix, its start and its end") {
  const TempFolder folder;
  const auto store = OpenStore(folder.path());
  for (const char* key : {"a1", "a2", "a3", "b1", "\xff\xff"}) {
    Put(*store, Table::kInstances, key, key);
  }
  struct Row {
    const char* name;
    std::string prefix;
    std::string from;
    size_t max;
    std::vector<std::string> want;
  };
  const Row rows[] = {
      {"everything", "", "", 9, {"a1", "a2", "a3", "b1", "\xff\xff"}},
      {"prefix", "a", "", 9, {"a1", "a2", "a3"}},
      {"from inside", "a", "a2", 9, {"a2", "a3"}},
      {"from between keys", "a", "a11", 9, {"a2", "a3"}},
      {"from behind the prefix", "a", "b", 9, {}},
      {"from before the prefix", "b", "a", 9, {"b1"}},
      {"stopped by the callback", "", "", 2, {"a1", "a2"}},
      {"highest bytes", "\xff", "", 9, {"\xff\xff"}},
      {"nothing there", "c", "", 9, {}},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    CHECK(Keys(*store, Table::kInstances, row.prefix, row.from, row.max) == row.want);
  }
}

TEST_CASE("a second opener is told that the database is in use") {
  const TempFolder folder;
  const auto store = OpenStore(folder.path());
  const auto second = Store::Open({.path = folder.path()});
  REQUIRE_FALSE(second);
  CHECK(second.error().code == ErrorCode::kUnavailable);
  CHECK(second.error().message.find("in use") != std::string::npos);
}

TEST_CASE("a newer or unreadable schema is refused and left alone") {
  struct Row {
    const char* version;
    ErrorCode want;
    const char* says;
  };
  const Row rows[] = {{"2", ErrorCode::kInvalidConfig, "schema 2"},
                      {"999999", ErrorCode::kInvalidConfig, "newer version"},
                      {"0", ErrorCode::kCorrupt, "unreadable"},
                      {"x", ErrorCode::kCorrupt, "unreadable"}};
  for (const Row& row : rows) {
    INFO(row.version);
    const TempFolder folder;
    Put(*OpenStore(folder.path()), Table::kMeta, "schema_version", row.version);
    const auto refused = Store::Open({.path = folder.path()});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == row.want);
    INFO(refused.error().message);
    if (row.want == ErrorCode::kInvalidConfig) {
      CHECK(refused.error().message.find("run the newer version") != std::string::npos);
    }
  }
}

TEST_CASE("writers on several threads all get in") {
  const TempFolder folder;
  const auto store = OpenStore(folder.path());
  std::vector<std::thread> writers;
  std::atomic<int> failed{0};
  writers.reserve(8);
  for (int writer = 0; writer < 8; ++writer) {
    writers.emplace_back([&, writer] {
      for (int i = 0; i < 25; ++i) {
        WriteBatch batch;
        batch.Put(Table::kMeta, "w" + std::to_string(writer) + "-" + std::to_string(i), "x");
        if (!store->Write(std::move(batch))) ++failed;
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  CHECK(failed == 0);
  CHECK(Keys(*store, Table::kMeta, "w", "", 1'000).size() == 200);
}

TEST_CASE("a backup restores what was there, and the replaced database is kept") {
  const TempFolder folder;
  const std::string path = folder.path() + "/db";
  const std::string backups = folder.path() + "/backups";
  std::string backup_path;
  {
    const auto store = OpenStore(path);
    Put(*store, Table::kMeta, "key", "before");
    const auto first = store->CreateBackup(backups, 1'700'000'000'123);
    REQUIRE(first);
    backup_path = first->path;
    CHECK(first->bytes > 0);
    Put(*store, Table::kMeta, "key", "after");
    REQUIRE(store->CreateBackup(backups, 1'700'000'000'123));  // the same millisecond
    REQUIRE(store->CreateBackup(backups, 1'700'000'001'000));
    std::filesystem::create_directories(backups + "/backup-nonsense");
    const auto list = Store::ListBackups(backups);
    REQUIRE(list);
    REQUIRE(list->size() == 3);
    CHECK(list->front().path == backup_path);
    CHECK(list->front().created_at_ms == 1'700'000'000'123);
    CHECK(list->front().bytes == first->bytes);
    CHECK(list->back().created_at_ms == 1'700'000'001'000);

    const auto in_use = Store::Restore(backup_path, path);
    REQUIRE_FALSE(in_use);
    CHECK(in_use.error().message.find("stop the control plane") != std::string::npos);
  }
  REQUIRE(Store::Restore(backup_path, path));
  CHECK(OpenStore(path)->Get(Table::kMeta, "key").value() == "before");
  CHECK(OpenStore(path + ".before-restore-1")->Get(Table::kMeta, "key").value() == "after");
  REQUIRE(Store::Restore(backup_path, path));  // and once more
  CHECK(OpenStore(path)->Get(Table::kMeta, "key").value() == "before");
}

TEST_CASE("a damaged or missing backup replaces nothing") {
  const TempFolder folder;
  const std::string path = folder.path() + "/db";
  std::string backup_path;
  {
    const auto store = OpenStore(path);
    Put(*store, Table::kMeta, "key", "value");
    backup_path = store->CreateBackup(folder.path() + "/b", 1'700'000'000'000)->path;
  }
  const auto missing = Store::Restore(folder.path() + "/nowhere", path);
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code == ErrorCode::kNotFound);

  for (const auto& entry : std::filesystem::recursive_directory_iterator(backup_path)) {
    if (!entry.is_regular_file() || entry.path().extension() != ".log") continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(10);
    file.put('\x5a');
  }
  CHECK_FALSE(Store::Restore(backup_path, path));
  CHECK(OpenStore(path)->Get(Table::kMeta, "key").value() == "value");
  CHECK_FALSE(std::filesystem::exists(path + ".before-restore-1"));
}

TEST_CASE("backups of both kinds are listed, unfinished ones are not and can be dropped") {
  const TempFolder folder;
  const auto store = OpenStore(folder.path() + "/db");
  const std::string backups = folder.path() + "/backups";
  constexpr int64_t kWhen = 1'700'000'000'000;
  using Kind = Store::BackupKind;
  REQUIRE(store->CreateBackup(backups, kWhen));
  REQUIRE(store->CreateBackup(backups, kWhen + 1, Kind::kAutomatic));
  REQUIRE(store->CreateBackup(backups, kWhen + 1, Kind::kAutomatic));  // the same millisecond
  REQUIRE(store->CreateBackup(backups, kWhen + 2));
  const std::string left = store->CreateBackup(backups, kWhen + 3)->path;
  std::filesystem::rename(left, left + ".part");
  std::filesystem::create_directories(left + ".part-1");
  std::filesystem::create_directories(backups + "/other.part");
  const auto list = Store::ListBackups(backups);
  REQUIRE(list->size() == 4);
  CHECK((*list)[0].kind == Kind::kAsked);
  CHECK((*list)[1].kind == Kind::kAutomatic);
  CHECK((*list)[2].kind == Kind::kAutomatic);
  CHECK((*list)[2].created_at_ms == kWhen + 1);
  CHECK((*list)[3].kind == Kind::kAsked);
  Store::DropUnfinishedBackups(backups);
  CHECK_FALSE(std::filesystem::exists(left + ".part"));
  CHECK_FALSE(std::filesystem::exists(left + ".part-1"));
  CHECK(std::filesystem::exists(backups + "/other.part"));
  CHECK(Store::ListBackups(backups)->size() == 4);
}

TEST_CASE("a restore asks once more before it replaces, and takes up where one died") {
  const TempFolder folder;
  const std::string path = folder.path() + "/db";
  std::string backup_path;
  {
    const auto store = OpenStore(path);
    Put(*store, Table::kMeta, "key", "before");
    backup_path = store->CreateBackup(folder.path() + "/b", 1'700'000'000'000)->path;
    Put(*store, Table::kMeta, "key", "after");
  }
  std::filesystem::create_directories(path + ".restoring-1");
  int asked = 0;
  const auto refuse = [&]() -> Result<void> {
    ++asked;
    return Fail(ErrorCode::kUnavailable, "no note");
  };
  CHECK_FALSE(Store::Restore(folder.path() + "/nowhere", path, refuse));
  CHECK(asked == 0);
  CHECK_FALSE(Store::Restore(backup_path, path, refuse));
  CHECK(asked == 1);
  CHECK(OpenStore(path)->Get(Table::kMeta, "key").value() == "after");
  // Died between moving the old one aside and the new one in.
  std::filesystem::rename(path, path + ".before-restore-1");
  std::filesystem::create_directories(path + ".restoring");
  CHECK_FALSE(Store::Exists(path));
  REQUIRE(Store::Restore(backup_path, path, [] { return Result<void>(); }));
  CHECK(Store::Exists(path));
  CHECK(OpenStore(path)->Get(Table::kMeta, "key").value() == "before");
  CHECK(OpenStore(path + ".before-restore-1")->Get(Table::kMeta, "key").value() == "after");
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    CHECK(entry.path().string().find(".restoring") == std::string::npos);
}

TEST_CASE("the write gate says why") {
  const TempFolder folder;
  const auto store = OpenStore(folder.path());
  WriteGate gate(*store);
  REQUIRE_FALSE(gate.Check());
  CHECK(gate.Check().error().message.find("epoch") != std::string::npos);
  gate.Hold(WriteHold::kRestore, "undecided");
  gate.Release(WriteHold::kEpoch);
  REQUIRE_FALSE(gate.Check());
  CHECK(gate.Check().error().message == "undecided");
  CHECK(gate.Check().error().code == ErrorCode::kUnavailable);
  gate.Release(WriteHold::kRestore);
  CHECK(gate.Check());
}

}  // namespace spillway
