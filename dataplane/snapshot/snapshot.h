#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
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
  bool unpriced = false;          // allowed without a price: calls cost 0 and are listed
  int64_t output_tokens_max = 0;  // of one call; 0: not known
};

struct TargetSpec {
  std::shared_ptr<const ModelSpec> model;
  int64_t timeout_ms = 0;  // 0: the provider's total
};

// What a rate limit does with a request that it holds back.
struct LimitActionSpec {
  enum class Action : uint8_t { kReject, kQueue, kDowngrade };
  Action action = Action::kReject;
  int64_t deadline_ms = 0;
  std::string to;
};

// What a client may name in "model": a route, or a model by its own name (one target).
struct RouteSpec {
  std::string name;
  bool is_model = false;            // addressed by the model's own name
  std::vector<TargetSpec> targets;  // in order, fallbacks flattened behind them, no duplicates
  int attempts_max = 3;
  LimitActionSpec limit_action;
};

// Who calls and for what: what scopes match and attribution records. An empty text matches no scope
// that names it. Views, valid during the call.
struct Facts {
  std::string_view organization, team, user, key, feature, route, model, provider;
  std::span<const std::pair<std::string, std::string>> tags = {};  // sorted by name
};

// Whose calls a budget or limit is about: every text that is set must be equal.
struct ScopeSpec {
  enum class Dimension : uint8_t {
    kNone,
    kOrganization,
    kTeam,
    kUser,
    kKey,
    kFeature,
    kRoute,
    kModel,
    kProvider,
    kTag
  };
  std::string organization, team, user, key, feature, route, model, provider;
  std::vector<std::pair<std::string, std::string>> tags;  // sorted by name
  Dimension each = Dimension::kNone;  // one account for every value of it; none without a value
  std::string each_tag;

  // Whether it needs to know the target: matched per attempt, not per request.
  bool ByTarget() const {
    return !model.empty() || !provider.empty() || each == Dimension::kModel ||
           each == Dimension::kProvider;
  }
};

struct BudgetSpec {
  std::string name;
  std::string id;
  ScopeSpec scope;
  Nanos limit = 0;  // without the raise
  Nanos raise = 0;
  int64_t raise_until_ms = 0;
  v1::Window window = v1::WINDOW_MONTH;
  int rolling_hours = 0;
  std::string time_zone;
  v1::OnExhausted on_exhausted = v1::ON_EXHAUSTED_REJECT;
  std::string downgrade_to;
  v1::OnPartition on_partition = v1::ON_PARTITION_OPEN;
  bool open_unheard = false;
  v1::OnOverrun on_overrun = v1::ON_OVERRUN_FINISH;
  bool frozen = false;
};

struct RateLimitSpec {
  std::string name;
  ScopeSpec scope;
  int64_t requests = 0, tokens = 0, concurrent = 0;  // 0: no limit
  v1::TokenKind token_kind = v1::TOKEN_KIND_TOTAL;
  int64_t period_ms = 60'000;
};

// One that a request falls under, and for whom: `subject` is the value of its `each`, or empty.
struct BudgetMatch {
  std::shared_ptr<const BudgetSpec> budget;
  std::string subject;
};
struct RateLimitMatch {
  std::shared_ptr<const RateLimitSpec> limit;
  std::string subject;
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
  // Appends what the facts fall under, in the order of names; of those ByTarget only when
  // `by_target` and of the others only when not. Costs by what matches, not by how many there are.
  void MatchBudgets(const Facts& facts, bool by_target, std::vector<BudgetMatch>& out) const;
  void MatchRateLimits(const Facts& facts, bool by_target, std::vector<RateLimitMatch>& out) const;
  int64_t budget_count() const;

  // Building and storage (dataplane/snapshot/build.h): the snapshot module's own.
  const Rep& rep() const { return *rep_; }

 private:
  std::unique_ptr<const Rep> rep_;
};

}  // namespace spillway
