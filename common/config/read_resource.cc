#include "common/config/read_resource.h"

#include <format>

#include "common/config/read_kinds.h"
#include "common/config/resource.h"
#include "common/ids.h"

namespace spillway::config {
namespace {

template <typename Message>
void ReadNamed(Section& section, std::string name, Message& message) {
  section.Find("name");
  message.set_name(std::move(name));
  Read(section, message);
  section.Finish();
}

void ReadKind(v1::Kind kind, Section& section, std::string name, v1::Resource& resource) {
  switch (kind) {
    case v1::KIND_PROVIDER:
      return ReadNamed(section, std::move(name), *resource.mutable_provider());
    case v1::KIND_MODEL:
      return ReadNamed(section, std::move(name), *resource.mutable_model());
    case v1::KIND_ROUTE:
      return ReadNamed(section, std::move(name), *resource.mutable_route());
    case v1::KIND_ORGANIZATION:
      return ReadNamed(section, std::move(name), *resource.mutable_organization());
    case v1::KIND_TEAM:
      return ReadNamed(section, std::move(name), *resource.mutable_team());
    case v1::KIND_USER:
      return ReadNamed(section, std::move(name), *resource.mutable_user());
    case v1::KIND_KEY:
      return ReadNamed(section, std::move(name), *resource.mutable_key());
    case v1::KIND_BUDGET:
      return ReadNamed(section, std::move(name), *resource.mutable_budget());
    case v1::KIND_RATE_LIMIT:
      return ReadNamed(section, std::move(name), *resource.mutable_rate_limit());
    case v1::KIND_ALERT_SINK:
      return ReadNamed(section, std::move(name), *resource.mutable_alert_sink());
    case v1::KIND_PRICE_BOOK:
      return ReadNamed(section, std::move(name), *resource.mutable_price_book());
    default:
      return;
  }
}

}  // namespace

std::optional<v1::Resource> ReadResource(v1::Kind kind, const YamlNode& node, size_t index,
                                         Reading& reading) {
  const std::string numbered = std::format("{}s[{}]", NameOf(kind), index);
  if (node.type != YamlNode::Type::kMap) {
    reading.violations.Add(numbered, "", "",
                           std::format("must be a map of fields ({})", reading.PlaceOf(node)));
    return std::nullopt;
  }
  Section unnamed(reading, node, numbered);
  auto name = unnamed.Text("name");
  if (!name || !IsResourceName(*name)) {
    unnamed.Refuse("name", name.value_or(""),
                   "is required: 1 to 128 letters, digits and ._:/- that begin with a letter or "
                   "digit");
    return std::nullopt;
  }
  Section section(reading, node, std::format("{}/{}", NameOf(kind), *name));
  v1::Resource resource;
  ReadKind(kind, section, *std::move(name), resource);
  return resource;
}

}  // namespace spillway::config
