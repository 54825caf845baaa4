#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/crypto/sha256.h"
#include "common/error.h"
#include "common/money.h"
#include "spillway/v1/resources.pb.h"
#include "spillway/v1/snapshot.pb.h"

namespace spillway {

struct ProviderSpec {
  std::string name;
  v1::DialectKind dialect = v1::DIALECT_OPENAI;
  bool tls = false;
  std::string host;  // a name or an address, without brackets
  uint16_t port = 0;
  std::string host_header;  // "host" or "host:port"
  std::string path_prefix;  // "/v1", no slash at its end; may be empty
  struct Credential {
    std::string name;
    std::string api_key;  // unsealed; never printed
  };
  std::vector<Credential> credentials;
  int64_t connect_timeout_ms = 2'000;
  int64_t first_token_timeout_ms = 30'000;
  int64_t idle_timeout_ms = 60'000;
  int64_t total_timeout_ms = 600'000;
  std::string ca_file;
  std::string server_name;
  uint64_t endpoint_id =
      0;  // equal for equal (tls, host, port, ca_file, server_name): the pool's key
};

struct ModelSpec {
  std::string name;
  std::string upstream_model;
  std::shared_ptr<const ProviderSpec> provider;
  Price price;
};

struct TargetSpec {
  std::shared_ptr<const ModelSpec> model;
  int64_t timeout_ms = 0;  // 0: the provider's total
};

// What a client may name in "model": a route, or a model by its own name (one target).
struct RouteSpec {
  std::string name;
  bool is_model = false;            // addressed by the model's own name
  std::vector<TargetSpec> targets;  // in order, fallbacks flattened behind them, no duplicates
  int attempts_max = 3;
};

struct KeySpec {
  std::string name;
  std::string organization;
  std::string team;
  std::string user;
  std::string feature;
  std::vector<std::string> routes;  // sorted; with models: what it may name; both empty: everything
  std::vector<std::string> models;
  int64_t expires_at_ms = 0;
  bool revoked = false;
};

struct KeyMatch {
  std::shared_ptr<const KeySpec> key;
  int64_t not_after_ms = 0;  // of this secret (rotation grace); 0: none
};

// The configuration that runs: immutable, read by every thread without locks, swapped whole. A
// request pins it until its plan is made; the specs it hands out live on their own. Snapshots of
// one lineage share unchanged shards, so that a delta costs its own size.
class Snapshot {
 public:
  struct Rep;  // dataplane/snapshot/rep.h: the snapshot module's own
  explicit Snapshot(std::unique_ptr<const Rep> rep);
  ~Snapshot();
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  const v1::Position& position() const;
  // nullptr: unknown. The digest comparison is constant-time.
  const KeyMatch* FindKey(const Sha256Digest& sha256) const;
  std::shared_ptr<const RouteSpec> FindRoute(std::string_view name) const;
  // Every route and model, sorted by name, for GET /v1/models.
  const std::vector<std::shared_ptr<const RouteSpec>>& routes() const;
  int64_t key_count() const;

  // Building and storage (dataplane/snapshot/build.h): the snapshot module's own.
  const Rep& rep() const { return *rep_; }

 private:
  std::unique_ptr<const Rep> rep_;
};

}  // namespace spillway
