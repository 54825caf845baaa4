#include "controlplane/options.h"

#include <string_view>
#include <utility>

#include "common/crypto/key_file.h"
#include "common/log.h"
#include "common/settings.h"

namespace spillway {
namespace {

constexpr const char* kDescription =
    "Spillway's control plane: configuration, its history, the ledger and the admin API. Data "
    "planes "
    "keep serving without it.";

// What is written down in other words than it is used in.
struct Raw {
  std::string instance_id = "controlplane";
  std::string nats_password_file;
  int64_t nats_replicas = 1;
  bool adopt = false;
  bool discard = false;
};

void AddServing(Settings& settings, ControlPlaneOptions& options) {
  settings.Add("listen", options.admin.listen, "address of the admin API (gRPC); port 0: any");
  settings.Add("ops-listen", options.ops_listen,
               "address of /livez, /readyz and /metrics (HTTP); port 0: any");
  settings.Add("tls-cert", options.admin.tls_cert_file, "admin API: certificate chain, PEM");
  settings.Add("tls-key", options.admin.tls_key_file, "admin API: private key, PEM");
  settings.Add("tls-client-ca", options.admin.tls_client_ca_file,
               "admin API: clients must show a certificate of this CA");
  settings.Add("port-file", options.port_file,
               R"(writes "grpc PORT" and "ops PORT" here once both answer)");
  settings.AddDuration("drain-timeout", options.drain_timeout_ms,
                       "how long running calls may take after SIGTERM");
  settings.Add("log-level", options.log_level, "debug, info, warn or error");
}

void AddData(Settings& settings, ControlPlaneOptions& options) {
  settings.Add("data-dir", options.data_dir, "folder of the store and, by default, of the keys");
  settings.Add("signing-key", options.signing_key_file,
               "Ed25519 key that signs configuration; made when absent, with PATH.pub beside it "
               "(default DATA-DIR/signing.key)");
  settings.Add("seal-key", options.seal_key_file,
               "key that seals provider secrets, shared with the data planes; made when absent "
               "(default DATA-DIR/seal.key)");
  settings.Add("admin-token-file", options.admin_token_file,
               "the first admin token: taken from here when the file exists, else made and written "
               "here at the first start (default DATA-DIR/admin.token)");
  settings.Add("backup-dir", options.backup_dir,
               "where backups go (default DATA-DIR/backups; another disk is better)");
  settings.AddDuration("backup-every", options.backup_every_ms,
                       "makes backups by itself; usage is then freed only behind them. 0ms: only "
                       "when asked");
  settings.Add("backups-kept", options.backups_kept, "how many automatic backups are kept");
  settings.Add("usage-retention-days", options.usage_retention_days,
               "how long single usage events are kept; totals stay");
  settings.AddBytes("store-bytes-max", options.store_bytes_max, "cap of the store; 0: none");
}

void AddNats(Settings& settings, ControlPlaneOptions& options, Raw& raw) {
  settings.Add("nats", options.nats.url, "NATS servers, separated by commas");
  settings.Add("nats-user", options.nats.user, "user name");
  settings.Add("nats-password-file", raw.nats_password_file, "file with its password");
  settings.Add("nats-credentials,--nats-creds", options.nats.credentials_file,
               "credentials file (JWT and seed) instead of user and password");
  settings.Add("nats-tls-ca", options.nats.tls_ca_file, "trusted CA, PEM; turns TLS on");
  settings.Add("nats-tls-cert", options.nats.tls_cert_file, "client certificate chain, PEM");
  settings.Add("nats-tls-key", options.nats.tls_key_file, "its private key, PEM");
  settings.Add("nats-replicas", raw.nats_replicas, "copies of each stream: 1, 3 or 5");
  settings.AddBytes("usage-stream-bytes", options.streams.usage_bytes_max,
                    "room for usage that is not in the ledger yet");
  settings.AddBytes("config-stream-bytes", options.streams.config_bytes_max,
                    "room for published configuration");
  settings.Add("instance-id", raw.instance_id, "how this process is called on NATS");
}

void AddRecovery(Settings& settings, ControlPlaneOptions& options, Raw& raw) {
  settings.Add("adopt", raw.adopt, "after a restore: take over the later revision found on NATS");
  settings.Add("discard", raw.discard, "after a restore: go on from the store instead");
  settings.Add("restore", options.restore_backup,
               "offline: replaces the store by this backup, and exits");
  settings.Add("new-admin-token", options.new_admin_token,
               "offline: makes an admin token, prints it, and exits");
}

std::string Trimmed(std::string_view text) {
  const auto end = text.find_last_not_of(" \t\r\n");
  return std::string(text.substr(0, end == std::string_view::npos ? 0 : end + 1));
}

void Check(ControlPlaneOptions& options, const Raw& raw) {
  const auto refuse = [](const std::string& why) { ExitUsage(kControlPlaneProgram, why); };
  if (const auto level = log::SetLevel(options.log_level); !level) refuse(level.error().message);
  for (const std::string* address : {&options.admin.listen, &options.ops_listen}) {
    if (const auto parsed = ParseHostPort(*address); !parsed) refuse(parsed.error().message);
  }
  if (options.admin.tls_cert_file.empty() != options.admin.tls_key_file.empty()) {
    refuse("--tls-cert and --tls-key go together");
  }
  if (!options.admin.tls_client_ca_file.empty() && options.admin.tls_cert_file.empty()) {
    refuse("--tls-client-ca needs --tls-cert and --tls-key");
  }
  if (raw.adopt && raw.discard) refuse("--adopt and --discard exclude each other");
  if (raw.nats_replicas != 1 && raw.nats_replicas != 3 && raw.nats_replicas != 5) {
    refuse("--nats-replicas is 1, 3 or 5");
  }
  if (options.usage_retention_days < 1) refuse("--usage-retention-days is 1 or more");
  if (options.backups_kept < 1) refuse("--backups-kept is 1 or more");
  if (!raw.nats_password_file.empty()) {
    const auto password = ReadKeyFile(raw.nats_password_file);
    if (!password) refuse("--nats-password-file: " + password.error().message);
    options.nats.password = Secret(Trimmed(password->Reveal()));
  }
  if (!options.nats.user.empty() && options.nats.password.empty()) {
    refuse("--nats-user needs --nats-password-file");
  }
}

}  // namespace

ControlPlaneOptions ParseControlPlaneOptions(int argc, char** argv) {
  ControlPlaneOptions options;
  Raw raw;
  Settings settings(kControlPlaneProgram, kDescription);
  AddServing(settings, options);
  AddData(settings, options);
  AddNats(settings, options, raw);
  AddRecovery(settings, options, raw);
  settings.ParseOrExit(argc, argv);
  Check(options, raw);
  const auto fill = [&](std::string& path, const char* name) {
    if (path.empty()) path = options.data_dir + name;
  };
  fill(options.signing_key_file, "/signing.key");
  fill(options.seal_key_file, "/seal.key");
  fill(options.admin_token_file, "/admin.token");
  fill(options.backup_dir, "/backups");
  options.nats.client_name = "spillway-controlplane " + raw.instance_id;
  options.nats.inbox_prefix = std::string(kControlPlaneInbox);
  options.nats.stream_replicas = static_cast<int>(raw.nats_replicas);
  if (raw.adopt) options.restore_choice = RestoreChoice::kAdopt;
  if (raw.discard) options.restore_choice = RestoreChoice::kDiscard;
  return options;
}

}  // namespace spillway
