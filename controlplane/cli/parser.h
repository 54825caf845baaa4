#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "controlplane/cli/command.h"

namespace spillway::cli {

// What the command line says: a command to run, or an exit code because help, a version or an error
// was printed instead.
struct Parsed {
  const Command* command = nullptr;
  int exit = kOk;
};

// `words` without the program's name. Writes help to `out` and errors to `err`. parser.cc is the
// only file that knows CLI11 (5 s of compile time).
Parsed Parse(const Command& root, const std::vector<std::string>& words, std::ostream& out,
             std::ostream& err);

}  // namespace spillway::cli
