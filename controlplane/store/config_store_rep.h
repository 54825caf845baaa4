#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "common/crypto/state_digest.h"
#include "controlplane/store/big_endian.h"
#include "controlplane/store/config_store.h"

namespace spillway {

// The insides of ConfigStore, shared by config_store.cc and config_history.cc.
//
// Tables:
//   kMeta       "cluster_id"; "config.position" -> v1::Position
//   kResources  kind byte + name -> big-endian revision + bytes
//   kHistory    big-endian revision + kind byte + name -> what was there before: nothing, or as
//   above kRevisions  big-endian revision -> 32 bytes of digest + v1::Revision
struct ConfigStore::Rep {
  std::mutex writer;                // one transaction at a time
  mutable std::shared_mutex mutex;  // guards what follows; only a holder of `writer` changes it
  State state;
  v1::Position position;
  StateDigest digest;
  std::vector<int64_t> revisions;  // all known, ascending

  std::mutex notify;  // keeps the listener's calls in order
  std::function<void(const CommittedRevision&)> listener;
};

inline constexpr size_t kDigestBytes = 32;

inline std::string RowKey(const EntryKey& key) {
  return std::string(1, static_cast<char>(key.first)) + key.second;
}
inline EntryKey EntryKeyOf(std::string_view row_key) {
  return {static_cast<v1::Kind>(static_cast<uint8_t>(row_key.front())),
          std::string(row_key.substr(1))};
}

}  // namespace spillway
