#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_all.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "controlplane/store/store.h"
#include "controlplane/store/write_gate.h"
#include "tests/fakes/nats_server.h"

namespace spillway {
namespace {

constexpr const char* kFullDiskVariable = "SPILLWAY_TEST_FULL_DISK_FOLDER";
constexpr int kNoMountExit = 77;

Result<void> PutOne(Store& store, int number) {
  WriteBatch batch;
  batch.Put(Table::kLedgerEvents, std::to_string(number), std::string(200'000, 'x'));
  return store.Write(std::move(batch));
}

}  // namespace

// Not a test: runs in a mount namespace of its own, where the disk is 64 MB of memory.
TEST_CASE("full disk child", "[.]") {
  const char* folder = std::getenv(kFullDiskVariable);
  if (folder == nullptr) return;
  const std::string disk(folder);
  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=64m") != 0) {
    _exit(kNoMountExit);
  }
  const std::string ballast = disk + "/ballast";
  std::ofstream(ballast) << std::string(30 << 20, 'b');
  auto store = Store::Open({.path = disk + "/db"}).value();
  WriteGate gate(*store);
  gate.Release(WriteHold::kEpoch);
  int acknowledged = 0;
  Result<void> outcome;
  while (acknowledged < 2'000 && (outcome = PutOne(*store, acknowledged))) ++acknowledged;
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().code == ErrorCode::kUnavailable);
  CHECK_FALSE(store->Writable());
  REQUIRE_FALSE(gate.Check());
  CHECK(gate.Check().error().message.find("disk") != std::string::npos);
  CHECK(acknowledged > 10);
  CHECK(store->Get(Table::kLedgerEvents, std::to_string(acknowledged - 1)).value());  // reads go on

  std::filesystem::remove(ballast);
  bool again = false;
  for (int i = 0; i < 300 && !again; ++i) {
    again = PutOne(*store, acknowledged).has_value();
    if (!again) poll(nullptr, 0, 100);  // RocksDB looks for space in its own time
  }
  REQUIRE(again);
  CHECK(store->Writable());
  CHECK(gate.Check());
  store.reset();
  store = Store::Open({.path = disk + "/db"}).value();
  for (int i = 0; i <= acknowledged; ++i) {
    REQUIRE(store->Get(Table::kLedgerEvents, std::to_string(i)).value());
  }
}

TEST_CASE("a full disk makes the store read-only, and free space writable again") {
  const TempFolder folder;
  const pid_t pid = fork();
  if (pid == 0) {
    setenv(kFullDiskVariable, folder.path().c_str(), 1);
    execl("/proc/self/exe", "store_test", "full disk child", nullptr);
    _exit(127);
  }
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNoMountExit)
    SKIP("no right to mount a small disk");
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

}  // namespace spillway
