#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/crypto/signing.h"
#include "common/error.h"
#include "controlplane/store/config_store.h"
#include "spillway/v1/snapshot.pb.h"

namespace spillway {

// The messages of spillway.config.* as they travel (snapshot.proto): pure functions.

std::string EncodeLatest(const Signer& signer, const v1::Latest& latest);
// Compressed when that pays. `epoch` is the one it is published under.
std::string EncodeDelta(const Signer& signer, const CommittedRevision& revision, int64_t epoch);
// A Delta without entries whose base is its own position: sends receivers to the full snapshot.
std::string EncodeAnnouncement(const Signer& signer, const v1::Position& position);

// A full snapshot, ready to be sent: the chunks, then the manifest.
struct FullSnapshot {
  v1::Position position;
  std::vector<std::string> chunks;
  std::string manifest;
  int64_t bytes = 0;  // compressed
};
// Takes the store's state of the moment, under `epoch`. The same state gives the same chunks.
FullSnapshot EncodeFull(const Signer& signer, const ConfigStore& config, int64_t epoch,
                        int64_t chunk_bytes);

std::string Compress(std::string_view bytes);
// kCorrupt: no zstd frame, or it inflates to more than `bytes_max`.
Result<std::string> Decompress(std::string_view frame, int64_t bytes_max);

}  // namespace spillway
