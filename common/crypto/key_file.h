#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "common/error.h"
#include "common/secret.h"

namespace spillway {

// Small files that hold keys (64 KiB at most). kUnavailable: absent or unreadable, with the path
// and the system's reason.
Result<Secret> ReadKeyFile(const std::string& path);
bool KeyFileExists(const std::string& path);
// Makes the file with `mode`, whole or not at all, also across a crash; never replaces one. false:
// somebody else made it first (then theirs counts).
Result<bool> CreateKeyFile(const std::string& path, std::string_view content, mode_t mode);

}  // namespace spillway
