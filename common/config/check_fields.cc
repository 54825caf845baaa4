// What one resource shows by itself: names, required fields, ranges, forms.
#include <algorithm>
#include <format>
#include <initializer_list>

#include "common/config/base_url.h"
#include "common/config/findings.h"
#include "common/config/host.h"
#include "common/config/references.h"
#include "common/config/violations.h"
#include "common/ids.h"
#include "common/money.h"
#include "common/settings.h"
#include "common/utf8.h"

namespace spillway::config {
namespace {

constexpr int64_t kTimeoutMsMax = 86'400'000;
constexpr int32_t kAttemptsMax = 10;
constexpr int kTargetsMax = 64;
constexpr int kCredentialsMax = 64;
constexpr int kAllowedMax = 4096;
constexpr int kSecretsMax = 8;
constexpr Nanos kPriceMax = 1'000'000 * Nanos{1'000'000'000};
constexpr int64_t kYear10000Ms = 253'402'300'800'000;
constexpr size_t kDigestBytes = 32;
constexpr std::string_view kNameRule =
    "must be 1 to 128 letters, digits and ._:/- that begin with a letter or digit";

// Text that is passed on or shown: UTF-8 without control characters, at most `bytes_max`.
bool IsCleanText(std::string_view text, size_t bytes_max) {
  return text.size() <= bytes_max && IsUtf8(text) &&
         std::ranges::all_of(text, [](unsigned char c) { return c >= 0x20 && c != 0x7F; });
}

// The checks of one resource.
class FieldCheck {
 public:
  FieldCheck(size_t index, Findings& findings) : index_(index), findings_(findings) {}

  void Check(const v1::Provider& provider);
  void Check(const v1::Model& model);
  void Check(const v1::Route& route);
  void Check(const v1::Organization& organization) { Name(organization.name()); }
  void Check(const v1::Team& team) { Name(team.name()); }
  void Check(const v1::User& user) { Name(user.name()); }
  void Check(const v1::Key& key);
  void Refuse(std::string field, std::string_view value, std::string allowed) {
    findings_.Add(index_, std::move(field), value, std::move(allowed));
  }

 private:
  void Name(std::string_view name) {
    if (!IsResourceName(name)) Refuse("name", name, std::string(kNameRule));
  }
  void Text(std::string field, std::string_view text, size_t bytes_max) {
    if (IsCleanText(text, bytes_max)) return;
    Refuse(std::move(field), "",
           std::format("must be at most {} bytes of UTF-8 without control characters", bytes_max));
  }
  void Timeout(std::string field, int64_t ms) {
    if (ms >= 0 && ms <= kTimeoutMsMax) return;
    Refuse(std::move(field), FormatDurationMs(ms), "must be from 1ms to 24h");
  }
  void UsdPrice(std::string field, Nanos nanos) {
    if (nanos >= 0 && nanos <= kPriceMax) return;
    Refuse(std::move(field), FormatUsd(nanos), "must be from 0 to 1000000 USD per million tokens");
  }
  void AtMost(std::string field, int count, int count_max) {
    if (count > count_max)
      Refuse(std::move(field), std::to_string(count), std::format("must be at most {}", count_max));
  }

  void BaseUrlOf(const v1::Provider& provider);
  void Tls(const v1::Provider& provider);
  void Credentials(const v1::Provider& provider);
  void ApiKey(const std::string& field, const v1::Secret& secret);
  void KeySecrets(const v1::Key& key);

  size_t index_;
  Findings& findings_;
};

void FieldCheck::Check(const v1::Provider& provider) {
  Name(provider.name());
  if (provider.dialect() != v1::DIALECT_OPENAI)
    Refuse("dialect", "", "is required: this version knows openai");
  BaseUrlOf(provider);
  Tls(provider);
  Credentials(provider);
  Timeout("timeouts.connect", provider.timeouts().connect_ms());
  Timeout("timeouts.first_token", provider.timeouts().first_token_ms());
  Timeout("timeouts.idle", provider.timeouts().idle_ms());
  Timeout("timeouts.total", provider.timeouts().total_ms());
}

void FieldCheck::BaseUrlOf(const v1::Provider& provider) {
  const std::string& url = provider.base_url();
  const auto parsed = ParseBaseUrl(url);
  if (parsed) return;
  // What may hold a password is not repeated.
  const bool showable = !url.contains('@') && !url.contains('?');
  Refuse("base_url", showable ? url : "", parsed.error().message);
}

void FieldCheck::Tls(const v1::Provider& provider) {
  const v1::TlsOptions& tls = provider.tls();
  if (tls.ca_file().empty() && tls.server_name().empty()) return;
  if (!provider.base_url().starts_with("https://"))
    Refuse("tls", "", "needs a base_url that begins with https://");
  Text("tls.ca_file", tls.ca_file(), 4096);
  if (tls.server_name().empty()) return;
  if (const auto name = ParseHost(tls.server_name(), /*bracketed=*/false); !name)
    Refuse("tls.server_name", tls.server_name(), name.error().message);
}

void FieldCheck::Credentials(const v1::Provider& provider) {
  AtMost("credentials", provider.credentials_size(), kCredentialsMax);
  for (int i = 0; i < provider.credentials_size(); ++i) {
    const v1::Credential& credential = provider.credentials(i);
    const std::string field = std::format("credentials[{}]", i);
    if (!IsResourceName(credential.name()))
      Refuse(field + ".name", credential.name(), std::string(kNameRule));
    const auto same = [&](const v1::Credential& c) { return c.name() == credential.name(); };
    if (std::any_of(provider.credentials().begin(), provider.credentials().begin() + i, same))
      Refuse(field + ".name", credential.name(), "must not be used twice in one provider");
    ApiKey(field + ".api_key", credential.api_key());
  }
}

// Three forms are good: a plaintext on its way in, a sealed value, and a reference alone, which
// stands for the value that is stored under it or is resolved later.
void FieldCheck::ApiKey(const std::string& field, const v1::Secret& secret) {
  if (secret.plaintext().empty() && !secret.has_sealed() && secret.reference().empty()) {
    Refuse(field, "", "must not be empty");
    return;
  }
  Text(field + ".reference", secret.reference(), 4096 + 16);
  if (secret.plaintext().empty()) return;
  if (const auto good = CheckCredentialText(secret.plaintext()); !good)
    Refuse(field, secret.reference(), good.error().message);
}

void FieldCheck::Check(const v1::Model& model) {
  Name(model.name());
  if (model.provider().empty()) Refuse("provider", "", "is required: the name of a provider");
  Text("upstream_model", model.upstream_model(), 256);
  const v1::Price& price = model.price();
  if (!price.has_input()) {
    Refuse("price.input", "",
           "is required: USD per million tokens, 0 for a model that costs nothing");
  }
  UsdPrice("price.input", price.input());
  UsdPrice("price.output", price.output());
  UsdPrice("price.cached_input", price.cached_input());
}

void FieldCheck::Check(const v1::Route& route) {
  Name(route.name());
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
}

void FieldCheck::Check(const v1::Key& key) {
  Name(key.name());
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

void FieldCheck::KeySecrets(const v1::Key& key) {
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

void CheckFields(const std::vector<v1::Resource>& resources, Findings& findings) {
  for (size_t i = 0; i < resources.size(); ++i) {
    const v1::Resource& resource = resources[i];
    FieldCheck check(i, findings);
    switch (resource.kind_case()) {
      case v1::Resource::kProvider:
        check.Check(resource.provider());
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
      case v1::Resource::KIND_NOT_SET:
        check.Refuse("", "", "must be a resource of a known kind");
        break;
    }
  }
}

}  // namespace spillway::config
