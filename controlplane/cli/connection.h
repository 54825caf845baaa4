#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "common/secret.h"
#include "controlplane/cli/failure.h"

namespace spillway::cli {

// Where the control plane is and who asks, from flags, then the environment, then the file
// ~/.config/spillway/config, then the default 127.0.0.1:7070.
struct Connection {
  std::string address;  // host:port
  bool tls = false;
  std::string ca_file;  // empty: the system's trust store
  std::string cert_file;
  std::string key_file;
  Secret token;  // empty: none was given
};

// As written on the command line; empty: not given.
struct ConnectionFlags {
  std::string admin;
  std::string token;
  std::string token_file;
  std::string ca_file;
  std::string cert;
  std::string key;
  bool insecure_transport = false;
};

using ReadEnvironment = std::function<std::optional<std::string>(const char* name)>;

// Each flag has an environment variable, and the file holds lines of those: NAME=VALUE, with # for
// comments (SPILLWAY_ADMIN, SPILLWAY_ADMIN_TOKEN, SPILLWAY_ADMIN_TOKEN_FILE,
// SPILLWAY_ADMIN_CA_FILE, SPILLWAY_ADMIN_CERT, SPILLWAY_ADMIN_KEY). Refused: a file with a token
// that others can read; a token in clear to another machine, unless insecure_transport.
Answer<Connection> ResolveConnection(const ConnectionFlags& flags,
                                     const ReadEnvironment& environment);

// localhost, 127.0.0.0/8, ::1.
bool IsLoopback(std::string_view host);

}  // namespace spillway::cli
