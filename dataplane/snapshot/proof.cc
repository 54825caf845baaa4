#include "dataplane/snapshot/proof.h"

#include <format>
#include <utility>

#include "common/crypto/sha256.h"
#include "common/ids.h"
#include "dataplane/snapshot/compression.h"
#include "dataplane/snapshot/refusal.h"

namespace spillway {
namespace {

constexpr size_t kDigestBytes = 32;

Result<void> CheckPosition(const v1::Position& position) {
  // The cluster's id becomes part of files and messages: it must look like a name.
  if (!IsResourceName(position.cluster_id()))
    return Refuse(RefusalClass::kCorrupt, "the position names no cluster");
  if (position.digest().size() != kDigestBytes || position.revision() < 0 || position.epoch() < 0)
    return Refuse(RefusalClass::kCorrupt, "the position is no position");
  return {};
}

template <typename Message>
Result<Message> Parse(const std::string& payload, std::string_view what) {
  Message message;
  if (!message.ParseFromString(payload))
    return Refuse(RefusalClass::kCorrupt, std::format("the {} cannot be read", what));
  SW_CHECK(CheckPosition(message.position()));
  return message;
}

}  // namespace

Result<std::string> ProofReader::Open(const std::string& signed_bytes,
                                      v1::Signed::Purpose purpose) const {
  if (static_cast<int64_t>(signed_bytes.size()) > limits_.message_bytes_max) {
    return Refuse(RefusalClass::kOversized,
                  std::format("a message of {} bytes, at most {} are accepted", signed_bytes.size(),
                              limits_.message_bytes_max));
  }
  v1::Signed message;
  if (!message.ParseFromString(signed_bytes))
    return Refuse(RefusalClass::kCorrupt, "the signed message cannot be read");
  if (auto verified = verifier_.Verify(message, purpose); !verified)
    return Refuse(RefusalClass::kSignature, verified.error().message);
  if (!message.zstd()) return std::move(*message.mutable_payload());
  return Inflate(message.payload(), limits_.delta_bytes_max);
}

Result<ProvenLatest> ProofReader::ReadLatest(std::string signed_bytes) const {
  SW_TRY(const std::string payload, Open(signed_bytes, v1::Signed::PURPOSE_LATEST));
  SW_TRY(v1::Latest latest, Parse<v1::Latest>(payload, "pointer to the latest revision"));
  return ProvenLatest{.latest = std::move(latest), .signed_bytes = std::move(signed_bytes)};
}

Result<ProvenDelta> ProofReader::ReadDelta(std::string signed_bytes) const {
  SW_TRY(const std::string payload, Open(signed_bytes, v1::Signed::PURPOSE_DELTA));
  SW_TRY(v1::Delta delta, Parse<v1::Delta>(payload, "delta"));
  if (delta.base().digest().size() != kDigestBytes)
    return Refuse(RefusalClass::kCorrupt, "the delta names no base");
  return ProvenDelta{.delta = std::move(delta), .signed_bytes = std::move(signed_bytes)};
}

Result<ProvenManifest> ProofReader::ReadManifest(std::string signed_bytes) const {
  SW_TRY(const std::string payload, Open(signed_bytes, v1::Signed::PURPOSE_MANIFEST));
  SW_TRY(v1::Manifest manifest, Parse<v1::Manifest>(payload, "manifest"));
  return ProvenManifest{.manifest = std::move(manifest), .signed_bytes = std::move(signed_bytes)};
}

Result<v1::Position> ProofReader::ReadPosition(const std::string& signed_bytes) const {
  v1::Signed message;
  if (!message.ParseFromString(signed_bytes))
    return Refuse(RefusalClass::kCorrupt, "the signed position cannot be read");
  switch (message.purpose()) {
    case v1::Signed::PURPOSE_LATEST: {
      SW_TRY(const ProvenLatest latest, ReadLatest(signed_bytes));
      return latest.latest.position();
    }
    case v1::Signed::PURPOSE_DELTA: {
      SW_TRY(const ProvenDelta delta, ReadDelta(signed_bytes));
      return delta.delta.position();
    }
    case v1::Signed::PURPOSE_MANIFEST: {
      SW_TRY(const ProvenManifest manifest, ReadManifest(signed_bytes));
      return manifest.manifest.position();
    }
    default:
      return Refuse(RefusalClass::kSignature, "what is signed is no position");
  }
}

Result<FullState> ProofReader::ReadFile(std::string_view file) const {
  v1::SnapshotFile parsed;
  if (!parsed.ParseFromArray(file.data(), static_cast<int>(file.size())))
    return Refuse(RefusalClass::kCorrupt, "is not a snapshot file, or is cut off");
  if (AsBytes(Sha256(parsed.entries_zstd())) != parsed.sha256())
    return Refuse(RefusalClass::kCorrupt, "the checksum of the entries is wrong");
  FullState state;
  state.proof = parsed.latest().SerializeAsString();
  SW_TRY(state.position, ReadPosition(state.proof));
  if (static_cast<int64_t>(parsed.entries_zstd().size()) > limits_.compressed_bytes_max)
    return Refuse(RefusalClass::kOversized, "the compressed entries are too large");
  SW_TRY(state.entries, Inflate(parsed.entries_zstd(), limits_.bytes_max));
  return state;
}

std::string RenderFile(const std::string& proof, const std::string& entries_zstd) {
  v1::SnapshotFile file;
  file.mutable_latest()->ParseFromString(proof);
  file.set_entries_zstd(entries_zstd);
  file.set_sha256(std::string(AsBytes(Sha256(entries_zstd))));
  return file.SerializeAsString();
}

}  // namespace spillway
