#include "controlplane/api/merge.h"

#include <algorithm>
#include <utility>

#include "common/config/references.h"
#include "common/secret.h"
#include "controlplane/api/change_set.h"
#include "controlplane/api/refusal.h"

namespace spillway::api {
namespace {

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

// Under a reference that is stored nothing needs to be sent; under another one the stored value
// would be the wrong one.
bool NeedsValue(const v1::Credential& credential, const v1::Credential* stored) {
  const std::string& reference = credential.api_key().reference();
  if (reference.empty()) return false;
  return stored == nullptr || !stored->api_key().has_sealed() ||
         stored->api_key().reference() != reference;
}

// A sealed value that arrives from outside is never taken over: it could be another place's.
void KeepStoredValue(v1::Credential& credential, const v1::Credential* stored) {
  if (credential.has_api_key()) {
    credential.mutable_api_key()->clear_plaintext();
    credential.mutable_api_key()->clear_sealed();
  }
  if (stored == nullptr || !stored->api_key().has_sealed()) return;
  *credential.mutable_api_key()->mutable_sealed() = stored->api_key().sealed();
  if (credential.api_key().reference().empty()) {
    credential.mutable_api_key()->set_reference(stored->api_key().reference());
  }
}

void MergeCredential(v1::Credential& credential, const v1::Credential* stored,
                     const std::string& provider, const SealKey& seal_key, SecretValues values,
                     std::vector<v1::Violation>& violations) {
  const Secret value(credential.api_key().plaintext());
  const bool missing =
      value.empty() && values == SecretValues::kRequired && NeedsValue(credential, stored);
  KeepStoredValue(credential, stored);
  const auto refuse = [&](std::string allowed) {
    violations.push_back(MakeViolation(PlaceOf(v1::KIND_PROVIDER, provider), FieldOf(credential),
                                       credential.api_key().reference(), std::move(allowed)));
  };
  if (missing) {
    refuse(
        "must arrive with its value: `spillway apply` resolves it where it runs, "
        "`spillway secrets set` sets one by hand");
  } else if (!value.empty()) {
    const Result<void> good = config::CheckCredentialText(value.Reveal());
    if (!good) return refuse(good.error().message);
    SealInto(credential, provider, value.Reveal(), seal_key);
  }
}

void KeepSecretsSetByCommand(v1::Provider& provider, const std::optional<v1::Resource>& stored) {
  if (provider.credentials_size() != 0 || !stored) return;
  for (const v1::Credential& credential : stored->provider().credentials()) {
    if (credential.api_key().reference().starts_with(kSetByCommand)) {
      *provider.add_credentials() = credential;
    }
  }
}

void MergeProvider(v1::Provider& provider, const std::optional<v1::Resource>& stored,
                   const SealKey& seal_key, SecretValues values,
                   std::vector<v1::Violation>& violations) {
  for (v1::Credential& credential : *provider.mutable_credentials()) {
    MergeCredential(credential, StoredCredential(stored, credential.name()), provider.name(),
                    seal_key, values, violations);
  }
  KeepSecretsSetByCommand(provider, stored);
}

void MergeKey(v1::Key& key, const std::optional<v1::Resource>& stored,
              std::vector<v1::Violation>& violations) {
  const bool brings_secret =
      !key.secret_reference().empty() || std::ranges::any_of(key.secrets(), [](const auto& secret) {
        return !secret.sha256().empty();
      });
  if (brings_secret) {
    violations.push_back(
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

}  // namespace

bool SealInto(v1::Credential& credential, const std::string& provider, std::string_view value,
              const SealKey& seal_key) {
  const std::string place = SealPlace("provider", provider, credential.name());
  if (credential.api_key().has_sealed()) {
    // A value that cannot be unsealed (the seal key was replaced) is sealed anew.
    const Result<Secret> known = seal_key.Unseal(credential.api_key().sealed(), place);
    if (known && ConstantTimeEquals(known->Reveal(), value)) return false;
  }
  *credential.mutable_api_key()->mutable_sealed() = seal_key.Seal(value, place);
  return true;
}

Merged MergeDeclared(v1::Resource declared, const std::optional<v1::Resource>& stored,
                     const SealKey& seal_key, SecretValues values) {
  Merged merged;
  if (declared.has_provider()) {
    MergeProvider(*declared.mutable_provider(), stored, seal_key, values, merged.violations);
  } else if (declared.has_key()) {
    MergeKey(*declared.mutable_key(), stored, merged.violations);
  }
  merged.resource = std::move(declared);
  return merged;
}

}  // namespace spillway::api
