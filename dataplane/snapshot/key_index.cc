#include "dataplane/snapshot/key_index.h"

#include <format>

#include "common/secret.h"
#include "dataplane/snapshot/refusal.h"
#include "spillway/v1/resources.pb.h"

namespace spillway {

bool KeyIndex::DigestEquals::operator()(const Sha256Digest& a, const Sha256Digest& b) const {
  return ConstantTimeEquals(AsBytes(a), AsBytes(b));
}

const KeyMatch* KeyIndex::Find(const Sha256Digest& sha256) const {
  const DigestShard* shard = digests_[sha256[0]].get();
  if (shard == nullptr) return nullptr;
  const auto found = shard->find(sha256);
  return found == shard->end() ? nullptr : &found->second;
}

const KeyRecordPtr* KeyIndex::FindByName(std::string_view name) const {
  const NameShard* shard = names_[ShardOf(name)].get();
  if (shard == nullptr) return nullptr;
  const auto found = shard->find(name);
  return found == shard->end() ? nullptr : &*found;
}

void KeyIndex::ForEachInShard(size_t shard,
                              const std::function<void(const KeyRecordPtr&)>& visit) const {
  if (names_[shard] == nullptr) return;
  for (const KeyRecordPtr& record : *names_[shard]) visit(record);
}

void KeyIndex::ForEach(const std::function<void(const KeyRecordPtr&)>& visit) const {
  for (size_t shard = 0; shard < kShards; ++shard) ForEachInShard(shard, visit);
}

void KeyIndexEditor::Reserve(size_t keys) {
  const size_t per_shard = keys / KeyIndex::kShards;
  for (size_t shard = 0; shard < KeyIndex::kShards; ++shard) {
    Names(shard).reserve(per_shard);
    Digests(shard).reserve(per_shard);
  }
}

KeyIndex::NameShard& KeyIndexEditor::Names(size_t shard) {
  if (own_names_[shard] == nullptr) {
    const auto& old = index_.names_[shard];
    auto copy =
        old ? std::make_shared<KeyIndex::NameShard>(*old) : std::make_shared<KeyIndex::NameShard>();
    own_names_[shard] = copy.get();
    index_.names_[shard] = std::move(copy);
  }
  return *own_names_[shard];
}

KeyIndex::DigestShard& KeyIndexEditor::Digests(size_t shard) {
  if (own_digests_[shard] == nullptr) {
    const auto& old = index_.digests_[shard];
    auto copy = old ? std::make_shared<KeyIndex::DigestShard>(*old)
                    : std::make_shared<KeyIndex::DigestShard>();
    own_digests_[shard] = copy.get();
    index_.digests_[shard] = std::move(copy);
  }
  return *own_digests_[shard];
}

bool KeyIndexEditor::Remove(std::string_view name) {
  const KeyRecordPtr* found = index_.FindByName(name);
  if (found == nullptr) return false;
  const KeyRecordPtr record = *found;  // the shard's own goes with the erase
  for (const KeySecretSpec& secret : SecretsOf(record->bytes)) {
    const KeyMatch* match = index_.Find(secret.sha256);
    // A restricted snapshot may have dropped the secret already.
    if (match != nullptr && match->key.get() == &record->spec)
      Digests(secret.sha256[0]).erase(secret.sha256);
  }
  Names(KeyIndex::ShardOf(record->spec.name)).erase(record);
  --index_.size_;
  return true;
}

Result<void> KeyIndexEditor::Insert(const CompiledKey& key) {
  const KeyRecordPtr& record = key.record;
  if (!Names(KeyIndex::ShardOf(record->spec.name)).insert(record).second) {
    return Refuse(RefusalClass::kInvalid, std::format("key/{}: appears twice", record->spec.name));
  }
  ++index_.size_;
  for (const KeySecretSpec& secret : key.secrets) {
    const KeyMatch match{std::shared_ptr<const KeySpec>(record, &record->spec),
                         secret.not_after_ms};
    const auto [other, fresh] = Digests(secret.sha256[0]).emplace(secret.sha256, match);
    if (!fresh) {
      return Refuse(RefusalClass::kInvalid,
                    std::format("key/{} secrets: key/{} has the same secret", record->spec.name,
                                other->second.key->name));
    }
  }
  return {};
}

std::vector<KeySecretSpec> SecretsOf(std::string_view key_bytes) {
  std::vector<KeySecretSpec> secrets;
  v1::Key key;
  if (!key.ParseFromArray(key_bytes.data(), static_cast<int>(key_bytes.size()))) return secrets;
  for (const v1::KeySecret& secret : key.secrets()) {
    if (secret.sha256().size() != sizeof(Sha256Digest)) continue;
    KeySecretSpec& spec = secrets.emplace_back();
    std::memcpy(spec.sha256.data(), secret.sha256().data(), spec.sha256.size());
    spec.not_after_ms = secret.not_after_ms();
  }
  return secrets;
}

}  // namespace spillway
