#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "common/bus.h"
#include "common/clock.h"
#include "common/metrics.h"
#include "controlplane/ledger/ledger.h"
#include "spillway/v1/usage.pb.h"

namespace spillway {

struct LedgerConsumerOptions {
  int64_t epoch = 0;  // claimed before the consumer is made
  int64_t stream_bytes_max = int64_t{8} * 1024 * 1024 * 1024;
  int fetch_max = 256;  // messages in one batch
  int fetch_timeout_ms = 1000;
  int64_t resend_after_ms = 2000;        // how old a gap must be; then doubling, with jitter,
  int64_t resend_every_ms_max = 30'000;  // up to this
  int64_t purge_every_ms = 10'000;
  bool threaded = true;  // false: tests call RunOnce themselves
};

// Takes the stream SPILLWAY_USAGE into the ledger: fetch, apply (one synced batch), acknowledge,
// publish the committed marks. Starts where the ledger stands; a stream with another identity is
// read from its beginning, and every data plane is asked to send again what is above its mark. Own
// thread. Owned by main; destroyed before bus and ledger.
class LedgerConsumer {
 public:
  // Signs and publishes one instruction; fills in the epoch. Any thread; must not wait.
  using SendInstruction = std::function<void(v1::Instruction instruction)>;
  LedgerConsumer(Bus& bus, Ledger& ledger, const Clock& clock, const LedgerConsumerOptions& options,
                 SendInstruction send);
  ~LedgerConsumer();

  // What a data plane reports: answered with its marks, and tail losses are noticed. Any thread.
  void OnHeartbeat(const v1::Heartbeat& heartbeat);
  // Sends `retired` with the marks. Any thread.
  void OnRetired(const std::string& instance);

  // One round. Returns how many messages were applied.
  int RunOnce();

  struct Stats {
    int64_t lag_messages = 0;  // in the stream, not applied
    int64_t messages = 0;
    int64_t refused = 0;  // not a run, or of another instance than its subject
    int64_t resends = 0;  // instructions sent
    int64_t stream_changes = 0;
    bool stalled = false;  // the store cannot write
    // Everything that the stream held when this process first saw it is applied.
    bool caught_up = false;
    // Records that the ledger never saw are gone from the stream, or may be: it is another one than
    // before, or it begins behind the ledger's position.
    bool damaged = false;
  };
  Stats stats() const;
  void Collect(MetricsText& text) const;

 private:
  struct Rep;
  std::unique_ptr<Rep> rep_;
};

}  // namespace spillway
