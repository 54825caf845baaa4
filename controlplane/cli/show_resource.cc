#include "controlplane/cli/show_resource.h"

#include <array>
#include <map>

#include "common/money.h"
#include "controlplane/cli/budget_text.h"
#include "controlplane/cli/time_text.h"

namespace spillway::cli {
namespace {

using Cells = std::vector<std::string>;

std::vector<std::string> HeadingsOf(v1::Kind kind) {
  switch (kind) {
    case v1::KIND_PROVIDER:
      return {"NAME", "DIALECT", "BASE URL", "CREDENTIALS"};
    case v1::KIND_MODEL:
      return {"NAME", "PROVIDER", "UPSTREAM MODEL", ">INPUT USD/M", ">OUTPUT USD/M", "PRICE FROM"};
    case v1::KIND_ROUTE:
      return {"NAME", "STRATEGY", "TARGETS", "FALLBACKS"};
    case v1::KIND_TEAM:
      return {"NAME", "ORGANIZATION"};
    case v1::KIND_USER:
      return {"NAME", "TEAM"};
    case v1::KIND_KEY:
      return {"NAME", "STATE", "TEAM", "USER", "PUBLIC ID", "EXPIRES", "DECLARED"};
    case v1::KIND_BUDGET:
      return {"NAME", "SCOPE", ">LIMIT USD", "WINDOW", "ON EXHAUSTED", "ON PARTITION", "STATE"};
    case v1::KIND_RATE_LIMIT:
      return {"NAME", "SCOPE", ">REQUESTS", ">TOKENS", ">CONCURRENT", "PER"};
    case v1::KIND_ALERT_SINK:
      return {"NAME", "KIND", "URL", "SIGNED"};
    case v1::KIND_PRICE_BOOK:
      return {"NAME", "DATED", ">MODELS", "UNKNOWN MODELS"};
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
  const v1::Price& price = model.has_price() ? model.price() : model.resolved_price().price();
  return {model.name(),
          model.provider(),
          model.upstream_model().empty() ? model.name() : model.upstream_model(),
          price.has_input() ? FormatUsd(price.input()) : "",
          price.has_output() ? FormatUsd(price.output()) : "",
          model.has_price() ? "model" : model.resolved_price().source()};
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

std::string CountText(int64_t count) { return count == 0 ? std::string() : Grouped(count); }

std::string OnExhaustedText(const v1::Budget& budget) {
  switch (budget.on_exhausted()) {
    case v1::ON_EXHAUSTED_DOWNGRADE:
      return "downgrade to " + budget.downgrade_to();
    case v1::ON_EXHAUSTED_WARN:
      return "warn";
    default:
      return "reject";
  }
}

std::string OnPartitionText(const v1::Budget& budget) {
  switch (budget.on_partition()) {
    case v1::ON_PARTITION_LEASED:
      return "leased";
    case v1::ON_PARTITION_CLOSED:
      return "closed";
    default:
      return "open";
  }
}

std::string StateText(const v1::Budget& budget, int64_t now_ms) {
  if (budget.frozen()) return "frozen";
  if (budget.raise_nanos() == 0 || budget.raise_until_ms() <= now_ms) return "active";
  return "raised by " + FormatUsd(budget.raise_nanos()) + " until " +
         MomentText(budget.raise_until_ms());
}

Cells RowOf(const v1::Budget& budget, int64_t now_ms) {
  return {budget.name(),
          ScopeText(budget.scope()),
          FormatUsd(budget.limit_nanos()),
          WindowText(budget),
          OnExhaustedText(budget),
          OnPartitionText(budget),
          StateText(budget, now_ms)};
}

Cells RowOf(const v1::RateLimit& limit) {
  constexpr std::array<const char*, 5> kPeriods = {"", "second", "minute", "hour", "day"};
  std::string tokens = CountText(limit.tokens());
  if (limit.token_kind() == v1::TOKEN_KIND_INPUT) tokens += " input";
  if (limit.token_kind() == v1::TOKEN_KIND_OUTPUT) tokens += " output";
  const auto per = static_cast<size_t>(limit.per());
  return {limit.name(), ScopeText(limit.scope()),      CountText(limit.requests()),
          tokens,       CountText(limit.concurrent()), per < kPeriods.size() ? kPeriods[per] : ""};
}

Cells RowOf(const v1::AlertSink& sink) {
  return {sink.name(), sink.kind() == v1::AlertSink::KIND_SLACK ? "slack" : "webhook",
          sink.url().reference(), sink.has_signing_secret() ? "yes" : "no"};
}

Cells RowOf(const v1::PriceBook& book) {
  std::string unknown;
  if (book.unknown() == v1::UNKNOWN_PRICE_REFUSE) unknown = "refuse";
  if (book.unknown() == v1::UNKNOWN_PRICE_ALLOW) unknown = "allow";
  if (book.unknown() == v1::UNKNOWN_PRICE_DEFAULT)
    unknown = "default: " + FormatUsd(book.default_price().input()) + " in, " +
              FormatUsd(book.default_price().output()) + " out";
  return {book.name(), book.dated(), Grouped(book.models_size()), unknown};
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
    case v1::Resource::kBudget:
      return RowOf(resource.budget(), now_ms);
    case v1::Resource::kRateLimit:
      return RowOf(resource.rate_limit());
    case v1::Resource::kAlertSink:
      return RowOf(resource.alert_sink());
    case v1::Resource::kPriceBook:
      return RowOf(resource.price_book());
    case v1::Resource::KIND_NOT_SET:
      break;
  }
  return {};
}

}  // namespace

std::string ScopeText(const v1::Scope& scope) {
  Cells parts;
  const auto add = [&parts](const std::string& name, const std::string& value) {
    if (!value.empty()) parts.push_back(name + "=" + value);
  };
  add("organization", scope.organization());
  add("team", scope.team());
  add("user", scope.user());
  add("key", scope.key());
  add("feature", scope.feature());
  add("route", scope.route());
  add("model", scope.model());
  add("provider", scope.provider());
  const std::map<std::string, std::string> tags(scope.tags().begin(), scope.tags().end());
  for (const auto& [name, value] : tags) add("tag:" + name, value);
  if (!scope.each().empty()) parts.push_back("each " + scope.each());
  return parts.empty() ? "everything" : Joined(parts, ", ");
}

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
