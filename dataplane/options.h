#pragma once

#include <cstdint>
#include <string>

#include "common/settings.h"
#include "dataplane/metering/journal.h"
#include "dataplane/pipeline/pipeline.h"
#include "dataplane/server/server.h"

namespace spillway {

// The command line of spillway-dataplane, checked. Sizes in bytes, times in milliseconds.
struct DataPlaneOptions {
  ServerOptions server;
  HostPort ops_listen;
  std::string data_dir;
  std::string instance_id;  // empty: the one kept in the data-dir, else random
  std::string config;  // a file or folder: standalone, without NATS; empty: with a control plane

  std::string nats_url;
  std::string nats_user;
  std::string nats_password_file;
  std::string nats_credentials_file;
  std::string nats_tls_ca_file;
  std::string nats_tls_cert_file;
  std::string nats_tls_key_file;
  std::string verify_key_file;  // the control plane's public key
  std::string seal_key_file;    // empty: sealed credentials cannot be opened
  std::string seed_snapshot_file;

  std::string access_log;  // path, "-" or "off"
  std::string port_file;   // empty: none is written
  int64_t journal_bytes = 0;
  JournalFull journal_full = JournalFull::kCount;
  OnDisconnect on_disconnect = OnDisconnect::kCancel;
  int64_t drain_timeout_ms = 0;
  int64_t lease_wait_ms = 0;  // that a request may wait for what others hold of a budget

  std::string usage_dir;  // not empty: print the totals of this folder and exit
};

inline constexpr const char* kProgram = "spillway-dataplane";

// Parses and checks; a bad flag is one line on stderr and exit 2. Sets the log level.
DataPlaneOptions ParseOptionsOrExit(int argc, char** argv);

}  // namespace spillway
