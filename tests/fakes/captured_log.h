#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "tests/fakes/temp_folder.h"

namespace spillway {

// What the process writes on stderr while `run` runs.
inline std::string CapturedLog(const std::function<void()>& run) {
  const TempFolder folder;
  const int saved = ::dup(STDERR_FILENO);
  const int file = ::open(folder.Path("log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::dup2(file, STDERR_FILENO);
  run();
  ::dup2(saved, STDERR_FILENO);
  ::close(saved);
  ::close(file);
  return folder.Read("log");
}

}  // namespace spillway
