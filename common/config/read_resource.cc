#include "common/config/read_resource.h"

#include <format>

#include "common/config/references.h"
#include "common/config/resource.h"
#include "common/crypto/sha256.h"
#include "common/ids.h"
#include "common/money.h"
#include "common/settings.h"
#include "common/utc.h"

namespace spillway::config {
namespace {

constexpr int64_t kInt32Max = 0x7FFFFFFF;
// A secret that a person types by hand; shorter ones can be guessed.
constexpr size_t kClientSecretBytesMin = 8;

// A secret as a file holds it. `plaintext` stays empty when references are not resolved.
struct WrittenSecret {
  std::string reference;
  std::string plaintext;
};

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

std::optional<WrittenSecret> ReadSecret(Section& section, std::string_view field) {
  const YamlNode* node = section.Find(field);
  if (node == nullptr) return std::nullopt;
  if (node->type == YamlNode::Type::kMap) return ReadReferenceMap(section, field);
  if (node->type == YamlNode::Type::kScalar) return ResolveSecret(section, field, node->text);
  section.Refuse(field, "", "must not be empty");
  return std::nullopt;
}

void ReadCredential(Section& section, v1::Credential& credential) {
  if (auto name = section.Text("name")) credential.set_name(*std::move(name));
  if (!section.Has("api_key")) section.Refuse("api_key", "", "is required");
  auto secret = ReadSecret(section, "api_key");
  if (!secret) return;
  credential.mutable_api_key()->set_reference(std::move(secret->reference));
  credential.mutable_api_key()->set_plaintext(std::move(secret->plaintext));
}

void ReadBaseUrl(Section& section, v1::Provider& provider) {
  auto text = section.Text("base_url");
  if (!text) return;
  const ReadReference& read = section.reading().options.references;
  if (!read || !text->contains("${")) {
    provider.set_base_url(*std::move(text));
    return;
  }
  auto url = ResolveText(*text, read);
  if (url) {
    provider.set_base_url(*std::move(url));
  } else {
    section.Refuse("base_url", *text, url.error().message);
  }
}

// 0 stands for the default in the stored form, so a written 0 would not mean what it says.
std::optional<int64_t> ReadTimeout(Section& section, std::string_view field) {
  const auto ms = section.Parsed(field, &ParseDurationMs);
  if (ms != 0) return ms;
  section.Refuse(field, "0", "must be at least 1ms");
  return std::nullopt;
}

void ReadTimeouts(Section& section, v1::Timeouts& timeouts) {
  if (auto ms = ReadTimeout(section, "connect")) timeouts.set_connect_ms(*ms);
  if (auto ms = ReadTimeout(section, "first_token")) timeouts.set_first_token_ms(*ms);
  if (auto ms = ReadTimeout(section, "idle")) timeouts.set_idle_ms(*ms);
  if (auto ms = ReadTimeout(section, "total")) timeouts.set_total_ms(*ms);
}

void Read(Section& section, v1::Provider& provider) {
  if (auto dialect = section.Text("dialect")) {
    if (*dialect == "openai") {
      provider.set_dialect(v1::DIALECT_OPENAI);
    } else {
      section.Refuse("dialect", *dialect, "this version knows openai");
    }
  }
  ReadBaseUrl(section, provider);
  if (!section.Has("credentials"))
    section.Refuse("credentials", "", "is required; [] for a provider that asks for none");
  section.Each("credentials", [&](Section& s) { ReadCredential(s, *provider.add_credentials()); });
  section.Inner("timeouts", [&](Section& s) { ReadTimeouts(s, *provider.mutable_timeouts()); });
  section.Inner("tls", [&](Section& s) {
    v1::TlsOptions& tls = *provider.mutable_tls();
    if (auto path = s.Text("ca_file")) tls.set_ca_file(*std::move(path));
    if (auto name = s.Text("server_name")) tls.set_server_name(*std::move(name));
  });
}

void Read(Section& section, v1::Model& model) {
  if (auto name = section.Text("provider")) model.set_provider(*std::move(name));
  if (auto name = section.Text("upstream_model")) model.set_upstream_model(*std::move(name));
  section.Inner("price", [&](Section& s) {
    v1::Price& price = *model.mutable_price();
    if (auto nanos = s.Parsed("input", &ParseUsd)) price.set_input(*nanos);
    if (auto nanos = s.Parsed("output", &ParseUsd)) price.set_output(*nanos);
    if (auto nanos = s.Parsed("cached_input", &ParseUsd)) price.set_cached_input(*nanos);
  });
}

void ReadAttempts(Section& section, v1::Retry& retry) {
  const auto attempts = section.Integer("attempts");
  if (!attempts) return;
  if (*attempts < 1 || *attempts > kInt32Max) {
    section.Refuse("attempts", std::to_string(*attempts), "must be from 1 to 10");
  } else {
    retry.set_attempts(static_cast<int32_t>(*attempts));
  }
}

void Read(Section& section, v1::Route& route) {
  const auto strategy = section.Text("strategy");
  if (strategy && *strategy != "priority")
    section.Refuse("strategy", *strategy, "this version knows priority");
  route.set_strategy(v1::Route::STRATEGY_PRIORITY);
  section.Each("targets", [&](Section& s) {
    v1::Target& target = *route.add_targets();
    if (auto model = s.Text("model")) target.set_model(*std::move(model));
    if (auto ms = ReadTimeout(s, "timeout")) target.set_timeout_ms(*ms);
  });
  if (auto names = section.Texts("fallbacks"))
    route.mutable_fallbacks()->Assign(names->begin(), names->end());
  section.Inner("retry", [&](Section& s) { ReadAttempts(s, *route.mutable_retry()); });
}

void Read(Section&, v1::Organization&) {}

void Read(Section& section, v1::Team& team) {
  if (auto name = section.Text("organization")) team.set_organization(*std::move(name));
}

void Read(Section& section, v1::User& user) {
  if (auto name = section.Text("team")) user.set_team(*std::move(name));
}

// Standalone: the secret itself, hashed at once.
void ReadKeySecret(Section& section, v1::Key& key) {
  auto secret = ReadSecret(section, "secret");
  if (!secret) return;
  key.set_secret_reference(secret->reference);
  if (secret->plaintext.empty()) return;
  if (secret->plaintext.size() < kClientSecretBytesMin) {
    section.Refuse("secret", secret->reference, "must be at least 8 characters long");
    return;
  }
  v1::KeySecret& stored = *key.add_secrets();
  stored.set_sha256(std::string(AsBytes(Sha256(secret->plaintext))));
  if (const auto public_id = PublicIdOf(secret->plaintext))
    stored.set_public_id(std::string(*public_id));
}

// Standalone: the digest of a secret that only its owner has.
void ReadKeyDigest(Section& section, v1::Key& key) {
  const auto hex = section.Text("secret_sha256");
  if (!hex) return;
  auto bytes = BytesOfHex(*hex);
  if (!bytes || bytes->size() != sizeof(Sha256Digest)) {
    section.Refuse("secret_sha256", "", "must be 64 hex digits");
    return;
  }
  key.add_secrets()->set_sha256(*std::move(bytes));
}

void ReadKeySecrets(Section& section, v1::Key& key) {
  if (section.reading().options.standalone) {
    if (section.Has("secret") && section.Has("secret_sha256"))
      section.Refuse("secret", "", "give either secret or secret_sha256");
    ReadKeySecret(section, key);
    ReadKeyDigest(section, key);
    return;
  }
  for (const std::string_view field : {"secret", "secret_sha256"}) {
    if (!section.Has(field)) continue;
    section.Find(field);
    section.Refuse(field, "",
                   "only a standalone data plane reads it; `spillway keys create NAME` makes the "
                   "secret of a key and shows it once");
  }
}

// An empty list would read like "nothing" and mean "everything".
void ReadAllowed(Section& section, std::string_view field,
                 google::protobuf::RepeatedPtrField<std::string>& names) {
  const auto texts = section.Texts(field);
  if (!texts) return;
  if (texts->empty()) section.Refuse(field, "[]", "must name at least one, or be left out for all");
  names.Assign(texts->begin(), texts->end());
}

void Read(Section& section, v1::Key& key) {
  key.set_declared(true);
  if (auto name = section.Text("team")) key.set_team(*std::move(name));
  if (auto name = section.Text("user")) key.set_user(*std::move(name));
  if (auto name = section.Text("organization")) key.set_organization(*std::move(name));
  ReadAllowed(section, "routes", *key.mutable_routes());
  ReadAllowed(section, "models", *key.mutable_models());
  if (auto ms = section.Parsed("expires", &ParseUtc)) {
    if (*ms <= 0) section.Refuse("expires", "", "must be after 1970-01-01");
    key.set_expires_at_ms(*ms);
  }
  if (auto revoked = section.Bool("revoked")) key.set_revoked(*revoked);
  if (auto feature = section.Text("feature")) key.set_feature(*std::move(feature));
  ReadKeySecrets(section, key);
}

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
