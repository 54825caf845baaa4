#include "common/durable_file.h"

#include <catch2/catch_all.hpp>

#include "tests/fakes/temp_folder.h"

namespace spillway {
namespace {

TEST_CASE("files are written whole or not at all, and read up to a size") {
  const TempFolder folder;
  const std::string path = folder.Path("file");
  CHECK(durable::ReadFile(path, 10).error().code == ErrorCode::kNotFound);
  REQUIRE(durable::WriteFile(path, "hello"));
  REQUIRE(durable::WriteFile(path, "hello again"));
  CHECK(*durable::ReadFile(path) == "hello again");
  CHECK(*durable::ReadFile(path, 11) == "hello again");
  CHECK(durable::ReadFile(path, 10).error().code == ErrorCode::kInvalidConfig);
  CHECK(durable::ReadFile(folder.Path(".")).error().code == ErrorCode::kInvalidConfig);
  CHECK(durable::WriteFile(folder.Path("none/file"), "x").error().code == ErrorCode::kNotFound);
}

TEST_CASE("folders are made with their parents and listed in order") {
  const TempFolder folder;
  const std::string inner = folder.Path("a/b");
  CHECK(durable::ListFolder(inner).empty());
  REQUIRE(durable::MakeFolder(inner));
  REQUIRE(durable::MakeFolder(inner));
  REQUIRE(durable::WriteFile(inner + "/2", ""));
  REQUIRE(durable::WriteFile(inner + "/1", ""));
  CHECK(durable::ListFolder(inner) == std::vector<std::string>{"1", "2"});
  REQUIRE(durable::SyncFolder(inner));
  CHECK_FALSE(durable::SyncFolder(inner + "/none"));
  CHECK_FALSE(durable::MakeFolder(inner + "/1/c"));
}

}  // namespace
}  // namespace spillway
