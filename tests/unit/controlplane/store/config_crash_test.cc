#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_all.hpp>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <string>

#include "controlplane/store/config_store.h"
#include "tests/fakes/nats_server.h"

namespace spillway {
namespace {

constexpr const char* kCrashVariable = "SPILLWAY_TEST_CRASH_FOLDER";

Result<int64_t> CommitOne(ConfigStore& config, int64_t number) {
  return config.Transact(1, number, [&](const auto&) -> Result<std::optional<ConfigChange>> {
    ConfigChange change{.author = "crash", .summary = std::to_string(number)};
    v1::Entry& entry = change.upserts.emplace_back();
    entry.set_kind(v1::KIND_KEY);
    entry.set_name("k" + std::to_string(number % 17));
    entry.set_bytes(std::string(static_cast<size_t>(number % 300), 'v') + std::to_string(number));
    if (number % 5 == 0) {
      v1::EntryName& gone = change.removals.emplace_back();
      gone.set_kind(v1::KIND_KEY);
      gone.set_name("k" + std::to_string((number + 3) % 17));
    }
    return change;
  });
}

// Starts this program again as the writer below; returns the reading end of its output.
int StartWriter(const std::string& folder, pid_t& pid) {
  int ends[2] = {-1, -1};
  REQUIRE(pipe(ends) == 0);
  pid = fork();
  if (pid == 0) {
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    setenv(kCrashVariable, folder.c_str(), 1);
    execl("/proc/self/exe", "store_test", "crash writer", nullptr);
    _exit(127);
  }
  close(ends[1]);
  return ends[0];
}

}  // namespace

// Not a test: what the next one kills. Writes each revision's number once it was committed.
TEST_CASE("crash writer", "[.]") {
  const char* folder = std::getenv(kCrashVariable);
  if (folder == nullptr) return;
  const auto store = Store::Open({.path = folder}).value();
  const auto config = ConfigStore::Open(*store).value();
  while (true) {
    const auto revision = CommitOne(*config, config->position().revision() + 1);
    if (!revision) _exit(3);
    const std::string line = "\n#" + std::to_string(*revision) + ";";
    if (write(STDOUT_FILENO, line.data(), line.size()) < 0) _exit(4);
  }
}

TEST_CASE(
    "kill -9 at any point of a commit loses no acknowledged revision and leaves no half one") {
  const TempFolder folder;
  const std::string path = folder.path() + "/db";
  int64_t acknowledged = 0;
  for (int round = 0; round < 12; ++round) {
    INFO("round " << round);
    pid_t pid = -1;
    const int output = StartWriter(path, pid);
    std::string text;
    char piece[512];
    const int64_t target = acknowledged + 3 + int64_t{round} * 2;
    while (acknowledged < target) {
      const ssize_t size = read(output, piece, sizeof(piece));
      REQUIRE(size > 0);
      text.append(piece, static_cast<size_t>(size));
      const size_t end = text.rfind(';');
      const size_t begin = end == std::string::npos ? end : text.rfind('#', end);
      if (begin != std::string::npos) acknowledged = std::stoll(text.substr(begin + 1));
    }
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    close(output);

    const auto store = Store::Open({.path = path});
    REQUIRE(store);
    const auto config = ConfigStore::Open(**store);  // verifies the digest in full
    REQUIRE(config);
    const int64_t revision = (*config)->position().revision();
    CHECK(revision >= acknowledged);
    const auto history = (*config)->RevisionsAfter(0);
    REQUIRE(history);
    CHECK(history->size() == static_cast<size_t>(revision));
    CHECK((*config)->ListRevisions(1)->front().revision() == revision);
    CHECK((*config)->StateAt(0)->empty());
  }
}

}  // namespace spillway
