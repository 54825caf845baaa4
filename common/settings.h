#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"

namespace spillway {

// The command line of the servers. Every flag --some-name has an environment variable
// SPILLWAY_SOME_NAME and shows its default in --help; "some-name,--other" accepts another name for
// a text or number, and that name's variable when the first one's is not set. The only file that
// reads the environment is settings.cc. (CLI11 stays behind this header: it costs 5 s a translation
// unit.)
class Settings {
 public:
  Settings(std::string program, std::string description);
  ~Settings();

  void Add(std::string_view flag, std::string& value, std::string_view help);
  void Add(std::string_view flag, int64_t& value, std::string_view help);
  void Add(std::string_view flag, bool& value, std::string_view help);
  // Durations: "500ms", "10s", "10m", "2h" -> milliseconds.
  void AddDuration(std::string_view flag, int64_t& value_ms, std::string_view help);
  // Sizes: "64KiB", "32MiB", "1GiB", bytes -> bytes.
  void AddBytes(std::string_view flag, int64_t& value, std::string_view help);

  // Parses; prints help or version and exits 0 for those; one clear line on stderr and exit 2 for a
  // bad flag.
  void ParseOrExit(int argc, char** argv);
  // What ParseOrExit does, for tests: nullopt: go on.
  struct Exit {
    int code = 0;
    std::string text;  // stdout when code is 0, else stderr
  };
  std::optional<Exit> Parse(int argc, const char* const* argv);

 private:
  struct Rep;
  std::unique_ptr<Rep> rep_;
};

// A whole number with its unit; no sign, no fraction. The errors say what is accepted.
Result<int64_t> ParseDurationMs(std::string_view text);
Result<int64_t> ParseBytes(std::string_view text);
// The shortest exact form that parses back: 90000 -> "90s", 65536 -> "64KiB".
std::string FormatDurationMs(int64_t ms);
std::string FormatBytes(int64_t bytes);
// "127.0.0.1:8080", "[::1]:0" -> host and port.
struct HostPort {
  std::string host;
  uint16_t port = 0;
};
Result<HostPort> ParseHostPort(std::string_view text);
// Prints "program: message" on stderr and exits with 2: for bad flags and files at start.
[[noreturn]] void ExitUsage(std::string_view program, std::string_view message);

// The build's version ("0.1.0+<commit>").
std::string_view Version();
// The environment, read in one place; nullopt: unset.
std::optional<std::string> Environment(const char* name);
// Raises RLIMIT_NOFILE to its hard limit.
void RaiseFileLimit();

}  // namespace spillway
