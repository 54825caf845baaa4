#include "dataplane/snapshot/fetch.h"

#include <algorithm>
#include <format>
#include <utility>

#include "common/crypto/sha256.h"
#include "common/subjects.h"
#include "dataplane/snapshot/compression.h"
#include "dataplane/snapshot/refusal.h"

namespace spillway {
namespace {

Result<void> CheckManifest(const v1::Manifest& manifest, const SnapshotLimits& limits) {
  const auto chunks = static_cast<int64_t>(manifest.chunk_sha256_size());
  const auto above = [](int64_t value, int64_t max) { return value < 0 || value > max; };
  if (above(manifest.bytes(), limits.bytes_max) || above(manifest.entries(), limits.entries_max) ||
      above(manifest.compressed_bytes(), limits.compressed_bytes_max) ||
      above(chunks, limits.chunks_max)) {
    return Refuse(
        RefusalClass::kOversized,
        std::format("the manifest declares {} entries, {} bytes ({} compressed) in {} chunks; at "
                    "most {}, {} ({}) in {} are accepted",
                    manifest.entries(), manifest.bytes(), manifest.compressed_bytes(), chunks,
                    limits.entries_max, limits.bytes_max, limits.compressed_bytes_max,
                    limits.chunks_max));
  }
  return {};
}

}  // namespace

Result<std::string> Fetcher::Get(const std::string& subject) {
  int64_t wait_ms = kWaitMs;
  if (deadline_ns_ != 0)
    wait_ms = std::min(wait_ms, (deadline_ns_ - clock_.MonotonicNs()) / 1'000'000);
  if (wait_ms <= 0) return Fail(ErrorCode::kUnavailable, "NATS did not answer in time");
  SW_TRY(auto message, bus_.GetLast(subjects::kConfigStream, subject, static_cast<int>(wait_ms)));
  if (!message) return Refuse(RefusalClass::kMissing, subject + " is not there");
  return std::move(message->payload);
}

Result<ProvenLatest> Fetcher::Latest() {
  SW_TRY(std::string bytes, Get(std::string(subjects::kLatest)));
  return reader_.ReadLatest(std::move(bytes));
}

Result<ProvenDelta> Fetcher::Delta(int64_t revision) {
  SW_TRY(std::string bytes, Get(subjects::Delta(revision)));
  SW_TRY(ProvenDelta delta, reader_.ReadDelta(std::move(bytes)));
  if (delta.delta.position().revision() != revision)
    return Refuse(RefusalClass::kCorrupt,
                  std::format("another delta stands in the place of {}", revision));
  return delta;
}

Result<std::vector<ProvenDelta>> Fetcher::Deltas(int64_t from, int64_t to) {
  if (to - from > reader_.limits().gap_deltas_max)
    return Refuse(RefusalClass::kMissing,
                  std::format("{} deltas are missing: too many", to - from));
  std::vector<ProvenDelta> deltas;
  for (int64_t revision = from + 1; revision <= to; ++revision) {
    SW_TRY(ProvenDelta delta, Delta(revision));
    deltas.push_back(std::move(delta));
  }
  return deltas;
}

Result<std::string> Fetcher::Chunks(const v1::Manifest& manifest) {
  std::string compressed;
  for (int i = 0; i < manifest.chunk_sha256_size(); ++i) {
    SW_TRY(const std::string chunk, Get(subjects::Chunk(manifest.position().revision(), i)));
    if (AsBytes(Sha256(chunk)) != manifest.chunk_sha256(i))
      return Refuse(RefusalClass::kCorrupt,
                    std::format("chunk {} has not the hash in the manifest", i));
    if (static_cast<int64_t>(compressed.size() + chunk.size()) > manifest.compressed_bytes())
      return Refuse(RefusalClass::kOversized, "the chunks are larger than the manifest says");
    compressed += chunk;
  }
  if (static_cast<int64_t>(compressed.size()) != manifest.compressed_bytes())
    return Refuse(RefusalClass::kCorrupt, "the chunks are smaller than the manifest says");
  return compressed;
}

Result<FullState> Fetcher::Full(int64_t revision) {
  SW_TRY(std::string bytes, Get(subjects::Manifest(revision)));
  SW_TRY(ProvenManifest proven, reader_.ReadManifest(std::move(bytes)));
  const v1::Manifest& manifest = proven.manifest;
  if (manifest.position().revision() != revision)
    return Refuse(RefusalClass::kCorrupt,
                  std::format("another manifest stands in the place of {}", revision));
  SW_CHECK(CheckManifest(manifest, reader_.limits()));
  SW_TRY(const std::string compressed, Chunks(manifest));
  FullState full;
  full.position = manifest.position();
  SW_TRY(full.entries, Inflate(compressed, manifest.bytes()));
  if (static_cast<int64_t>(full.entries.size()) != manifest.bytes())
    return Refuse(RefusalClass::kCorrupt, "the entries are smaller than the manifest says");
  full.proof = std::move(proven.signed_bytes);
  return full;
}

}  // namespace spillway
