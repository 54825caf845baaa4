#include "controlplane/cli/show_resource.h"

#include "common/money.h"
#include "controlplane/cli/time_text.h"

namespace spillway::cli {
namespace {

using Cells = std::vector<std::string>;

std::vector<std::string> HeadingsOf(v1::Kind kind) {
  switch (kind) {
    case v1::KIND_PROVIDER:
      return {"NAME", "DIALECT", "BASE URL", "CREDENTIALS"};
    case v1::KIND_MODEL:
      return {"NAME", "PROVIDER", "UPSTREAM MODEL", ">INPUT USD/M", ">OUTPUT USD/M"};
    case v1::KIND_ROUTE:
      return {"NAME", "STRATEGY", "TARGETS", "FALLBACKS"};
    case v1::KIND_TEAM:
      return {"NAME", "ORGANIZATION"};
    case v1::KIND_USER:
      return {"NAME", "TEAM"};
    case v1::KIND_KEY:
      return {"NAME", "STATE", "TEAM", "USER", "PUBLIC ID", "EXPIRES", "DECLARED"};
    default:
      return {"NAME"};
  }
}

template <typename Range>
std::string Listed(const Range& names) {
  return Joined({names.begin(), names.end()}, ",");
}

Cells RowOf(const v1::Provider& provider) {
  Cells credentials;
  for (const v1::Credential& credential : provider.credentials()) {
    credentials.push_back(credential.name());
  }
  return {provider.name(), provider.dialect() == v1::DIALECT_OPENAI ? "openai" : "",
          provider.base_url(), Joined(credentials, ",")};
}

Cells RowOf(const v1::Model& model) {
  const v1::Price& price = model.price();
  return {model.name(), model.provider(),
          model.upstream_model().empty() ? model.name() : model.upstream_model(),
          price.has_input() ? FormatUsd(price.input()) : "",
          price.has_output() ? FormatUsd(price.output()) : ""};
}

Cells RowOf(const v1::Route& route) {
  Cells targets;
  for (const v1::Target& target : route.targets()) targets.push_back(target.model());
  return {route.name(), "priority", Joined(targets, ","), Listed(route.fallbacks())};
}

Cells RowOf(const v1::Key& key, int64_t now_ms) {
  return {key.name(),
          KeyState(key, now_ms),
          key.team(),
          key.user(),
          key.secrets().empty() ? "" : key.secrets(0).public_id(),
          key.expires_at_ms() == 0 ? "never" : MomentText(key.expires_at_ms()),
          key.declared() ? "yes" : "no"};
}

Cells RowOf(const v1::Resource& resource, int64_t now_ms) {
  switch (resource.kind_case()) {
    case v1::Resource::kProvider:
      return RowOf(resource.provider());
    case v1::Resource::kModel:
      return RowOf(resource.model());
    case v1::Resource::kRoute:
      return RowOf(resource.route());
    case v1::Resource::kOrganization:
      return {resource.organization().name()};
    case v1::Resource::kTeam:
      return {resource.team().name(), resource.team().organization()};
    case v1::Resource::kUser:
      return {resource.user().name(), resource.user().team()};
    case v1::Resource::kKey:
      return RowOf(resource.key(), now_ms);
    case v1::Resource::KIND_NOT_SET:
      break;
  }
  return {};
}

}  // namespace

std::string KeyState(const v1::Key& key, int64_t now_ms) {
  if (key.revoked()) return "revoked";
  if (key.expires_at_ms() != 0 && key.expires_at_ms() <= now_ms) return "expired";
  return key.secrets().empty() ? "no secret" : "active";
}

Table TableOf(v1::Kind kind, const std::vector<v1::Resource>& resources, int64_t now_ms) {
  Table table(HeadingsOf(kind));
  for (const v1::Resource& resource : resources) table.Row(RowOf(resource, now_ms));
  return table;
}

Value KeyValue(const v1::Key& key, int64_t now_ms) {
  Value value = ValueOf(key);
  value.Set("state", KeyState(key, now_ms));
  return value;
}

Value ResourceValue(const v1::Resource& resource, int64_t now_ms) {
  if (resource.has_key()) return KeyValue(resource.key(), now_ms);
  const auto* field = v1::Resource::descriptor()->FindFieldByNumber(resource.kind_case());
  if (field == nullptr) return {};
  return ValueOf(v1::Resource::GetReflection()->GetMessage(resource, field));
}

}  // namespace spillway::cli
