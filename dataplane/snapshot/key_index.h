#pragma once

#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "common/crypto/sha256.h"
#include "common/error.h"
#include "dataplane/snapshot/snapshot.h"

namespace spillway {

// A key as requests see it, and the bytes it came from.
struct KeyRecord {
  KeySpec spec;
  std::string bytes;
};
using KeyRecordPtr = std::shared_ptr<const KeyRecord>;

struct KeySecretSpec {
  Sha256Digest sha256;
  int64_t not_after_ms = 0;
};

struct CompiledKey {
  KeyRecordPtr record;
  std::vector<KeySecretSpec> secrets;
};

// Every key of a snapshot, by name and by the digest of its secrets, in 256 shards each. Immutable;
// a copy costs 512 pointers and shares the shards. Any thread.
class KeyIndex {
 public:
  static constexpr size_t kShards = 256;

  const KeyMatch* Find(const Sha256Digest& sha256) const;
  // nullptr: there is none.
  const KeyRecordPtr* FindByName(std::string_view name) const;
  int64_t size() const { return size_; }
  // The records of one shard, in no order.
  void ForEachInShard(size_t shard, const std::function<void(const KeyRecordPtr&)>& visit) const;
  void ForEach(const std::function<void(const KeyRecordPtr&)>& visit) const;

 private:
  friend class KeyIndexEditor;
  // Hashes are cheap and noexcept, so that the tables do not store them. (The containers are the
  // standard's: Debian's Abseil is not built for the headers' sanitizer mode.)
  struct NameHash {
    using is_transparent = void;
    size_t operator()(std::string_view name) const noexcept {
      return std::hash<std::string_view>{}(name);
    }
    size_t operator()(const KeyRecordPtr& record) const noexcept {
      return (*this)(record->spec.name);
    }
  };
  struct NameEquals {
    using is_transparent = void;
    static std::string_view NameOf(std::string_view name) { return name; }
    static std::string_view NameOf(const KeyRecordPtr& record) { return record->spec.name; }
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return NameOf(a) == NameOf(b);
    }
  };
  // The digest is uniform already; byte 0 chose the shard.
  struct DigestHash {
    size_t operator()(const Sha256Digest& digest) const noexcept {
      size_t hash = 0;
      std::memcpy(&hash, digest.data() + 1, sizeof(hash));
      return hash;
    }
  };
  // In a time that does not depend on where two digests differ.
  struct DigestEquals {
    bool operator()(const Sha256Digest& a, const Sha256Digest& b) const;
  };
  using NameShard = std::unordered_set<KeyRecordPtr, NameHash, NameEquals>;
  using DigestShard = std::unordered_map<Sha256Digest, KeyMatch, DigestHash, DigestEquals>;
  static size_t ShardOf(std::string_view name) { return NameHash{}(name) >> 56; }

  std::array<std::shared_ptr<const NameShard>, kShards> names_;
  std::array<std::shared_ptr<const DigestShard>, kShards> digests_;
  int64_t size_ = 0;
};

// Makes the next index out of one: a shard is copied when it is first touched. Removals come before
// the insertions that reuse a name or a secret. One thread, once.
class KeyIndexEditor {
 public:
  explicit KeyIndexEditor(KeyIndex base) : index_(std::move(base)) {}

  // Room for that many keys, for a build from nothing.
  void Reserve(size_t keys);
  // Removes the key of that name with all its secrets; false: there is none.
  bool Remove(std::string_view name);
  // kInvalidConfig when the name or a secret is taken.
  Result<void> Insert(const CompiledKey& key);
  const KeyIndex& index() const { return index_; }
  KeyIndex Take() && { return std::move(index_); }

 private:
  KeyIndex::NameShard& Names(size_t shard);
  KeyIndex::DigestShard& Digests(size_t shard);

  KeyIndex index_;
  std::array<KeyIndex::NameShard*, KeyIndex::kShards> own_names_{};
  std::array<KeyIndex::DigestShard*, KeyIndex::kShards> own_digests_{};
};

// The digests in a serialised Key, for taking it out of the index again; bytes that are no Key:
// none.
std::vector<KeySecretSpec> SecretsOf(std::string_view key_bytes);

}  // namespace spillway
