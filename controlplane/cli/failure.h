#pragma once

#include <expected>
#include <string>
#include <utility>
#include <vector>

#include "common/error.h"
#include "spillway/v1/admin.pb.h"

namespace spillway::cli {

// What the program's exit codes mean. Documented in `spillway --help`; scripts depend on them.
enum ExitCode : int {
  kOk = 0,
  kFailed = 1,  // refused, unreachable, or not active everywhere
  kUsage = 2,   // a command line or a setting that makes no sense
};

// Why a command ends without its result. `message` is one line that says the next step.
struct Failure {
  std::string message;
  ExitCode exit = kFailed;
  std::vector<v1::Violation> violations = {};

  explicit Failure(std::string m, ExitCode code = kFailed) : message(std::move(m)), exit(code) {}
  // Implicit, so that SW_TRY passes errors of the layers below on.
  Failure(Error error)
      : message(std::move(error.message)) {}  // NOLINT(google-explicit-constructor)
};

template <typename T>
using Answer = std::expected<T, Failure>;

inline std::unexpected<Failure> FailUsage(std::string message) {
  return std::unexpected(Failure(std::move(message), kUsage));
}
inline std::unexpected<Failure> FailWith(std::string message) {
  return std::unexpected(Failure(std::move(message)));
}

}  // namespace spillway::cli
