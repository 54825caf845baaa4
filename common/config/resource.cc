#include "common/config/resource.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <format>

namespace spillway::config {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Kinds are numbered as the fields of Resource's oneof.
const FieldDescriptor* FieldOf(v1::Kind kind) {
  const FieldDescriptor* field = v1::Resource::descriptor()->FindFieldByNumber(kind);
  return kind != v1::KIND_UNSPECIFIED ? field : nullptr;
}

constexpr bool IsField(v1::Kind kind, int number) { return static_cast<int>(kind) == number; }
static_assert(IsField(v1::KIND_PROVIDER, v1::Resource::kProviderFieldNumber));
static_assert(IsField(v1::KIND_MODEL, v1::Resource::kModelFieldNumber));
static_assert(IsField(v1::KIND_ROUTE, v1::Resource::kRouteFieldNumber));
static_assert(IsField(v1::KIND_ORGANIZATION, v1::Resource::kOrganizationFieldNumber));
static_assert(IsField(v1::KIND_TEAM, v1::Resource::kTeamFieldNumber));
static_assert(IsField(v1::KIND_USER, v1::Resource::kUserFieldNumber));
static_assert(IsField(v1::KIND_KEY, v1::Resource::kKeyFieldNumber));
static_assert(IsField(v1::KIND_BUDGET, v1::Resource::kBudgetFieldNumber));
static_assert(IsField(v1::KIND_RATE_LIMIT, v1::Resource::kRateLimitFieldNumber));
static_assert(IsField(v1::KIND_ALERT_SINK, v1::Resource::kAlertSinkFieldNumber));
static_assert(IsField(v1::KIND_PRICE_BOOK, v1::Resource::kPriceBookFieldNumber));

// The message inside; nullptr: the resource is of no kind.
const Message* InnerOf(const v1::Resource& resource) {
  const FieldDescriptor* field = FieldOf(KindOf(resource));
  if (field == nullptr) return nullptr;
  return &v1::Resource::GetReflection()->GetMessage(resource, field);
}

std::string SerializedOf(const Message& message) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeWithCachedSizes((message.ByteSizeLong(), &coded));
  coded.Trim();
  return bytes;
}

}  // namespace

std::string_view NameOf(v1::Kind kind) {
  switch (kind) {
    case v1::KIND_PROVIDER:
      return "provider";
    case v1::KIND_MODEL:
      return "model";
    case v1::KIND_ROUTE:
      return "route";
    case v1::KIND_ORGANIZATION:
      return "organization";
    case v1::KIND_TEAM:
      return "team";
    case v1::KIND_USER:
      return "user";
    case v1::KIND_KEY:
      return "key";
    case v1::KIND_BUDGET:
      return "budget";
    case v1::KIND_RATE_LIMIT:
      return "rate_limit";
    case v1::KIND_ALERT_SINK:
      return "alert_sink";
    case v1::KIND_PRICE_BOOK:
      return "price_book";
    default:
      return "unknown";
  }
}

const std::vector<v1::Kind>& AllKinds() {
  static const std::vector<v1::Kind> kinds = {
      v1::KIND_PROVIDER,   v1::KIND_MODEL,      v1::KIND_ROUTE,     v1::KIND_ORGANIZATION,
      v1::KIND_TEAM,       v1::KIND_USER,       v1::KIND_KEY,       v1::KIND_BUDGET,
      v1::KIND_RATE_LIMIT, v1::KIND_ALERT_SINK, v1::KIND_PRICE_BOOK};
  return kinds;
}

std::optional<v1::Kind> KindNamed(std::string_view written) {
  std::string name(written);
  std::ranges::replace(name, '-', '_');
  for (const v1::Kind kind : AllKinds()) {
    const std::string_view singular = NameOf(kind);
    if (name == singular) return kind;
    if (name.size() == singular.size() + 1 && name.starts_with(singular) && name.ends_with('s'))
      return kind;
  }
  return std::nullopt;
}

v1::Kind KindOf(const v1::Resource& resource) {
  const auto number = static_cast<int>(resource.kind_case());
  return v1::Kind_IsValid(number) ? static_cast<v1::Kind>(number) : v1::KIND_UNSPECIFIED;
}

const std::string& NameOf(const v1::Resource& resource) {
  static const std::string nameless;
  switch (resource.kind_case()) {
    case v1::Resource::kProvider:
      return resource.provider().name();
    case v1::Resource::kModel:
      return resource.model().name();
    case v1::Resource::kRoute:
      return resource.route().name();
    case v1::Resource::kOrganization:
      return resource.organization().name();
    case v1::Resource::kTeam:
      return resource.team().name();
    case v1::Resource::kUser:
      return resource.user().name();
    case v1::Resource::kKey:
      return resource.key().name();
    case v1::Resource::kBudget:
      return resource.budget().name();
    case v1::Resource::kRateLimit:
      return resource.rate_limit().name();
    case v1::Resource::kAlertSink:
      return resource.alert_sink().name();
    case v1::Resource::kPriceBook:
      return resource.price_book().name();
    case v1::Resource::KIND_NOT_SET:
      return nameless;
  }
  return nameless;
}

v1::Entry ToEntry(const v1::Resource& resource) {
  v1::Entry entry;
  entry.set_kind(KindOf(resource));
  entry.set_name(NameOf(resource));
  if (const Message* inner = InnerOf(resource)) entry.set_bytes(SerializedOf(*inner));
  return entry;
}

Result<v1::Resource> FromEntry(const v1::Entry& entry) {
  const FieldDescriptor* field = FieldOf(entry.kind());
  if (field == nullptr) {
    return Fail(ErrorCode::kCorrupt,
                std::format("an entry of kind {}, which this version does not know",
                            static_cast<int>(entry.kind())));
  }
  v1::Resource resource;
  Message* inner = v1::Resource::GetReflection()->MutableMessage(&resource, field);
  if (!inner->ParseFromString(entry.bytes()))
    return Fail(ErrorCode::kCorrupt, std::format("a {} that cannot be read", NameOf(entry.kind())));
  if (NameOf(resource) != entry.name())
    return Fail(ErrorCode::kCorrupt, std::format("a {} under a wrong name", NameOf(entry.kind())));
  return resource;
}

namespace {

void Redact(v1::Secret& secret) {
  secret.clear_plaintext();
  secret.clear_sealed();
}

}  // namespace

v1::Resource Redacted(v1::Resource resource) {
  if (resource.has_provider()) {
    for (v1::Credential& credential : *resource.mutable_provider()->mutable_credentials()) {
      if (credential.has_api_key()) Redact(*credential.mutable_api_key());
    }
  } else if (resource.has_key()) {
    for (v1::KeySecret& secret : *resource.mutable_key()->mutable_secrets()) secret.clear_sha256();
  } else if (resource.has_alert_sink()) {
    v1::AlertSink& sink = *resource.mutable_alert_sink();
    if (sink.has_url()) Redact(*sink.mutable_url());
    if (sink.has_signing_secret()) Redact(*sink.mutable_signing_secret());
  }
  return resource;
}

}  // namespace spillway::config
