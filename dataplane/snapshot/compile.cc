#include "dataplane/snapshot/compile.h"

#include <algorithm>
#include <cstring>
#include <format>
#include <ranges>
#include <set>
#include <utility>
#include <vector>

#include "common/config/base_url.h"
#include "common/config/prices.h"
#include "common/config/references.h"
#include "common/crypto/sha256.h"
#include "dataplane/snapshot/compile_money.h"
#include "dataplane/snapshot/refusal.h"

namespace spillway {
namespace {

constexpr int kAttemptsDefault = 3;

// Equal for endpoints that may share connections.
uint64_t EndpointId(const ProviderSpec& provider) {
  const std::string text =
      std::format("{}|{}|{}|{}|{}|{}", provider.tls, provider.port, provider.host.size(),
                  provider.host, provider.ca_file.size(), provider.ca_file) +
      "|" + provider.server_name;
  const Sha256Digest digest = Sha256(text);
  uint64_t id = 0;
  std::memcpy(&id, digest.data(), sizeof(id));
  return id;
}

// Empty: declared by a reference alone, whose value is not stored yet.
Result<std::string> ReadSecret(const v1::Provider& provider, const v1::Credential& credential,
                               const SecretRules& rules) {
  const auto refuse = [&](std::string_view why) {
    return Refuse(RefusalClass::kInvalid, std::format("provider/{} credential {}: {}",
                                                      provider.name(), credential.name(), why));
  };
  const v1::Secret& secret = credential.api_key();
  std::string value;
  if (secret.has_sealed()) {
    if (rules.seal_key == nullptr)
      return refuse("its secret is sealed, and there is no seal key here");
    auto unsealed = rules.seal_key->Unseal(
        secret.sealed(), SealPlace("provider", provider.name(), credential.name()));
    if (!unsealed) return refuse("cannot be unsealed: " + unsealed.error().message);
    value = unsealed->Reveal();
  } else if (!secret.plaintext().empty()) {
    if (!rules.plaintext) return refuse("its secret arrived in clear");
    value = secret.plaintext();
  }
  if (value.empty()) return value;
  if (const auto good = config::CheckCredentialText(value); !good)
    return refuse("its secret " + good.error().message);
  return value;
}

void CompileTimeouts(const v1::Timeouts& from, ProviderSpec& to) {
  if (from.connect_ms() > 0) to.connect_timeout_ms = from.connect_ms();
  if (from.first_token_ms() > 0) to.first_token_timeout_ms = from.first_token_ms();
  if (from.idle_ms() > 0) to.idle_timeout_ms = from.idle_ms();
  if (from.total_ms() > 0) to.total_timeout_ms = from.total_ms();
}

// One route's way through its fallbacks, with a stack of its own: a long chain of routes must not
// end this process's. No plan has that many attempts: what lies beyond the limit is never reached.
class Flattening {
 public:
  Flattening(const Models& models, const Routes& routes, const SnapshotLimits& limits)
      : models_(models), routes_(routes), limits_(limits) {}

  Result<std::vector<TargetSpec>> Run(const v1::Route& route) {
    waiting_.push_back({&route, {}});
    while (!waiting_.empty() && !IsFull()) {
      const Step step = waiting_.back();
      waiting_.pop_back();
      if (step.route == nullptr) {
        SW_CHECK(AddModel(step.model, 0));
      } else if (visited_routes_.insert(step.route).second) {
        SW_CHECK(Enter(*step.route));
      }
    }
    return std::move(targets_);
  }

 private:
  struct Step {
    const v1::Route* route;  // nullptr: the model of that name
    std::string_view model;
  };

  bool IsFull() const {
    return static_cast<int64_t>(targets_.size()) >= limits_.route_targets_max ||
           static_cast<int64_t>(visited_routes_.size()) >= limits_.route_fallbacks_max;
  }

