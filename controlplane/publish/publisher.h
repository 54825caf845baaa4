#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "common/bus.h"
#include "common/clock.h"
#include "common/crypto/signing.h"
#include "common/error.h"
#include "controlplane/publish/epoch.h"
#include "controlplane/publish/streams.h"
#include "controlplane/store/config_store.h"
#include "controlplane/store/write_gate.h"

namespace spillway {

// What to do when NATS holds a later revision of this cluster than the store (after a restore).
enum class RestoreChoice : uint8_t {
  kAsk,      // refuse writes and publish nothing, saying so
  kAdopt,    // take NATS' state into the store, as a new revision above it
  kDiscard,  // go on from the store's state, as a new revision above NATS'
};

// Publishes committed revisions (proto/spillway/v1/snapshot.proto), on its own thread: claims the
// epoch, keeps the streams, sends a signed delta per revision and the Latest pointer behind it, a
// full snapshot every 256 revisions or when the deltas since weigh more than a quarter of it, and
// purges what lies before the previous full. What a Latest names is complete: it is always written
// last. After a crash or an outage it goes on from the Latest it finds on NATS; a wiped stream is
// made anew and everything published again.
//
// A revision that has no delta of its own (too large for one message, adopted, discarded) is
// announced, after its Latest, by a Delta without entries whose base is the revision itself: nobody
// holds that base before, so receivers fetch the full snapshot at once.
class Publisher {
 public:
  struct Options {
    RestoreChoice restore = RestoreChoice::kAsk;
    StreamLimits limits;
    int64_t full_every_revisions = 256;
    int64_t chunk_bytes = int64_t{512} * 1024;
    int64_t delta_bytes_max = int64_t{512} * 1024;
    int64_t check_interval_ms = 1'000;
    int64_t retry_ms = 250;
    int publish_timeout_ms = 2'000;
  };
  struct Parts {  // all must outlive the publisher
    Bus& bus;
    ConfigStore& config;
    Epoch& epoch;
    WriteGate& gate;
    const Signer& signer;
    const Verifier& verifier;  // of our own messages, when they are read back
    const Clock& clock;
    std::function<int64_t()> fleet_size;
  };
  Publisher(Parts parts, Options options);
  // Finishes the message it is at, then stops.
  ~Publisher();
  void Start();
  void Stop();

  // Looks again at once: after a reconnect, or when the epoch was outbid.
  void Stir();
  // Hand it every commit, in order; returns at once.
  void Notify(const CommittedRevision& revision);

  struct Status {
    int64_t published_revision = 0;  // by the last Latest
    int64_t full_revision = 0;
    int64_t fulls = 0;
    int64_t deltas = 0;
    int64_t failures = 0;
    int64_t last_published_ms = 0;
    bool waiting_for_choice = false;
    bool compared = false;  // with what NATS holds, once
  };
  Status status() const;
  // Waits until what NATS holds was compared with the store for the first time, or somebody has to
  // choose (RestoreChoice), or the time is over. False: the time was over.
  bool WaitCompared(int64_t timeout_ms);
  // Waits until `revision` is published or the time is over; for tests and a clean shutdown.
  bool WaitPublished(int64_t revision, int64_t timeout_ms);

  struct Rep;

 private:
  std::unique_ptr<Rep> rep_;
};

}  // namespace spillway
