#include <utility>

#include "common/config/read_kinds.h"
#include "common/config/references.h"

namespace spillway::config {
namespace {

std::optional<WrittenSecret> ReadReferenceMap(Section& section, std::string_view field) {
  WrittenSecret secret;
  section.Inner(field, [&](Section& inner) {
    if (auto text = inner.Text("reference")) secret.reference = *std::move(text);
  });
  if (!secret.reference.empty()) return secret;
  section.Refuse(field, "", "must be a text, or {reference: TEXT} for what is already stored");
  return std::nullopt;
}

std::optional<WrittenSecret> ResolveSecret(Section& section, std::string_view field,
                                           std::string text) {
  WrittenSecret secret;
  if (!text.contains("${")) {
    secret = {.reference = std::string(kLiteral), .plaintext = std::move(text)};
  } else if (!ParseReference(text)) {
    section.Refuse(field, "", "a reference must be the whole value: ${env:NAME} or ${file:PATH}");
    return std::nullopt;
  } else {
    secret.reference = std::move(text);
    const ReadReference& read = section.reading().options.references;
    if (!read) return secret;
    auto value = ResolveText(secret.reference, read);
    if (!value) {
      section.Refuse(field, secret.reference, value.error().message);
      return std::nullopt;
    }
    secret.plaintext = *std::move(value);
  }
  if (const auto good = CheckCredentialText(secret.plaintext); !good) {
    section.Refuse(field, secret.reference, good.error().message);
    return std::nullopt;
  }
  return secret;
}

}  // namespace

std::optional<WrittenSecret> ReadSecret(Section& section, std::string_view field) {
  const YamlNode* node = section.Find(field);
  if (node == nullptr) return std::nullopt;
  if (node->type == YamlNode::Type::kMap) return ReadReferenceMap(section, field);
  if (node->type == YamlNode::Type::kScalar) return ResolveSecret(section, field, node->text);
  section.Refuse(field, "", "must not be empty");
  return std::nullopt;
}

void ReadSecretInto(Section& section, std::string_view field, v1::Secret& secret) {
  auto written = ReadSecret(section, field);
  if (!written) return;
  secret.set_reference(std::move(written->reference));
  secret.set_plaintext(std::move(written->plaintext));
}

}  // namespace spillway::config
