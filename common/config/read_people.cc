// Organizations, teams, users and their keys.
#include "common/config/read_kinds.h"
#include "common/crypto/sha256.h"
#include "common/ids.h"
#include "common/utc.h"

namespace spillway::config {
namespace {

// A secret that a person types by hand; shorter ones can be guessed.
constexpr size_t kClientSecretBytesMin = 8;
// What a data plane takes for a credential at all (dataplane/authn).
constexpr size_t kClientSecretBytesMax = 512;

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
  if (secret->plaintext.size() > kClientSecretBytesMax) {
    section.Refuse("secret", secret->reference, "must be at most 512 characters long");
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

}  // namespace

void Read(Section&, v1::Organization&) {}

void Read(Section& section, v1::Team& team) {
  if (auto name = section.Text("organization")) team.set_organization(*std::move(name));
}

void Read(Section& section, v1::User& user) {
  if (auto name = section.Text("team")) user.set_team(*std::move(name));
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

}  // namespace spillway::config
