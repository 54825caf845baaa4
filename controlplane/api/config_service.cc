#include "controlplane/api/config_service.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "common/config/references.h"
#include "common/config/resource.h"
#include "common/ids.h"
#include "common/utc.h"

namespace spillway::api {
namespace {

constexpr int kPageDefault = 1'000;
constexpr int kPageMax = 10'000;

Outcome<std::optional<v1::Resource>> Stored(const ConfigStore::State& state, const EntryKey& key) {
  const auto it = state.find(key);
  if (it == state.end()) return std::nullopt;
  SW_TRY(v1::Resource resource, ParseStored(key, it->second.bytes));
  return resource;
}

std::unexpected<Refusal> RefuseUnknown(v1::Kind kind, const std::string& name) {
  if (kind == v1::KIND_UNSPECIFIED || !v1::Kind_IsValid(kind)) {
    return RefuseInvalid({MakeViolation("", "kind", std::to_string(kind), "must be a known kind")});
  }
  return Refuse(Refusal::Kind::kNotFound, "there is no " + PlaceOf(kind, name));
}

// What no merge can make sense of; the rest is validation's.
std::vector<v1::Violation> MalformedIn(const v1::ApplyRequest& request, std::set<EntryKey>& named) {
  std::vector<v1::Violation> violations;
  for (const v1::Resource& resource : request.resources()) {
    if (resource.kind_case() == v1::Resource::KIND_NOT_SET) {
      violations.push_back(MakeViolation("", "kind", "", "must be set"));
      continue;
    }
    const v1::Kind kind = config::KindOf(resource);
    const std::string& name = config::NameOf(resource);
    if (!IsResourceName(name)) {
      violations.push_back(MakeViolation(
          PlaceOf(kind, name), "name", name,
          "must be 1 to 128 of a-z A-Z 0-9 . _ : / - and begin with a letter or digit"));
    } else if (!named.emplace(kind, name).second) {
      violations.push_back(MakeViolation(PlaceOf(kind, name), "name", name, "must be named once"));
    }
  }
  return violations;
}

Outcome<void> Prune(const ConfigStore::State& state, const std::set<EntryKey>& named,
                    ChangeSet& set) {
  for (const auto& [key, entry] : state) {
    if (named.contains(key)) continue;
    if (key.first == v1::KIND_KEY) {
      SW_TRY(const v1::Resource resource, ParseStored(key, entry.bytes));
      if (!resource.key().declared()) continue;
    }
    set.Remove(key.first, key.second);
  }
  return {};
}

std::string NamesOf(const v1::Provider& provider) {
  std::string names;
  for (const v1::Credential& credential : provider.credentials()) {
    if (!names.empty()) names += ", ";
    names += credential.name();
  }
  return names;
}

Outcome<v1::Credential*> CredentialToSet(v1::Provider& provider, const std::string& wanted) {
  auto& all = *provider.mutable_credentials();
  if (wanted.empty() && all.size() > 1) {
    return RefuseInvalid({MakeViolation(PlaceOf(v1::KIND_PROVIDER, provider.name()), "credential",
                                        "", "must be one of: " + NamesOf(provider))});
  }
  if (wanted.empty() && all.size() == 1) return &all[0];
  const auto it = std::ranges::find_if(all, [&](const auto& c) { return c.name() == wanted; });
  if (it != all.end()) return &*it;
  if (!wanted.empty() && !all.empty()) {
    return Refuse(Refusal::Kind::kNotFound, PlaceOf(v1::KIND_PROVIDER, provider.name()) +
                                                " has no credential \"" + wanted +
                                                "\"; it has: " + NamesOf(provider));
  }
  v1::Credential* added = provider.add_credentials();
  added->set_name(wanted.empty() ? "default" : wanted);
  return added;
}

}  // namespace

Outcome<ChangeSet> ConfigService::PlanApply(const ConfigStore::State& state,
                                            const v1::ApplyRequest& request,
                                            SecretValues values) const {
  if (request.resources().empty()) {
    return RefuseInvalid({MakeViolation("", "resources", "", "must name at least one resource")});
  }
  std::set<EntryKey> named;
  std::vector<v1::Violation> violations = MalformedIn(request, named);
  if (!violations.empty()) return RefuseInvalid(std::move(violations));
  ChangeSet set(state);
  for (const v1::Resource& resource : request.resources()) {
    SW_TRY(const auto stored, Stored(state, {config::KindOf(resource), config::NameOf(resource)}));
    Merged merged = MergeDeclared(resource, stored, seal_key_, values);
    std::ranges::move(merged.violations, std::back_inserter(violations));
    SW_CHECK(set.Put(merged.resource));
  }
  if (!violations.empty()) return RefuseInvalid(std::move(violations));
  if (request.prune()) SW_CHECK(Prune(state, named, set));
  return set;
}

Outcome<v1::ApplyResponse> ConfigService::Apply(const v1::ApplyRequest& request,
                                                const std::string& author) {
  return writer_.Commit({.author = author, .summary = ""}, [&](const ConfigStore::State& state) {
    return PlanApply(state, request, SecretValues::kRequired);
  });
}

Outcome<v1::ApplyResponse> ConfigService::Diff(const v1::ApplyRequest& request) const {
  // A copy: the check of a whole state takes longer than the readers' lock may be held.
  ConfigStore::State state;
  store_.Read([&](const ConfigStore::State& current) { state = current; });
  SW_TRY(ChangeSet set, PlanApply(state, request, SecretValues::kOptional));
  SW_CHECK(set.ResolvePrices());
  v1::ApplyResponse response;
  response.set_revision(store_.position().revision());
  if (set.empty()) return response;
  SW_TRY(std::vector<v1::Violation> violations, set.Check());
  if (!violations.empty()) return RefuseInvalid(std::move(violations));
  for (const v1::Change& change : set.changes()) *response.add_changes() = change;
  return response;
}

Outcome<v1::GetResponse> ConfigService::Get(const v1::GetRequest& request) const {
  const std::optional<StoredEntry> stored = store_.Find(request.kind(), request.name());
  if (!stored) return RefuseUnknown(request.kind(), request.name());
  SW_TRY(v1::Resource resource, ParseStored({request.kind(), request.name()}, stored->bytes));
  v1::GetResponse response;
  *response.mutable_resource() = config::Redacted(std::move(resource));
  response.set_revision(stored->revision);
  return response;
}

Outcome<v1::ListResponse> ConfigService::List(const v1::ListRequest& request) const {
  if (request.kind() == v1::KIND_UNSPECIFIED || !v1::Kind_IsValid(request.kind())) {
    return RefuseUnknown(request.kind(), "");
  }
  const size_t page = static_cast<size_t>(
      request.page_size() <= 0 ? kPageDefault : std::min(request.page_size(), kPageMax));
  std::vector<std::pair<EntryKey, std::string>> rows;
  bool more = false;
  store_.Read([&](const ConfigStore::State& state) {
    auto it = request.page_token().empty()
                  ? state.lower_bound({request.kind(), ""})
                  : state.upper_bound({request.kind(), request.page_token()});
    for (; it != state.end() && it->first.first == request.kind(); ++it) {
      more = rows.size() == page;
      if (more) break;
      rows.emplace_back(it->first, it->second.bytes);
    }
  });
  v1::ListResponse response;
  for (const auto& [key, bytes] : rows) {
    SW_TRY(v1::Resource resource, ParseStored(key, bytes));
    *response.add_resources() = config::Redacted(std::move(resource));
  }
  if (more) response.set_next_page_token(rows.back().first.second);
  return response;
}

Outcome<v1::ApplyResponse> ConfigService::Delete(const v1::DeleteRequest& request,
                                                 const std::string& author) {
  return writer_.Commit(
      {.author = author, .summary = "deleted " + PlaceOf(request.kind(), request.name())},
      [&](const ConfigStore::State& state) -> Outcome<ChangeSet> {
        if (!state.contains({request.kind(), request.name()})) {
          return RefuseUnknown(request.kind(), request.name());
        }
        ChangeSet set(state);
        set.Remove(request.kind(), request.name());
        return set;
      });
}

Outcome<ChangeSet> ConfigService::PlanSecret(const ConfigStore::State& state,
                                             const v1::SetSecretRequest& request,
                                             const std::string& reference) const {
  SW_TRY(std::optional<v1::Resource> stored,
         Stored(state, {v1::KIND_PROVIDER, request.provider()}));
  if (!stored) return RefuseUnknown(v1::KIND_PROVIDER, request.provider());
  v1::Provider& provider = *stored->mutable_provider();
  SW_TRY(v1::Credential* const credential, CredentialToSet(provider, request.credential()));
  ChangeSet set(state);
  const bool changed = SealInto(*credential, provider.name(), request.value(), seal_key_);
  // The same value again under no new reference changes nothing, as with files.
  if (changed || !request.reference().empty()) {
    credential->mutable_api_key()->set_reference(reference);
  }
  SW_CHECK(set.Put(*stored));
  return set;
}

Outcome<v1::ApplyResponse> ConfigService::SetSecret(const v1::SetSecretRequest& request,
                                                    const std::string& author) {
  if (const Result<void> good = config::CheckCredentialText(request.value()); !good) {
    return RefuseInvalid({MakeViolation(PlaceOf(v1::KIND_PROVIDER, request.provider()), "value", "",
                                        good.error().message)});
  }
  const std::string reference =
      request.reference().empty()
          ? std::string(kSetByCommand) + author + " on " + FormatUtc(clock_.WallMs()).substr(0, 10)
          : request.reference();
  return writer_.Commit(
      {.author = author,
       .summary = "set a secret of " + PlaceOf(v1::KIND_PROVIDER, request.provider())},
      [&](const ConfigStore::State& state) { return PlanSecret(state, request, reference); });
}

}  // namespace spillway::api
