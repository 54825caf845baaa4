#include "controlplane/publish/published.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "common/crypto/sha256.h"
#include "common/crypto/state_digest.h"
#include "common/subjects.h"
#include "controlplane/publish/encode.h"

namespace spillway {
namespace {

using Entries = std::map<EntryKey, std::string>;

constexpr int64_t kFullBytesMax = int64_t{1} << 30;
constexpr int64_t kDeltaBytesMax = int64_t{64} << 20;
constexpr int kChunksMax = 16'384;

std::unexpected<Error> Broken(std::string what) {
  return Fail(ErrorCode::kCorrupt, "on NATS: " + std::move(what));
}

Result<std::string> Get(Bus& bus, const std::string& subject) {
  SW_TRY(auto message, bus.GetLast(subjects::kConfigStream, subject));
  if (!message) return Broken(subject + " is missing");
  return std::move(message->payload);
}

Result<std::string> Open(const std::string& bytes, const Verifier& verifier,
                         v1::Signed::Purpose purpose) {
  v1::Signed message;
  if (!message.ParseFromString(bytes)) return Broken("a message that cannot be read");
  SW_CHECK(verifier.Verify(message, purpose));
  if (message.zstd()) return Decompress(message.payload(), kDeltaBytesMax);
  return std::move(*message.mutable_payload());
}

Result<v1::Manifest> ReadManifest(Bus& bus, const Verifier& verifier, int64_t revision) {
  SW_TRY(const std::string bytes, Get(bus, subjects::Manifest(revision)));
  SW_TRY(const std::string payload, Open(bytes, verifier, v1::Signed::PURPOSE_MANIFEST));
  v1::Manifest manifest;
  if (!manifest.ParseFromString(payload) || manifest.position().revision() != revision ||
      manifest.chunk_sha256_size() > kChunksMax) {
    return Broken("the manifest of revision " + std::to_string(revision));
  }
  return manifest;
}

Result<Entries> ReadFull(Bus& bus, const Verifier& verifier, int64_t revision,
                         v1::Position& position) {
  SW_TRY(const v1::Manifest manifest, ReadManifest(bus, verifier, revision));
  std::string compressed;
  for (int i = 0; i < manifest.chunk_sha256_size(); ++i) {
    SW_TRY(const std::string chunk, Get(bus, subjects::Chunk(revision, i)));
    if (AsBytes(Sha256(chunk)) != manifest.chunk_sha256(i)) {
      return Broken("chunk " + std::to_string(i) + " of revision " + std::to_string(revision));
    }
    compressed += chunk;
  }
  SW_TRY(const std::string bytes, Decompress(compressed, kFullBytesMax));
  v1::EntryList list;
  if (!list.ParseFromString(bytes)) return Broken("the entries of a full snapshot");
  Entries entries;
  for (v1::Entry& entry : *list.mutable_entries()) {
    entries[{entry.kind(), entry.name()}] = std::move(*entry.mutable_bytes());
  }
  position = manifest.position();
  return entries;
}

Result<void> ApplyDelta(Bus& bus, const Verifier& verifier, int64_t revision,
                        v1::Position& position, Entries& entries) {
  SW_TRY(const std::string bytes, Get(bus, subjects::Delta(revision)));
  SW_TRY(const std::string payload, Open(bytes, verifier, v1::Signed::PURPOSE_DELTA));
  v1::Delta delta;
  const bool follows = delta.ParseFromString(payload) && delta.position().revision() == revision &&
                       delta.base().revision() == position.revision() &&
                       delta.base().digest() == position.digest();
  if (!follows) return Broken("the delta of revision " + std::to_string(revision));
  for (const v1::EntryName& name : delta.removals()) entries.erase({name.kind(), name.name()});
  for (const v1::Entry& entry : delta.upserts()) {
    entries[{entry.kind(), entry.name()}] = entry.bytes();
  }
  position = delta.position();
  return {};
}

}  // namespace

Result<PublishedLatest> ReadLatest(Bus& bus, const Verifier& verifier,
                                   const std::string& cluster_id) {
  SW_TRY(const auto message, bus.GetLast(subjects::kConfigStream, subjects::kLatest));
  PublishedLatest published;
  if (!message) return published;
  published.seq = message->stream_seq;
  const auto payload = Open(message->payload, verifier, v1::Signed::PURPOSE_LATEST);
  v1::Latest latest;
  if (payload && latest.ParseFromString(*payload) && latest.position().cluster_id() == cluster_id) {
    published.latest = std::move(latest);
  }
  return published;
}

Result<std::optional<uint64_t>> FindFull(Bus& bus, const Verifier& verifier, int64_t revision) {
  const auto manifest = ReadManifest(bus, verifier, revision);
  if (!manifest) {
    if (manifest.error().code == ErrorCode::kCorrupt) return std::nullopt;
    return std::unexpected(manifest.error());
  }
  uint64_t from_seq = std::numeric_limits<uint64_t>::max();
  for (int i = 0; i < manifest->chunk_sha256_size(); ++i) {
    SW_TRY(const auto chunk, bus.GetLast(subjects::kConfigStream, subjects::Chunk(revision, i)));
    if (!chunk) return std::nullopt;
    from_seq = std::min(from_seq, chunk->stream_seq);
  }
  // The delta behind it may have been sent before it.
  SW_TRY(const auto delta, bus.GetLast(subjects::kConfigStream, subjects::Delta(revision + 1)));
  if (delta) from_seq = std::min(from_seq, delta->stream_seq);
  return from_seq;
}

Result<Entries> ReadState(Bus& bus, const Verifier& verifier, const v1::Latest& latest) {
  v1::Position position;
  SW_TRY(Entries entries, ReadFull(bus, verifier, latest.full_revision(), position));
  while (position.revision() < latest.position().revision()) {
    SW_CHECK(ApplyDelta(bus, verifier, position.revision() + 1, position, entries));
  }
  StateDigest digest;
  for (const auto& [key, bytes] : entries) digest.Add(key.first, key.second, bytes);
  if (digest.Bytes() != latest.position().digest()) return Broken("a state with another digest");
  return entries;
}

}  // namespace spillway
