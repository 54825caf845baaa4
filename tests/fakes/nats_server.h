#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "common/nats_bus.h"

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
  std::string folder_;
  int port_ = 0;
  pid_t pid_ = -1;
};

// A folder for one test, gone with it.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace spillway
