#include "controlplane/publish/encode.h"

#include <zstd.h>

#include <algorithm>
#include <cstdlib>

#include "common/crypto/sha256.h"

namespace spillway {
namespace {

constexpr int kZstdLevel = 3;
constexpr size_t kCompressAbove = size_t{4} * 1024;

size_t VarintSize(uint64_t value) {
  size_t size = 1;
  for (; value >= 0x80; value >>= 7) ++size;
  return size;
}

void AppendVarint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

// One element of EntryList on the wire, as protobuf writes it: fields 1 (kind), 2 (name), 3
// (bytes). By hand because no commit can finish meanwhile: several times faster than through a
// message.
void AppendEntry(std::string& list, const EntryKey& key, std::string_view bytes) {
  const auto kind = static_cast<uint64_t>(key.first);
  const std::string& name = key.second;
  size_t size = 1 + VarintSize(kind) + 1 + VarintSize(name.size()) + name.size();
  if (!bytes.empty()) size += 1 + VarintSize(bytes.size()) + bytes.size();
  list.push_back('\x0a');
  AppendVarint(list, size);
  list.push_back('\x08');
  AppendVarint(list, kind);
  list.push_back('\x12');
  AppendVarint(list, name.size());
  list.append(name);
  if (bytes.empty()) return;
  list.push_back('\x1a');
  AppendVarint(list, bytes.size());
  list.append(bytes);
}

}  // namespace

std::string Compress(std::string_view bytes) {
  std::string frame(ZSTD_compressBound(bytes.size()), '\0');
  const size_t size =
      ZSTD_compress(frame.data(), frame.size(), bytes.data(), bytes.size(), kZstdLevel);
  if (ZSTD_isError(size) != 0) std::abort();  // only without memory: the bound is zstd's own
  frame.resize(size);
  return frame;
}

Result<std::string> Decompress(std::string_view frame, int64_t bytes_max) {
  const auto declared = ZSTD_getFrameContentSize(frame.data(), frame.size());
  const bool known = declared != ZSTD_CONTENTSIZE_ERROR && declared != ZSTD_CONTENTSIZE_UNKNOWN;
  if (!known || declared > static_cast<unsigned long long>(bytes_max)) {
    return Fail(ErrorCode::kCorrupt, "a zstd frame of unknown or too large size");
  }
  std::string bytes(declared, '\0');
  const size_t size = ZSTD_decompress(bytes.data(), bytes.size(), frame.data(), frame.size());
  if (ZSTD_isError(size) != 0 || size != bytes.size()) {
    return Fail(ErrorCode::kCorrupt, "a damaged zstd frame");
  }
  return bytes;
}

std::string EncodeLatest(const Signer& signer, const v1::Latest& latest) {
  return signer.Sign(v1::Signed::PURPOSE_LATEST, latest.SerializeAsString()).SerializeAsString();
}

std::string EncodeDelta(const Signer& signer, const CommittedRevision& revision, int64_t epoch) {
  v1::Delta delta;
  *delta.mutable_base() = revision.base;
  *delta.mutable_position() = revision.position;
  delta.mutable_position()->set_epoch(epoch);
  *delta.mutable_upserts() = {revision.upserts.begin(), revision.upserts.end()};
  *delta.mutable_removals() = {revision.removals.begin(), revision.removals.end()};
  delta.set_committed_at_ms(revision.committed_at_ms);
  std::string payload = delta.SerializeAsString();
  const bool compressed = payload.size() > kCompressAbove;
  if (compressed) payload = Compress(payload);
  return signer.Sign(v1::Signed::PURPOSE_DELTA, std::move(payload), compressed).SerializeAsString();
}

std::string EncodeAnnouncement(const Signer& signer, const v1::Position& position) {
  v1::Delta delta;
  *delta.mutable_base() = position;
  *delta.mutable_position() = position;
  return signer.Sign(v1::Signed::PURPOSE_DELTA, delta.SerializeAsString()).SerializeAsString();
}

FullSnapshot EncodeFull(const Signer& signer, const ConfigStore& config, int64_t epoch,
                        int64_t chunk_bytes) {
  FullSnapshot full;
  v1::Manifest manifest;
  std::string list;
  config.ReadAt([&](const ConfigStore::State& state, const v1::Position& position) {
    full.position = position;
    manifest.set_entries(static_cast<int64_t>(state.size()));
    for (const auto& [key, stored] : state) AppendEntry(list, key, stored.bytes);
  });
  full.position.set_epoch(epoch);
  const std::string compressed = Compress(list);
  const auto step = static_cast<size_t>(chunk_bytes);
  for (size_t at = 0; at < compressed.size(); at += step) {
    const std::string& chunk = full.chunks.emplace_back(compressed.substr(at, step));
    manifest.add_chunk_sha256(std::string(AsBytes(Sha256(chunk))));
  }
  *manifest.mutable_position() = full.position;
  manifest.set_compressed_bytes(static_cast<int64_t>(compressed.size()));
  manifest.set_bytes(static_cast<int64_t>(list.size()));
  full.bytes = manifest.compressed_bytes();
  full.manifest =
      signer.Sign(v1::Signed::PURPOSE_MANIFEST, manifest.SerializeAsString()).SerializeAsString();
  return full;
}

}  // namespace spillway
