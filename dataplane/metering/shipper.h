#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/bus.h"
#include "common/clock.h"
#include "common/crypto/signing.h"
#include "common/metrics.h"
#include "dataplane/metering/journal.h"
#include "spillway/v1/usage.pb.h"

namespace spillway {

struct ShipperOptions {
  int in_flight_max = 64;                      // runs that wait for an acknowledgement
  int64_t run_bytes_max = int64_t{60} * 1024;  // of records in one message
  int publish_timeout_ms = 5000;
  int64_t retry_ms_min = 100;  // doubles up to retry_ms_max, with jitter
  int64_t retry_ms_max = 5000;
  bool threaded = true;  // false: tests call RunOnce themselves
};

// Sends the journal to the stream SPILLWAY_USAGE in runs of consecutive records, this incarnation's
// and every earlier one's, and obeys the control plane's instructions: committed marks free the
// journal, Resend ranges go out again under a fresh message id. A publish acknowledgement frees
// nothing. Own thread; never seen by request threads. Owned by main; destroyed before journal and
// bus.
class Shipper {
 public:
  Shipper(Journal& journal, Bus& bus, const Verifier& verifier, const Clock& clock,
          const ShipperOptions& options = {});
  ~Shipper();

  // For heartbeats. Thread-safe.
  std::vector<v1::JournalState> States() const { return journal_.States(); }
  bool retired() const { return journal_.retired(); }

  // At the end of a drain: waits until everything journalled is committed, or says how much stays
  // on disk. Thread-safe.
  struct Flushed {
    int64_t uncommitted_records = 0;  // 0: everything is in the ledger
    int64_t unshipped_records = 0;
  };
  Flushed Flush(int64_t timeout_ms);

  // One round: acknowledgements, instructions, retries, new runs.
  void RunOnce();

  void Collect(MetricsText& text) const;

 private:
  struct Rep;
  int64_t clock_ns() const;
  Journal& journal_;
  std::unique_ptr<Rep> rep_;
};

}  // namespace spillway
