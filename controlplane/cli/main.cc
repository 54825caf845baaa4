// spillway: everything an operator does, over gRPC.
#include <absl/synchronization/mutex.h>
#include <unistd.h>

#include <iostream>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/settings.h"
#include "controlplane/cli/program.h"

int main(int argc, char** argv) {
  // gRPC's locks are Abseil's, which Debian builds with a costly deadlock detection.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  spillway::cli::Surroundings surroundings{.in = std::cin,
                                           .out = std::cout,
                                           .err = std::cerr,
                                           .in_is_terminal = ::isatty(STDIN_FILENO) == 1,
                                           .environment = &spillway::Environment,
                                           .clock = spillway::SystemClock()};
  return spillway::cli::RunProgram(std::vector<std::string>(argv + 1, argv + argc), surroundings);
}
