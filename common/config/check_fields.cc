// What one resource shows by itself: names, required fields, ranges, forms.
#include <algorithm>
#include <format>

#include "common/config/base_url.h"
#include "common/config/field_check.h"
#include "common/config/findings.h"
#include "common/config/host.h"
#include "common/settings.h"

namespace spillway::config {
namespace {

constexpr int32_t kAttemptsMax = 10;
constexpr int kTargetsMax = 64;
constexpr int kCredentialsMax = 64;
constexpr int kAllowedMax = 4096;
constexpr int kSecretsMax = 8;
constexpr int64_t kQueueMsMax = 600'000;
constexpr size_t kDigestBytes = 32;

// The checks of one resource.
class GatewayCheck : public FieldCheck {
 public:
  using FieldCheck::FieldCheck;

  void Check(const v1::Provider& provider, bool as_written);
  void Check(const v1::Model& model);
  void Check(const v1::Route& route);
  void Check(const v1::Organization& organization) { Name("name", organization.name()); }
  void Check(const v1::Team& team) { Name("name", team.name()); }
  void Check(const v1::User& user) { Name("name", user.name()); }
  void Check(const v1::Key& key);

 private:
  void BaseUrlOf(const v1::Provider& provider);
  void Tls(const v1::Provider& provider);
  void Credentials(const v1::Provider& provider);
  void Action(const v1::LimitAction& action);
  void KeySecrets(const v1::Key& key);
};

void GatewayCheck::Check(const v1::Provider& provider, bool as_written) {
  Name("name", provider.name());
  if (provider.dialect() != v1::DIALECT_OPENAI)
    Refuse("dialect", "", "is required: this version knows openai");
  if (!as_written || !provider.base_url().contains("${")) BaseUrlOf(provider);
  Tls(provider);
  Credentials(provider);
  Timeout("timeouts.connect", provider.timeouts().connect_ms());
  Timeout("timeouts.first_token", provider.timeouts().first_token_ms());
  Timeout("timeouts.idle", provider.timeouts().idle_ms());
  Timeout("timeouts.total", provider.timeouts().total_ms());
}

void GatewayCheck::BaseUrlOf(const v1::Provider& provider) {
  const std::string& url = provider.base_url();
  const auto parsed = ParseBaseUrl(url);
  if (!parsed) Refuse("base_url", ShownUrl(url), parsed.error().message);
}

void GatewayCheck::Tls(const v1::Provider& provider) {
  const v1::TlsOptions& tls = provider.tls();
  if (tls.ca_file().empty() && tls.server_name().empty()) return;
  if (!provider.base_url().starts_with("https://") && !provider.base_url().starts_with("${"))
    Refuse("tls", "", "needs a base_url that begins with https://");
  Text("tls.ca_file", tls.ca_file(), 4096);
  if (tls.server_name().empty()) return;
  if (const auto name = ParseHost(tls.server_name(), /*bracketed=*/false); !name)
    Refuse("tls.server_name", tls.server_name(), name.error().message);
}

void GatewayCheck::Credentials(const v1::Provider& provider) {
  AtMost("credentials", provider.credentials_size(), kCredentialsMax);
  for (int i = 0; i < provider.credentials_size(); ++i) {
    const v1::Credential& credential = provider.credentials(i);
    const std::string field = std::format("credentials[{}]", i);
    Name(field + ".name", credential.name());
    const auto same = [&](const v1::Credential& c) { return c.name() == credential.name(); };
    if (std::any_of(provider.credentials().begin(), provider.credentials().begin() + i, same))
      Refuse(field + ".name", credential.name(), "must not be used twice in one provider");
    CheckSecret(field + ".api_key", credential.api_key());
  }
}

void GatewayCheck::Check(const v1::Model& model) {
  Name("name", model.name());
  if (model.provider().empty()) Refuse("provider", "", "is required: the name of a provider");
  Text("upstream_model", model.upstream_model(), 256);
  Range("output_tokens_max", model.output_tokens_max(), 0, kOutputTokensMax);
  // One that is there without `input` is a mistake, never mixed with what is known elsewhere.
  if (model.has_price()) return CheckPrice("price", model.price());
  const v1::ResolvedPrice& resolved = model.resolved_price();
  if (resolved.unpriced()) return;
  if (resolved.has_price()) return CheckPrice("resolved_price", resolved.price());
  Refuse("price.input", "",
         "is required: USD per million tokens, 0 for a model that costs nothing; neither a price "
         "book nor the shipped catalogue knows this one");
}

void GatewayCheck::Check(const v1::Route& route) {
  Name("name", route.name());
  if (!v1::Route::Strategy_IsValid(route.strategy()))
    Refuse("strategy", std::to_string(route.strategy()), "this version knows priority");
  if (route.targets().empty()) Refuse("targets", "", "must name at least one model");
  AtMost("targets", route.targets_size(), kTargetsMax);
  AtMost("fallbacks", route.fallbacks_size(), kTargetsMax);
  for (int i = 0; i < route.targets_size(); ++i) {
    const std::string field = std::format("targets[{}]", i);
    if (route.targets(i).model().empty())
      Refuse(field + ".model", "", "is required: the name of a model");
    Timeout(field + ".timeout", route.targets(i).timeout_ms());
  }
  const int32_t attempts = route.retry().attempts();
  if (attempts < 0 || attempts > kAttemptsMax) {
    Refuse("retry.attempts", std::to_string(attempts),
           std::format("must be from 1 to {}", kAttemptsMax));
  }
  Action(route.limit_action());
}

void GatewayCheck::Action(const v1::LimitAction& action) {
  const bool queue = action.action() == v1::LimitAction::ACTION_QUEUE;
  const bool downgrade = action.action() == v1::LimitAction::ACTION_DOWNGRADE;
  if (!v1::LimitAction::Action_IsValid(action.action()))
    Refuse("limit_action", std::to_string(action.action()), "must be reject, queue or downgrade");
  if (queue && (action.deadline_ms() < 1 || action.deadline_ms() > kQueueMsMax)) {
    Refuse("limit_action.queue.deadline", FormatDurationMs(action.deadline_ms()),
           "must be from 1ms to 10m");
  }
  if (!queue && action.deadline_ms() != 0)
    Refuse("limit_action.queue.deadline", "", "must be absent where nothing is queued");
  if (downgrade && action.to().empty())
    Refuse("limit_action.downgrade.to", "", "is required: a model or route");
  if (!downgrade && !action.to().empty())
    Refuse("limit_action.downgrade.to", action.to(), "must be absent without a downgrade");
}

void GatewayCheck::Check(const v1::Key& key) {
  Name("name", key.name());
  AtMost("routes", key.routes_size(), kAllowedMax);
  AtMost("models", key.models_size(), kAllowedMax);
  Text("feature", key.feature(), 128);
  Text("secret", key.secret_reference(), 4096 + 16);
  if (key.expires_at_ms() < 0 || key.expires_at_ms() >= kYear10000Ms) {
    Refuse("expires", std::to_string(key.expires_at_ms()),
           "must be a date from 1970 to 9999, or absent");
  }
  KeySecrets(key);
}

void GatewayCheck::KeySecrets(const v1::Key& key) {
  AtMost("secrets", key.secrets_size(), kSecretsMax);
  for (int i = 0; i < key.secrets_size(); ++i) {
    const v1::KeySecret& secret = key.secrets(i);
    const std::string field = std::format("secrets[{}]", i);
    if (secret.sha256().size() != kDigestBytes) Refuse(field + ".sha256", "", "must be 32 bytes");
    if (secret.not_after_ms() < 0)
      Refuse(field + ".not_after", std::to_string(secret.not_after_ms()), "must be 0 or a time");
    Text(field + ".public_id", secret.public_id(), 64);
  }
}

}  // namespace

void CheckFields(const std::vector<v1::Resource>& resources, bool as_written, Findings& findings) {
  for (size_t i = 0; i < resources.size(); ++i) {
    const v1::Resource& resource = resources[i];
    GatewayCheck check(i, findings);
    switch (resource.kind_case()) {
      case v1::Resource::kProvider:
        check.Check(resource.provider(), as_written);
        break;
      case v1::Resource::kModel:
        check.Check(resource.model());
        break;
      case v1::Resource::kRoute:
        check.Check(resource.route());
        break;
      case v1::Resource::kOrganization:
        check.Check(resource.organization());
        break;
      case v1::Resource::kTeam:
        check.Check(resource.team());
        break;
      case v1::Resource::kUser:
        check.Check(resource.user());
        break;
      case v1::Resource::kKey:
        check.Check(resource.key());
        break;
      case v1::Resource::kBudget:
      case v1::Resource::kRateLimit:
      case v1::Resource::kAlertSink:
      case v1::Resource::kPriceBook:
        CheckMoneyFields(resource, i, findings);
        break;
      case v1::Resource::KIND_NOT_SET:
        check.Refuse("", "", "must be a resource of a known kind");
        break;
    }
  }
}

}  // namespace spillway::config
