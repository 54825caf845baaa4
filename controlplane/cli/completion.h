#pragma once

#include <string>

#include "controlplane/cli/command.h"

namespace spillway::cli {

// Completion scripts made from the command tree: every word, flag and fixed choice, files where a
// flag wants one.
std::string BashCompletion(const Command& root);
std::string ZshCompletion(const Command& root);

}  // namespace spillway::cli
