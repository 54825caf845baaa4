#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"

namespace spillway {

// Small files that must survive kill -9 and power loss. Stateless; any thread. Errors: kUnavailable
// with the path and what the system said.

// Writes a temporary file beside `path`, syncs it, renames it over `path` and syncs the folder.
Result<void> WriteDurably(const std::string& path, std::string_view bytes);
// The whole file; kNotFound when absent; kCorrupt above `bytes_max`.
Result<std::string> ReadWhole(const std::string& path,
                              size_t bytes_max = size_t{256} * 1024 * 1024);
Result<void> SyncFolder(const std::string& path);
Result<void> MakeFolder(const std::string& path);
// Names of the entries, sorted; empty when the folder is absent.
std::vector<std::string> ListFolder(const std::string& path);

// "what PATH: reason of errno" as kUnavailable.
std::unexpected<Error> FailErrno(std::string_view what, const std::string& path);

}  // namespace spillway