  Result<void> Enter(const v1::Route& route) {
    for (const v1::Target& target : route.targets())
      SW_CHECK(AddModel(target.model(), target.timeout_ms()));
    for (const std::string& name : std::views::reverse(route.fallbacks())) {
      const auto other = routes_.find(name);
      waiting_.push_back({other == routes_.end() ? nullptr : other->second, name});
    }
    return {};
  }

  Result<void> AddModel(std::string_view name, int64_t timeout_ms) {
    const auto model = models_.find(std::string(name));
    if (model == models_.end()) {
      return Refuse(RefusalClass::kInvalid,
                    std::format("a route names the unknown model {}", name));
    }
    if (!IsFull() && visited_models_.insert(model->second.get()).second)
      targets_.push_back({.model = model->second, .timeout_ms = timeout_ms});
    return {};
  }

  const Models& models_;
  const Routes& routes_;
  const SnapshotLimits& limits_;
  std::vector<Step> waiting_;
  std::vector<TargetSpec> targets_;
  std::set<const v1::Route*> visited_routes_;
  std::set<const ModelSpec*> visited_models_;
};

}  // namespace

Result<std::shared_ptr<const ProviderSpec>> CompileProvider(const v1::Provider& provider,
                                                            const SecretRules& secrets) {
  auto url = config::ParseBaseUrl(provider.base_url());
  if (!url) {
    return Refuse(RefusalClass::kInvalid,
                  std::format("provider/{} base_url: {}", provider.name(), url.error().message));
  }
  auto spec = std::make_shared<ProviderSpec>();
  spec->name = provider.name();
  spec->dialect =
      provider.dialect() == v1::DIALECT_UNSPECIFIED ? v1::DIALECT_OPENAI : provider.dialect();
  spec->tls = url->tls;
  spec->host = std::move(url->host);
  spec->port = url->port;
  spec->host_header = std::move(url->host_header);
  spec->path_prefix = std::move(url->path_prefix);
  for (const v1::Credential& credential : provider.credentials()) {
    SW_TRY(std::string api_key, ReadSecret(provider, credential, secrets));
    if (api_key.empty()) continue;
    spec->credentials.push_back({.name = credential.name(), .api_key = std::move(api_key)});
  }
  CompileTimeouts(provider.timeouts(), *spec);
  spec->ca_file = provider.tls().ca_file();
  spec->server_name = provider.tls().server_name();
  spec->endpoint_id = EndpointId(*spec);
  return spec;
}

Result<std::shared_ptr<const ModelSpec>> CompileModel(const v1::Model& model,
                                                      const Providers& providers) {
  const auto provider = providers.find(model.provider());
  if (provider == providers.end()) {
    return Refuse(RefusalClass::kInvalid, std::format("model/{} provider: unknown", model.name()));
  }
  auto spec = std::make_shared<ModelSpec>();
  spec->name = model.name();
  spec->upstream_model = model.upstream_model().empty() ? model.name() : model.upstream_model();
  spec->provider = provider->second;
  spec->price = config::PriceOf(model);
  spec->unpriced = spec->price == nullptr;
  spec->output_tokens_max = model.output_tokens_max();
  return spec;
}

std::shared_ptr<const RouteSpec> CompileModelRoute(const std::shared_ptr<const ModelSpec>& model) {
  auto spec = std::make_shared<RouteSpec>();
  spec->name = model->name;
  spec->is_model = true;
  spec->targets.push_back({.model = model, .timeout_ms = 0});
  spec->attempts_max = kAttemptsDefault;
  return spec;
}

Result<std::shared_ptr<const RouteSpec>> CompileRoute(const v1::Route& route, const Models& models,
                                                      const Routes& routes,
                                                      const SnapshotLimits& limits) {
  auto spec = std::make_shared<RouteSpec>();
  spec->name = route.name();
  SW_TRY(spec->targets, Flattening(models, routes, limits).Run(route));
  spec->attempts_max = route.retry().attempts() > 0 ? route.retry().attempts() : kAttemptsDefault;
  spec->limit_action = CompileLimitAction(route.limit_action());
  return spec;
}

}  // namespace spillway
