#pragma once

#include <string>

#include "common/error.h"

namespace spillway {

// "The store in this data-dir is a backup's, and its accounts do not know it yet": a file beside
// the store, made before the store is replaced and removed once the gate of running windows is shut
// on disk. A death in between shuts the gate once too often, never once too little.
Result<void> LeaveRestoreNote(const std::string& data_dir);
bool HasRestoreNote(const std::string& data_dir);
Result<void> RemoveRestoreNote(const std::string& data_dir);
// A restore that died while it replaced the store left the note and no store: going on would begin
// an empty one. kInvalidConfig, with what to do.
Result<void> RefuseHalfRestored(const std::string& data_dir, const std::string& store_path);

}  // namespace spillway
