#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "controlplane/cli/failure.h"

namespace spillway::cli {

class Session;

// --name VALUE, or a switch. The target must live as long as the command (Command::values).
struct Flag {
  std::string names;  // "-f,--file"
  // "NAME"; empty: a switch. PATH completes to files, "PATH..." takes several, "NAME,..." is split
  // at commas. A list may be repeated.
  std::string value;
  std::string help;
  std::variant<bool*, std::string*, std::vector<std::string>*, int64_t*> target;
  std::vector<std::string> choices = {};  // empty: anything
  bool other_values = false;              // the choices are what shells offer, not all there is
};

// A value by its position.
struct Argument {
  std::string name;
  std::string help;
  std::variant<std::string*, int64_t*> target;
  bool required = true;
  std::vector<std::string> choices = {};
};

struct Example {
  std::string line;  // without "spillway "
  std::string meaning;
};

// One word of the command line: a noun with verbs, or something that runs, or both. The parser, the
// help and the completion scripts are made from one tree of these.
struct Command {
  std::string name;
  std::string summary;
  std::vector<Argument> arguments = {};
  std::vector<Flag> flags = {};
  std::vector<Example> examples = {};
  std::vector<Command> verbs = {};
  std::function<Answer<int>(Session&)> run = {};  // empty: needs a verb
  bool csv = false;                               // it knows -o csv
  std::shared_ptr<void> values =
      {};  // what flags and arguments point to; shared: copies of a command
};

}  // namespace spillway::cli
