#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/crypto/signing.h"
#include "common/error.h"
#include "dataplane/snapshot/limits.h"
#include "spillway/v1/snapshot.pb.h"

namespace spillway {

// Messages whose signature has been verified, with the bytes that prove them.
struct ProvenLatest {
  v1::Latest latest;
  std::string signed_bytes;
};
struct ProvenDelta {
  v1::Delta delta;
  std::string signed_bytes;
};
struct ProvenManifest {
  v1::Manifest manifest;
  std::string signed_bytes;
};

// A full state with what proves it. `entries` is a serialised EntryList, still to be compared with
// the position's digest (Build does that).
struct FullState {
  v1::Position position;
  std::string entries;
  std::string proof;  // Signed: Latest, Manifest or Delta
};

// Opens what the control plane signed: size caps first, then the signature over the bytes as sent,
// then the schema. Immutable; any thread. Refusals: kOversized, kSignature, kCorrupt.
class ProofReader {
 public:
  ProofReader(Verifier verifier, const SnapshotLimits& limits)
      : verifier_(std::move(verifier)), limits_(limits) {}

  Result<ProvenLatest> ReadLatest(std::string signed_bytes) const;
  Result<ProvenDelta> ReadDelta(std::string signed_bytes) const;
  Result<ProvenManifest> ReadManifest(std::string signed_bytes) const;
  // Whichever of the three it is.
  Result<v1::Position> ReadPosition(const std::string& signed_bytes) const;
  // A SnapshotFile: a generation's base or a seed.
  Result<FullState> ReadFile(std::string_view file) const;

  const SnapshotLimits& limits() const { return limits_; }

 private:
  Result<std::string> Open(const std::string& signed_bytes, v1::Signed::Purpose purpose) const;

  Verifier verifier_;
  SnapshotLimits limits_;
};

// A SnapshotFile around a state, and the proof of its position.
std::string RenderFile(const std::string& proof, const std::string& entries_zstd);

}  // namespace spillway
