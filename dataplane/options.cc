#include "dataplane/options.h"

#include <utility>

#include "common/log.h"
#include "dataplane/server/memory_limit.h"

namespace spillway {
namespace {

// Texts that stand for something else, and numbers wider than they may be.
struct RawOptions {
  std::string listen = "127.0.0.1:8080";
  std::string ops_listen = "127.0.0.1:9090";
  std::string log_level = "info";
  std::string journal_full = "count";
  std::string on_disconnect = "cancel";
  int64_t threads = 0;
  int64_t header_bytes_max = int64_t{32} * 1024;
};

void SetDefaults(DataPlaneOptions& options) {
  options.server.memory_bytes_max = DefaultMemoryMax();
  options.data_dir = "spillway-data";
  options.nats_url = "nats://127.0.0.1:4222";
  options.access_log = "-";
  options.journal_bytes = int64_t{1} << 30;
  options.drain_timeout_ms = 600'000;
  options.lease_wait_ms = 250;
}

void AddProcessFlags(Settings& settings, DataPlaneOptions& options, RawOptions& raw) {
  settings.Add("--listen", raw.listen, "address and port of traffic; port 0: any free one");
  settings.Add("--ops-listen", raw.ops_listen,
               "address and port of operators: /livez /readyz /metrics /debug/snapshot");
  settings.Add("--data-dir", options.data_dir,
               "folder of the usage journal and of good snapshots; one process each");
  settings.Add("--instance-id", options.instance_id,
               "name of this data plane [random, kept in the data-dir]");
  settings.Add("--log-level", raw.log_level, "debug, info, warn or error");
  settings.Add("--access-log", options.access_log,
               "file of one JSON line per request, - for stdout, or off; opened again on SIGHUP");
  settings.Add("--threads", raw.threads, "threads that carry traffic; 0: one per processor");
  settings.Add("--port-file", options.port_file,
               R"(file to write "traffic PORT" and "ops PORT" to, once listening)");
  settings.Add("--usage", options.usage_dir, "print the usage totals of this data-dir and exit");
  settings.AddDuration("--drain-timeout", options.drain_timeout_ms,
                       "time that streams may take to finish after SIGTERM");
}

void AddConfigFlags(Settings& settings, DataPlaneOptions& options) {
  settings.Add("--config", options.config,
               "configuration file or folder: run alone, without NATS; read again when changed and "
               "on SIGHUP");
  settings.Add("--nats", options.nats_url, "URL of the bus; several with commas");
  settings.Add("--nats-user", options.nats_user, "user at the bus");
  settings.Add("--nats-password-file", options.nats_password_file,
               "file with that user's password");
  settings.Add("--nats-credentials,--nats-creds", options.nats_credentials_file,
               "credentials file (JWT and seed) instead of user and password");
  settings.Add("--nats-tls-ca", options.nats_tls_ca_file, "CA file for TLS to the bus");
  settings.Add("--nats-tls-cert", options.nats_tls_cert_file, "client certificate for the bus");
  settings.Add("--nats-tls-key", options.nats_tls_key_file, "key of that certificate");
  settings.Add("--verify-key", options.verify_key_file,
               "public key (PEM) that configuration must be signed with");
  settings.Add("--seal-key", options.seal_key_file,
               "key file that provider credentials are sealed with");
  settings.Add("--seed-snapshot", options.seed_snapshot_file,
               "snapshot to boot from when neither the bus nor the data-dir has one");
}

void AddLimitFlags(Settings& settings, DataPlaneOptions& options, RawOptions& raw) {
  ServerOptions& server = options.server;
  settings.Add(
      "--tls-cert", server.tls_cert_file,
      "certificate (PEM, with its chain) of the traffic listener; read again when changed");
  settings.Add("--tls-key", server.tls_key_file, "key of that certificate");
  settings.AddBytes("--header-bytes-max", raw.header_bytes_max, "largest request head");
  settings.AddDuration("--header-timeout", server.limits.header_ms,
                       "time for a request head to arrive");
  settings.AddBytes("--body-bytes-max", server.limits.body_bytes_max, "largest request body");
  settings.AddDuration("--idle-timeout", server.limits.idle_ms,
                       "time a connection may wait between requests");
  settings.AddDuration("--write-timeout", server.limits.write_stall_ms,
                       "time a client may read nothing of its answer");
  settings.Add("--connections-max", server.connections_max,
               "client connections; more are refused with 503");
  settings.Add("--connections-per-address", server.connections_per_address,
               "connections of one client address (IPv6: of a /64); more are closed; 0: no limit, "
               "for proxies in front are one address");
  settings.AddBytes(
      "--memory-max", server.memory_bytes_max,
      "resident memory above which new requests are refused, by default four fifths of what the "
      "control group or the machine has; 0: no limit");
  settings.AddBytes("--journal-bytes", options.journal_bytes,
                    "space for usage that the control plane has not confirmed");
  settings.Add("--journal-full", raw.journal_full,
               "when it is used up: count (keep serving, aggregate) or refuse");
  settings.AddDuration(
      "--lease-wait", options.lease_wait_ms,
      "time that a request may wait for money of a budget that other data planes have");
  settings.Add("--on-disconnect", raw.on_disconnect,
               "when a client leaves: cancel the provider's answer, or drain it");
}

HostPort AddressOrExit(std::string_view flag, std::string_view text) {
  Result<HostPort> address = ParseHostPort(text);
  if (!address) ExitUsage(kProgram, std::string(flag) + " " + address.error().message);
  return *std::move(address);
}

void CheckRange(std::string_view flag, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return;
  ExitUsage(kProgram, std::string(flag) + " must lie between " + std::to_string(least) + " and " +
                          std::to_string(most));
}

bool IsSecondOrExit(std::string_view flag, std::string_view value, std::string_view first,
                    std::string_view second) {
  if (value != first && value != second) {
    ExitUsage(kProgram, std::string(flag) + " must be " + std::string(first) + " or " +
                            std::string(second) + ", not \"" + std::string(value) + "\"");
  }
  return value == second;
}

void CheckTogether(DataPlaneOptions& options, const RawOptions& raw) {
  options.server.listen = AddressOrExit("--listen", raw.listen);
  options.ops_listen = AddressOrExit("--ops-listen", raw.ops_listen);
  if (auto set = log::SetLevel(raw.log_level); !set)
    ExitUsage(kProgram, "--log-level: " + set.error().message);
  CheckRange("--threads", raw.threads, 0, 1024);
  options.server.threads = static_cast<int>(raw.threads);
  CheckRange("--header-bytes-max", raw.header_bytes_max, 1024, int64_t{1} << 20);
  options.server.limits.head.bytes_max = static_cast<size_t>(raw.header_bytes_max);
  CheckRange("--connections-max", options.server.connections_max, 1, 10'000'000);
  CheckRange("--connections-per-address", options.server.connections_per_address, 0, 10'000'000);
  CheckRange("--lease-wait", options.lease_wait_ms, 1, 10'000);
  CheckRange("--body-bytes-max", options.server.limits.body_bytes_max, 1, int64_t{1} << 32);
  const bool refuse = IsSecondOrExit("--journal-full", raw.journal_full, "count", "refuse");
  options.journal_full = refuse ? JournalFull::kRefuse : JournalFull::kCount;
  const bool drain = IsSecondOrExit("--on-disconnect", raw.on_disconnect, "cancel", "drain");
  options.on_disconnect = drain ? OnDisconnect::kDrain : OnDisconnect::kCancel;
  if (options.config.empty() && options.verify_key_file.empty() && options.usage_dir.empty()) {
    ExitUsage(
        kProgram,
        "either --config FILE (run alone) or --verify-key FILE (with a control plane) is needed");
  }
  if (options.nats_user.empty() != options.nats_password_file.empty()) {
    ExitUsage(kProgram, "--nats-user and --nats-password-file belong together");
  }
}

}  // namespace

DataPlaneOptions ParseOptionsOrExit(int argc, char** argv) {
  DataPlaneOptions options;
  RawOptions raw;
  SetDefaults(options);
  Settings settings(
      kProgram,
      "Carries LLM traffic: authenticates, routes, fails over, meters and logs every call.");
  AddProcessFlags(settings, options, raw);
  AddConfigFlags(settings, options);
  AddLimitFlags(settings, options, raw);
  settings.ParseOrExit(argc, argv);
  CheckTogether(options, raw);
  return options;
}

}  // namespace spillway
