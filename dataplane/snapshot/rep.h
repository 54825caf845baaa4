#pragma once

#include <cstdint>
#include <memory>

#include "common/crypto/state_digest.h"
#include "dataplane/snapshot/key_index.h"
#include "dataplane/snapshot/snapshot.h"
#include "dataplane/snapshot/tables.h"

namespace spillway {

// What a snapshot is made of. Copying one copies pointers.
struct Snapshot::Rep {
  v1::Position position;
  StateDigest digest;  // of the entries below
  int64_t entries = 0;
  int64_t bytes = 0;  // names and bytes of all entries
  std::shared_ptr<const Tables> tables;
  KeyIndex keys;
};

}  // namespace spillway
