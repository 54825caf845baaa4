#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "common/nats_bus.h"
#include "tests/fakes/temp_folder.h"

namespace spillway {

// A real nats-server with deploy/nats.conf, in a folder of its own, for tests. Killed at the end.
// The program: SPILLWAY_NATS_SERVER, else nats-server on the PATH.
class NatsServer {
 public:
  // Where the program is; nullopt: nowhere, and the test is to be skipped.
  static std::optional<std::string> Program();

  NatsServer();  // starts it
  ~NatsServer();
  NatsServer(const NatsServer&) = delete;
  NatsServer& operator=(const NatsServer&) = delete;

  void Start();  // on the same port and folder as before
  void Kill();   // SIGKILL, reaped
  void Pause();  // SIGSTOP
  void Resume();
  void WipeStore();  // while it is down
  std::string url() const;
  NatsOptions ControlPlane() const;
  NatsOptions DataPlane() const;

 private:
  TempFolder folder_;
  int port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace spillway
