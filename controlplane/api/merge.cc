#include "controlplane/api/merge.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <utility>

#include "common/config/base_url.h"
#include "common/config/references.h"
#include "common/ids.h"
#include "common/secret.h"
#include "controlplane/api/change_set.h"
#include "controlplane/api/refusal.h"

namespace spillway::api {
namespace {

constexpr size_t kIdDigits = 8;

const v1::Credential* StoredCredential(const std::optional<v1::Resource>& stored,
                                       const std::string& name) {
  if (!stored || !stored->has_provider()) return nullptr;
  for (const v1::Credential& credential : stored->provider().credentials()) {
    if (credential.name() == name) return &credential;
  }
  return nullptr;
}

std::string FieldOf(const v1::Credential& credential) {
  return "credentials[" + credential.name() + "].api_key";
}

// One secret on its way in, and where it belongs.
struct SecretPlace {
  std::string resource;  // "provider/openai"
  std::string field;     // "credentials[main].api_key"
  std::string seal;      // SealPlace(...)
};

// Under a reference that is stored nothing needs to be sent; under another one the stored value
// would be the wrong one.
bool NeedsValue(const v1::Secret& secret, const v1::Secret* stored) {
  if (secret.reference().empty()) return false;
  return stored == nullptr || !stored->has_sealed() || stored->reference() != secret.reference();
}

// A sealed value that arrives from outside is never taken over: it could be another place's.
void KeepStoredValue(v1::Secret& secret, const v1::Secret* stored) {
  secret.clear_plaintext();
  secret.clear_sealed();
  if (stored == nullptr || !stored->has_sealed()) return;
  *secret.mutable_sealed() = stored->sealed();
  if (secret.reference().empty()) secret.set_reference(stored->reference());
}

bool SealValue(v1::Secret& secret, const std::string& place, std::string_view value,
               const SealKey& seal_key) {
  if (secret.has_sealed()) {
    // A value that cannot be unsealed (the seal key was replaced) is sealed anew.
    const Result<Secret> known = seal_key.Unseal(secret.sealed(), place);
    if (known && ConstantTimeEquals(known->Reveal(), value)) return false;
  }
  *secret.mutable_sealed() = seal_key.Seal(value, place);
  return true;
}

// Joins what files say with what is stored; collects what is wrong.
class Merge {
 public:
  Merge(const SealKey& seal_key, SecretValues values, std::vector<v1::Violation>& violations)
      : seal_key_(seal_key), values_(values), violations_(violations) {}

  void MergeSecret(v1::Secret& secret, const v1::Secret* stored, const SecretPlace& place) {
    const Secret value(secret.plaintext());
    const bool missing =
        value.empty() && values_ == SecretValues::kRequired && NeedsValue(secret, stored);
    KeepStoredValue(secret, stored);
    const auto refuse = [&](std::string allowed) {
      violations_.push_back(
          MakeViolation(place.resource, place.field, secret.reference(), std::move(allowed)));
    };
    if (missing) {
      refuse(place.resource.starts_with("provider/")
                 ? "must arrive with its value: `spillway apply` resolves it where it runs, "
                   "`spillway secrets set` sets one by hand"
                 : "must arrive with its value: `spillway apply` resolves it where it runs");
    } else if (!value.empty()) {
      const Result<void> good = config::CheckCredentialText(value.Reveal());
      if (!good) return refuse(good.error().message);
      SealValue(secret, place.seal, value.Reveal(), seal_key_);
    }
  }

  void MergeProvider(v1::Provider& provider, const std::optional<v1::Resource>& stored);
  void MergeAlertSink(v1::AlertSink& sink, const std::optional<v1::Resource>& stored);
  void MergeKey(v1::Key& key, const std::optional<v1::Resource>& stored);

