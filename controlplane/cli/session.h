#pragma once

#include <cstdint>
#include <istream>
#include <memory>
#include <ostream>
#include <string>

#include "common/clock.h"
#include "controlplane/cli/client.h"
#include "controlplane/cli/command.h"
#include "controlplane/cli/connection.h"
#include "controlplane/cli/failure.h"
#include "controlplane/cli/table.h"
#include "controlplane/cli/value.h"

namespace spillway::cli {

// What the program has of the world; tests pass their own.
struct Surroundings {
  std::istream& in;
  std::ostream& out;  // results
  std::ostream& err;  // errors, progress, hints
  bool in_is_terminal = false;
  ReadEnvironment environment;
  const Clock& clock;
};

enum class Format : uint8_t { kTable, kJson, kYaml, kCsv };

// The flags that every command takes.
struct GlobalFlags {
  std::string format = "table";
  ConnectionFlags connection;
};

// One run of one command. Connects when a command first asks for the client.
class Session {
 public:
  Session(Surroundings& surroundings, const GlobalFlags& flags, const Command& root)
      : io_(surroundings), flags_(flags), root_(root) {}

  Answer<Client*> client();
  Format format() const;
  bool for_people() const { return format() == Format::kTable; }

  // For programs: -o json or yaml.
  void Print(const Value& value);
  // For people: a table, or a word about its absence on stderr.
  void Print(const Table& table, std::string_view when_empty);
  // Lists, either way.
  void PrintItems(Value::List items, const Table& table, std::string_view when_empty);

  std::ostream& out() { return io_.out; }
  std::ostream& err() { return io_.err; }
  std::istream& in() { return io_.in; }
  bool in_is_terminal() const { return io_.in_is_terminal; }
  const ReadEnvironment& environment() const { return io_.environment; }
  int64_t now_ms() const { return io_.clock.WallMs(); }
  const Command& root() const { return root_; }

 private:
  Surroundings& io_;
  const GlobalFlags& flags_;
  const Command& root_;
  std::unique_ptr<Client> client_;
};

}  // namespace spillway::cli
