#pragma once

#include <cstdint>
#include <string>

#include "common/nats_bus.h"
#include "controlplane/api/admin_server.h"
#include "controlplane/publish/publisher.h"

namespace spillway {

inline constexpr const char* kControlPlaneProgram = "spillway-controlplane";

// The command line of spillway-controlplane, checked.
struct ControlPlaneOptions {
  api::AdminServerOptions admin;
  std::string ops_listen = "127.0.0.1:7071";
  std::string data_dir = "spillway-controlplane-data";
  std::string backup_dir;       // never empty behind ParseControlPlaneOptions
  int64_t backup_every_ms = 0;  // 0: only when asked
  int64_t backups_kept = 7;     // of those made by itself
  NatsOptions nats;
  std::string signing_key_file;
  std::string seal_key_file;
  std::string admin_token_file;
  std::string port_file;  // empty: none is written
  std::string log_level = "info";
  int64_t drain_timeout_ms = 10'000;
  int64_t usage_retention_days = 90;
  int64_t store_bytes_max = 0;  // 0: no cap
  StreamLimits streams;
  RestoreChoice restore_choice = RestoreChoice::kAsk;

  // Offline work on the data-dir instead of serving.
  std::string restore_backup;  // a backup's folder
  bool new_admin_token = false;

  std::string StorePath() const { return data_dir + "/store"; }
};

// Prints help or a bad flag's line and exits as common/settings.h says; reads the NATS password.
ControlPlaneOptions ParseControlPlaneOptions(int argc, char** argv);

}  // namespace spillway
