#pragma once

#include <string>
#include <vector>

#include "controlplane/cli/session.h"

namespace spillway::cli {

// The whole program but its process: `words` without the program's name. Returns the exit code
// (failure.h). Errors are one clear line on surroundings.err.
int RunProgram(const std::vector<std::string>& words, Surroundings& surroundings);

}  // namespace spillway::cli
