#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "common/bus.h"
#include "common/crypto/signing.h"
#include "common/error.h"
#include "controlplane/store/config_store.h"
#include "spillway/v1/snapshot.pb.h"

namespace spillway {

// What an earlier life of this cluster left on NATS.
struct PublishedLatest {
  std::optional<v1::Latest> latest;  // signed by us and of our cluster; else nothing
  uint64_t seq = 0;                  // of the subject's last message, whosever it is; 0: none
};
Result<PublishedLatest> ReadLatest(Bus& bus, const Verifier& verifier,
                                   const std::string& cluster_id);

// Where on the stream a full snapshot and the deltas that follow it begin, when its manifest is
// ours and complete; nullopt: there is no such full snapshot.
Result<std::optional<uint64_t>> FindFull(Bus& bus, const Verifier& verifier, int64_t revision);

// The whole state that a Latest names: its full snapshot and the deltas behind it, each verified,
// the sum proven by the digest. kCorrupt: something is missing or wrong.
Result<std::map<EntryKey, std::string>> ReadState(Bus& bus, const Verifier& verifier,
                                                  const v1::Latest& latest);

}  // namespace spillway
