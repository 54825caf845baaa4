#include "dataplane/metering/data_dir.h"

#include <sys/wait.h>
#include <unistd.h>

#include "common/durable_file.h"
#include "tests/unit/dataplane/metering/scratch.h"

namespace spillway {
namespace {

TEST_CASE("an instance id is kept, made when absent, and never changed") {
  const TempFolder folder;
  std::string made;
  {
    const auto dir = DataDir::Open(folder.path(), "");
    REQUIRE(dir.has_value());
    made = dir->instance();
    CHECK(made.size() == 32);
    CHECK(dir->predecessor().empty());
  }
  const auto again = DataDir::Open(folder.path(), "");
  REQUIRE(again.has_value());
  CHECK(again->instance() == made);
}

TEST_CASE("every start has its own incarnation and knows the one before") {
  const TempFolder folder;
  std::string first;
  {
    const auto dir = DataDir::Open(folder.path(), "dp-1");
    REQUIRE(dir.has_value());
    first = dir->incarnation();
  }
  const auto dir = DataDir::Open(folder.path(), "dp-1");
  REQUIRE(dir.has_value());
  CHECK(dir->incarnation() != first);
  CHECK(dir->predecessor() == first);
}

TEST_CASE("a data-dir that is in use is refused, also to another process") {
  const TempFolder folder;
  const auto held = DataDir::Open(folder.path(), "dp-1");
  REQUIRE(held.has_value());
  const auto second = DataDir::Open(folder.path(), "dp-1");
  REQUIRE_FALSE(second.has_value());
  CHECK(second.error().code == ErrorCode::kConflict);
  CHECK_THAT(second.error().message,
             Catch::Matchers::ContainsSubstring("in use by another process"));
  const pid_t child = fork();
  if (child == 0) {
    const auto other = DataDir::Open(folder.path(), "dp-1");
    _exit(!other && other.error().code == ErrorCode::kConflict ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("bad and foreign instance ids are refused with the reason") {
  struct Case {
    const char* name;
    std::string kept;
    std::string wanted;
    ErrorCode want;
  };
  const Case kCases[] = {
      {"dots would be subject tokens", "", "dp.1", ErrorCode::kInvalidConfig},
      {"wildcards", "", "*", ErrorCode::kInvalidConfig},
      {"too long", "", std::string(65, 'a'), ErrorCode::kInvalidConfig},
      {"another's folder", "dp-1", "dp-2", ErrorCode::kConflict},
      {"a broken file", "d p", "", ErrorCode::kCorrupt},
  };
  for (const Case& test : kCases) {
    DYNAMIC_SECTION(test.name) {
      const TempFolder folder;
      if (!test.kept.empty())
        REQUIRE(durable::WriteFile(folder.path() + "/instance", test.kept + "\n"));
      const auto dir = DataDir::Open(folder.path(), test.wanted);
      REQUIRE_FALSE(dir.has_value());
      CHECK(dir.error().code == test.want);
    }
  }
}

}  // namespace
}  // namespace spillway
