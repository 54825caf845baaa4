#pragma once

#include <cstdint>

#include "common/bus.h"
#include "common/clock.h"
#include "common/error.h"
#include "dataplane/snapshot/lineage.h"
#include "dataplane/snapshot/proof.h"

namespace spillway {

// Direct gets of configuration, each verified. Waits for the bus: only on the feed's thread.
// Refusals as ProofReader's; kMissing when something is not there, kUnavailable when the bus does
// not answer.
class Fetcher {
 public:
  Fetcher(Bus& bus, const ProofReader& reader, const Clock& clock)
      : bus_(bus), reader_(reader), clock_(clock) {}

  // No single wait is longer than this, and none goes past the deadline (monotonic; 0: none).
  static constexpr int kWaitMs = 2'000;
  void set_deadline_ns(int64_t deadline_ns) { deadline_ns_ = deadline_ns; }

  Result<ProvenLatest> Latest();
  Result<ProvenDelta> Delta(int64_t revision);
  // The deltas behind `from` up to and with `to`.
  Result<std::vector<ProvenDelta>> Deltas(int64_t from, int64_t to);
  // Manifest and chunks; every size is checked before the bytes are asked for or inflated.
  Result<FullState> Full(int64_t revision);

 private:
  Result<std::string> Get(const std::string& subject);
  Result<std::string> Chunks(const v1::Manifest& manifest);

  Bus& bus_;
  const ProofReader& reader_;
  const Clock& clock_;
  int64_t deadline_ns_ = 0;
};

}  // namespace spillway
