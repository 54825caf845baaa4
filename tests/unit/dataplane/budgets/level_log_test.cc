#include "dataplane/budgets/level_log.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <system_error>

#include "dataplane/budgets/closing.h"
#include "tests/unit/dataplane/budgets/fixture.h"

namespace spillway {
namespace {

v1::HolderAccount Level(const std::string& budget, Nanos granted, Nanos returned) {
  v1::HolderAccount level;
  level.mutable_account()->set_budget_id(budget);
  level.set_granted_seen(granted);
  level.set_returned(returned);
  return level;
}

std::string Bytes(const std::string& budget) {
  return Level(budget, 0, 0).account().SerializeAsString();
}

std::unique_ptr<LevelLog> Open(const std::string& folder) {
  auto log = LevelLog::Create(folder, "boot-1");
  if (!log) FAIL(log.error().message);
  return *std::move(log);
}

using Held = std::map<std::pair<std::string, std::string>, Nanos>;

TEST_CASE("the last recorded level of each account counts") {
  const TempFolder folder;
  {
    const auto log = Open(folder.path());
    REQUIRE(log->Append("", {Level("a", 100, 0), Level("b", 50, 0)}));
    REQUIRE(log->Append("other", {Level("a", 7, 0)}));
    REQUIRE(log->Append("", {Level("a", 300, 120)}));
  }
  const auto levels = ReadLevels(folder.path());
  REQUIRE(levels.has_value());
  CHECK(levels->boot_id == "boot-1");
  CHECK(levels->held ==
        Held{{{"", Bytes("a")}, 180}, {{"", Bytes("b")}, 50}, {{"other", Bytes("a")}, 7}});
  CHECK(levels->holders == std::set<std::string>{"", "other"});
}

TEST_CASE("a torn end is as if it had never been written") {
  const TempFolder folder;
  int64_t whole = 0;
  {
    const auto log = Open(folder.path());
    REQUIRE(log->Append("", {Level("a", 100, 0)}));
  }
  {
    std::ifstream file(folder.path() + "/levels", std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)),
                            std::istreambuf_iterator<char>());
    whole = static_cast<int64_t>(bytes.find_last_not_of('\0')) + 1;
  }
  {
    const auto log = Open(folder.path());
    REQUIRE(log->Append("", {Level("a", 100, 0)}));
    REQUIRE(log->Append("", {Level("a", 500, 0)}));
  }
  // Every byte of the second frame missing in turn.
  for (int64_t cut = whole; cut < whole + 20; ++cut) {
    const TempFolder torn;
    std::filesystem::copy_file(folder.path() + "/levels", torn.path() + "/levels");
    std::filesystem::resize_file(torn.path() + "/levels", static_cast<uintmax_t>(cut));
    const auto levels = ReadLevels(torn.path());
    REQUIRE(levels.has_value());
    CHECK(levels->held == Held{{{"", Bytes("a")}, 100}});
  }
}

TEST_CASE("no log is no evidence") {
  const TempFolder folder;
  const auto levels = ReadLevels(folder.path());
  REQUIRE(levels.has_value());
  CHECK_FALSE(levels->found);
}

TEST_CASE("compacting keeps what is wanted and goes on") {
  const TempFolder folder;
  const auto log = Open(folder.path());
  for (int i = 0; i < 1'000; ++i)
    REQUIRE(log->Append("", {Level("b" + std::to_string(i % 10), i, 0)}));
  REQUIRE(log->Compact(
      [](std::string_view, const v1::Account& account) { return account.budget_id() != "b3"; }));
  REQUIRE(log->Append("", {Level("b4", 5'000, 1'000)}));
  const auto levels = ReadLevels(folder.path());
  REQUIRE(levels.has_value());
  CHECK(levels->held.size() == 9);
  CHECK_FALSE(levels->held.contains({"", Bytes("b3")}));
  CHECK(levels->held.at({"", Bytes("b4")}) == 4'000);
  CHECK(levels->held.at({"", Bytes("b9")}) == 999);
}

// As long as it lives, so many more files can be opened.
class FilesLeft {
 public:
  explicit FilesLeft(rlim_t left) {
    // The sanitizer needs a pipe when it meets a class for the first time: now, not in FailFile.
    (void)std::generic_category().message(EMFILE);
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const int next = ::dup(STDOUT_FILENO);
    ::close(next);
    const rlimit less{.rlim_cur = static_cast<rlim_t>(next) + left, .rlim_max = before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &less);
  }
  ~FilesLeft() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  FilesLeft(const FilesLeft&) = delete;
  FilesLeft& operator=(const FilesLeft&) = delete;

 private:
  rlimit before_{};
};

TEST_CASE("when the folder of a new file cannot be synced, nothing is written elsewhere") {
  const TempFolder folder;
  const auto log = Open(folder.path());
  REQUIRE(log->Append("", {Level("a", 100, 0)}));
  bool compacted = true;
  {
    const FilesLeft left(1);
    compacted = log->Compact([](std::string_view, const v1::Account&) { return true; }).has_value();
  }
  CHECK_FALSE(compacted);
  bool appended = true;
  {
    const FilesLeft left(0);
    appended = log->Append("", {Level("a", 200, 0)}).has_value();
  }
  CHECK_FALSE(appended);  // a power cut might bring back the old file
  REQUIRE(log->Append("", {Level("a", 300, 0)}));
  CHECK(ReadLevels(folder.path())->held == Held{{{"", Bytes("a")}, 300}});
}

TEST_CASE("what a dead process's accounts come to") {
  struct Case {
    const char* name;
    const char* boot;
    Nanos granted, returned;
    ChargeSums charged;
    Nanos final_a;
    bool at_level;
  };
  const Case kCases[] = {
      {"killed: what the journal says", "boot-1", 500, 100, {{{"", Bytes("a")}, 250}}, 250, false},
      {"killed, nothing spent", "boot-1", 500, 0, {}, 0, false},
      {"power cut: the recorded level", "boot-2", 500, 100, {{{"", Bytes("a")}, 250}}, 400, true},
      {"power cut, an overrun that the journal kept",
       "boot-2",
       500,
       100,
       {{{"", Bytes("a")}, 450}},
       450,
       true},
      {"no boot id: as a power cut", "", 500, 100, {}, 400, true},
  };
  for (const Case& test : kCases) {
    DYNAMIC_SECTION(test.name) {
      const TempFolder folder;
      REQUIRE(Open(folder.path())->Append("", {Level("a", test.granted, test.returned)}));
      const auto closed = FinalChargesOf(folder.path(), test.charged, test.boot);
      REQUIRE(closed.size() == 1);
      CHECK(closed[0].holder().empty());
      CHECK(closed[0].at_recorded_level() == test.at_level);
      REQUIRE(closed[0].accounts_size() == 1);
      CHECK(closed[0].accounts(0).charged() == test.final_a);
    }
  }
}

}  // namespace
}  // namespace spillway
