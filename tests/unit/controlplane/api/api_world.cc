#include "tests/unit/controlplane/api/api_world.h"

#include <algorithm>
#include <catch2/catch_all.hpp>

#include "common/config/load.h"
#include "common/config/resource.h"

namespace spillway::api {

ApiWorld::ApiWorld() {
  auto opened = Store::Open({.path = folder.Path("db")});
  REQUIRE(opened.has_value());
  database = std::move(*opened);
  auto configured = ConfigStore::Open(*database);
  REQUIRE(configured.has_value());
  store = std::move(*configured);
  auto key = SealKey::FromFile(folder.Path("seal.key"), /*create=*/true);
  REQUIRE(key.has_value());
  seal_key = std::move(*key);
  writer = std::make_unique<ConfigWriter>(
      *store, clock, [] { return int64_t{1}; },
      [this]() -> Result<void> {
        if (closed) return Fail(ErrorCode::kUnavailable, *closed);
        return {};
      });
  config = std::make_unique<ConfigService>(*store, *writer, *seal_key, clock);
  keys = std::make_unique<KeyService>(*writer, clock);
  history = std::make_unique<HistoryService>(*store, *writer);
}

v1::ApplyRequest ApiWorld::Request(std::string_view yaml, bool prune, std::string_view secret) {
  const config::LoadOptions options{
      .references = [&](std::string_view, std::string_view name) -> Result<std::string> {
        return secret.empty() ? "value-of-" + std::string(name) : std::string(secret);
      }};
  const config::LoadResult loaded = config::LoadYaml(yaml, "test.yaml", options);
  for (const v1::Violation& violation : loaded.violations) {
    FAIL(violation.ShortDebugString());
  }
  v1::ApplyRequest request;
  for (const v1::Resource& resource : loaded.config.resources) {
    *request.add_resources() = resource;
  }
  request.set_prune(prune);
  return request;
}

Outcome<v1::ApplyResponse> ApiWorld::Apply(std::string_view yaml, bool prune,
                                           std::string_view secret) {
  return config->Apply(Request(yaml, prune, secret), "tester");
}

int64_t ApiWorld::MustApply(std::string_view yaml, bool prune, std::string_view secret) {
  const auto response = Apply(yaml, prune, secret);
  if (!response) FAIL(response.error().message);
  return response->revision();
}

Outcome<v1::ApplyResponse> ApiWorld::RollBack(int64_t revision) {
  v1::RollbackRequest request;
  request.set_revision(revision);
  return history->Rollback(request, "tester");
}

v1::Resource ApiWorld::Stored(v1::Kind kind, const std::string& name) const {
  const auto entry = store->Find(kind, name);
  REQUIRE(entry.has_value());
  auto resource = ParseStored({kind, name}, entry->bytes);
  REQUIRE(resource.has_value());
  return *std::move(resource);
}

bool ApiWorld::Has(v1::Kind kind, const std::string& name) const {
  return store->Find(kind, name).has_value();
}

std::string ApiWorld::Unsealed(const std::string& provider, int credential) const {
  const v1::Resource resource = Stored(v1::KIND_PROVIDER, provider);
  REQUIRE(resource.provider().credentials_size() > credential);
  const v1::Credential& found = resource.provider().credentials(credential);
  CHECK(found.api_key().plaintext().empty());
  const auto value =
      seal_key->Unseal(found.api_key().sealed(), SealPlace("provider", provider, found.name()));
  REQUIRE(value.has_value());
  return std::string(value->Reveal());
}

v1::KeySecretResponse ApiWorld::MustCreateKey(const std::string& name, const std::string& team) {
  v1::CreateKeyRequest request;
  request.mutable_key()->set_name(name);
  request.mutable_key()->set_team(team);
  auto response = keys->Create(request, "tester");
  if (!response) FAIL(response.error().message);
  return *std::move(response);
}

std::vector<std::string> ChangesOf(const v1::ApplyResponse& response) {
  std::vector<std::string> changes;
  for (const v1::Change& change : response.changes()) {
    const std::string action = change.action() == v1::Change::ACTION_CREATE   ? "create "
                               : change.action() == v1::Change::ACTION_UPDATE ? "update "
                                                                              : "delete ";
    changes.push_back(action + PlaceOf(change.kind(), change.name()));
  }
  std::ranges::sort(changes);
  return changes;
}

}  // namespace spillway::api
