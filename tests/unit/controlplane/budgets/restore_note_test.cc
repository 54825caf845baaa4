#include "controlplane/budgets/restore_note.h"

#include <catch2/catch_all.hpp>
#include <filesystem>

#include "controlplane/store/store.h"
#include "tests/fakes/temp_folder.h"

namespace spillway {

TEST_CASE("a store that a restore moved away is missed, one that never was is not") {
  const TempFolder folder;
  const std::string store = folder.path() + "/store";
  CHECK(RefuseHalfRestored(folder.path(), store));
  REQUIRE(LeaveRestoreNote(folder.path()));
  const auto refused = RefuseHalfRestored(folder.path(), store);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::kInvalidConfig);
  CHECK(refused.error().message.find("--restore") != std::string::npos);
  REQUIRE(Store::Open({.path = store}));
  CHECK(RefuseHalfRestored(folder.path(), store));
  CHECK(HasRestoreNote(folder.path()));
  REQUIRE(RemoveRestoreNote(folder.path()));
  CHECK_FALSE(HasRestoreNote(folder.path()));
}

}  // namespace spillway
