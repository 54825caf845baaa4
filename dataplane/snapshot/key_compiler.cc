#include "dataplane/snapshot/key_compiler.h"

#include <algorithm>
#include <format>
#include <utility>

#include "common/ids.h"
#include "dataplane/snapshot/entry_list.h"
#include "dataplane/snapshot/refusal.h"

namespace spillway {
namespace {

std::unexpected<Error> Bad(std::string_view name, std::string_view what) {
  return Refuse(RefusalClass::kInvalid, std::format("{} {}", Describe(v1::KIND_KEY, name), what));
}

std::vector<std::string> Sorted(const google::protobuf::RepeatedPtrField<std::string>& names) {
  std::vector<std::string> sorted(names.begin(), names.end());
  std::ranges::sort(sorted);
  return sorted;
}

// Spend of a user's key is the user's team's, and a team's is its organization's.
std::string TeamOf(const v1::Key& key, const Tables& tables) {
  return key.team().empty() ? std::string(tables.TeamOf(key.user())) : key.team();
}

std::string OrganizationOf(const v1::Key& key, const std::string& team, const Tables& tables) {
  return key.organization().empty() ? std::string(tables.OrganizationOf(team)) : key.organization();
}

}  // namespace

Result<void> KeyCompiler::Check(std::string_view name) const {
  if (!IsResourceName(name)) return Bad(name, "cannot be used");
  if (key_.name() != name) return Bad(name, "holds a key of another name");
  const auto missing = [&](v1::Kind kind, const std::string& other) {
    return !other.empty() && !tables_.Has(kind, other);
  };
  if (missing(v1::KIND_TEAM, key_.team())) return Bad(name, "team: unknown team " + key_.team());
  if (missing(v1::KIND_USER, key_.user())) return Bad(name, "user: unknown user " + key_.user());
  if (missing(v1::KIND_ORGANIZATION, key_.organization()))
    return Bad(name, "organization: unknown organization " + key_.organization());
  for (const std::string& route : key_.routes())
    if (!tables_.Has(v1::KIND_ROUTE, route)) return Bad(name, "routes: unknown route " + route);
  for (const std::string& model : key_.models())
    if (!tables_.Has(v1::KIND_MODEL, model)) return Bad(name, "models: unknown model " + model);
  for (const v1::KeySecret& secret : key_.secrets())
    if (secret.sha256().size() != sizeof(Sha256Digest))
      return Bad(name, "secrets: a digest has not 32 bytes");
  return {};
}

Result<CompiledKey> KeyCompiler::Compile(std::string_view name, std::string_view bytes) {
  if (!key_.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return Bad(name, "cannot be read");
  SW_CHECK(Check(name));
  auto record = std::make_shared<KeyRecord>();
  std::string team = TeamOf(key_, tables_);
  std::string organization = OrganizationOf(key_, team, tables_);
  record->spec = {.name = key_.name(),
                  .organization = std::move(organization),
                  .team = std::move(team),
                  .user = key_.user(),
                  .feature = key_.feature(),
                  .routes = Sorted(key_.routes()),
                  .models = Sorted(key_.models()),
                  .expires_at_ms = key_.expires_at_ms(),
                  .revoked = key_.revoked()};
  record->bytes.assign(bytes);
  CompiledKey compiled{.record = std::move(record), .secrets = {}};
  for (const v1::KeySecret& secret : key_.secrets()) {
    KeySecretSpec& spec = compiled.secrets.emplace_back();
    std::ranges::copy(secret.sha256(), spec.sha256.begin());
    spec.not_after_ms = secret.not_after_ms();
  }
  return compiled;
}

}  // namespace spillway