 private:
  const SealKey& seal_key_;
  SecretValues values_;
  std::vector<v1::Violation>& violations_;
};

void KeepSecretsSetByCommand(v1::Provider& provider, const std::optional<v1::Resource>& stored) {
  if (provider.credentials_size() != 0 || !stored) return;
  for (const v1::Credential& credential : stored->provider().credentials()) {
    if (credential.api_key().reference().starts_with(kSetByCommand)) {
      *provider.add_credentials() = credential;
    }
  }
}

void Merge::MergeProvider(v1::Provider& provider, const std::optional<v1::Resource>& stored) {
  for (v1::Credential& credential : *provider.mutable_credentials()) {
    const v1::Credential* known = StoredCredential(stored, credential.name());
    MergeSecret(*credential.mutable_api_key(), known == nullptr ? nullptr : &known->api_key(),
                {.resource = PlaceOf(v1::KIND_PROVIDER, provider.name()),
                 .field = FieldOf(credential),
                 .seal = SealPlace("provider", provider.name(), credential.name())});
  }
  KeepSecretsSetByCommand(provider, stored);
}

// A file that leaves the signing secret out turns signing off: it is no secret's value that is
// kept.
void Merge::MergeAlertSink(v1::AlertSink& sink, const std::optional<v1::Resource>& stored) {
  const v1::AlertSink* known = stored && stored->has_alert_sink() ? &stored->alert_sink() : nullptr;
  const auto place = [&](const char* field) {
    return SecretPlace{.resource = PlaceOf(v1::KIND_ALERT_SINK, sink.name()),
                       .field = field,
                       .seal = SealPlace("alert_sink", sink.name(), field)};
  };
  if (!sink.url().plaintext().empty()) {
    if (const Result<void> good = config::CheckAlertUrl(sink.url().plaintext()); !good) {
      violations_.push_back(MakeViolation(PlaceOf(v1::KIND_ALERT_SINK, sink.name()), "url",
                                          sink.url().reference(), good.error().message));
    }
  }
  MergeSecret(*sink.mutable_url(), known == nullptr ? nullptr : &known->url(), place("url"));
  if (!sink.has_signing_secret()) return;
  const bool signs = known != nullptr && known->has_signing_secret();
  MergeSecret(*sink.mutable_signing_secret(), signs ? &known->signing_secret() : nullptr,
              place("signing_secret"));
}

void Merge::MergeKey(v1::Key& key, const std::optional<v1::Resource>& stored) {
  const bool brings_secret =
      !key.secret_reference().empty() || std::ranges::any_of(key.secrets(), [](const auto& secret) {
        return !secret.sha256().empty();
      });
  if (brings_secret) {
    violations_.push_back(
        MakeViolation(PlaceOf(v1::KIND_KEY, key.name()), "secret", "",
                      "must be absent: `spillway keys create " + key.name() + "` mints it"));
  }
  key.clear_secrets();
  key.clear_secret_reference();
  key.set_declared(true);
  if (!stored || !stored->has_key()) return;
  *key.mutable_secrets() = stored->key().secrets();
  key.set_revoked(key.revoked() || stored->key().revoked());
}

void MergeBudget(v1::Budget& budget, const std::optional<v1::Resource>& stored) {
  const v1::Budget* known = stored && stored->has_budget() ? &stored->budget() : nullptr;
  if (known != nullptr && CountsAlike(budget, *known)) {
    budget.set_id(known->id());
  } else {
    budget.set_id(budget.name() + "-" + FreshId().substr(0, kIdDigits));
  }
  if (known != nullptr) KeepWhatOperatorsDid(budget, *known);
}

}  // namespace

bool SealInto(v1::Credential& credential, const std::string& provider, std::string_view value,
              const SealKey& seal_key) {
  return SealValue(*credential.mutable_api_key(),
                   SealPlace("provider", provider, credential.name()), value, seal_key);
}

bool CountsAlike(const v1::Budget& a, const v1::Budget& b) {
  using google::protobuf::util::MessageDifferencer;
  return MessageDifferencer::Equals(a.scope(), b.scope()) && a.window() == b.window() &&
         a.rolling_hours() == b.rolling_hours() && a.time_zone() == b.time_zone();
}

void KeepWhatOperatorsDid(v1::Budget& budget, const v1::Budget& stored) {
  budget.set_frozen(budget.frozen() || stored.frozen());
  if (budget.raise_nanos() != 0) return;
  budget.set_raise_nanos(stored.raise_nanos());
  budget.set_raise_until_ms(stored.raise_until_ms());
}

Merged MergeDeclared(v1::Resource declared, const std::optional<v1::Resource>& stored,
                     const SealKey& seal_key, SecretValues values) {
  Merged merged;
  Merge merge(seal_key, values, merged.violations);
  if (declared.has_provider()) {
    merge.MergeProvider(*declared.mutable_provider(), stored);
  } else if (declared.has_key()) {
    merge.MergeKey(*declared.mutable_key(), stored);
  } else if (declared.has_alert_sink()) {
    merge.MergeAlertSink(*declared.mutable_alert_sink(), stored);
  } else if (declared.has_budget()) {
    MergeBudget(*declared.mutable_budget(), stored);
  } else if (declared.has_model()) {
    declared.mutable_model()->clear_resolved_price();  // what follows, never what a file says
  }
  merged.resource = std::move(declared);
  return merged;
}

}  // namespace spillway::api
