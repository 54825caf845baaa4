#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "common/bus.h"
#include "common/clock.h"
#include "common/crypto/signing.h"
#include "common/error.h"
#include "common/metrics.h"
#include "controlplane/budgets/lease_book.h"
#include "controlplane/ledger/budget_watch.h"
#include "controlplane/store/instances.h"

namespace spillway {

struct LeaseDeskOptions {
  size_t queue_max = 8'192;  // requests that wait; more are dropped, and come again
  size_t queue_bytes_max = 64 << 20;
  size_t batch_max = 1'024;  // requests of one synced batch
  size_t request_bytes_max = 1 << 20;
  int64_t tick_ms = 100;
  int64_t dead_after_ms = 3'600'000;  // a holder silent for so long is tombstoned
  int64_t prune_every_ms = 10'000;
  int prune_accounts = 5'000;  // looked at in one turn
  bool threaded = true;        // false: tests call RunOnce themselves
};

// Answers lease requests (proto/spillway/v1/lease.proto): takes them from spillway.lease.*, lets
// the keeper decide, writes what changed for all that wait in one synced batch, and only then
// publishes the signed grants and recalls. Own thread; grants nothing before Begin. Owned by main;
// destroyed before what its parts refer to.
class LeaseDesk {
 public:
  // Of the usage stream, for the gate after a restore.
  struct Replay {
    bool done = false;     // applied up to its end as it stood at the start
    bool damaged = false;  // records are known to be missing, or may be
  };
  struct Parts {
    Bus& bus;
    LeaseBook& book;
    const Instances& instances;  // who may ask: data planes on the roster
    const Signer& signer;
    const Clock& clock;
    std::function<int64_t()> epoch;  // held now; 0: none, and nothing is sent
    // Somebody named a higher epoch than the one held. Must not wait.
    std::function<void(int64_t epoch)> on_higher_epoch;
    std::function<Replay()> replay;
    // Called in every turn of the thread: what else has to be tried again now and then.
    std::function<void()> on_tick;
    BudgetWatch watch;  // may be empty
  };
  LeaseDesk(Parts parts, const LeaseDeskOptions& options);
  ~LeaseDesk();

  // Subscribes. kUnavailable: the bus.
  Result<void> Start();
  // An epoch was claimed: from now on grants are made under it.
  void Begin(int64_t epoch);
  // What waits is decided, written and sent. Returns how many requests were taken.
  int RunOnce();

  struct Stats {
    int64_t requests = 0;
    int64_t refused = 0;  // malformed, too large, not of a known data plane
    int64_t dropped = 0;  // the queue was full
    int64_t grants = 0;   // messages sent
    int64_t recalls = 0;
    int64_t batches = 0;
    int64_t send_failures = 0;
    int64_t tombstoned = 0;  // for silence
    bool stalled = false;    // the store cannot write: nothing is granted
    int64_t queued = 0;
  };
  Stats stats() const;
  void Collect(MetricsText& text) const;

 private:
  struct Rep;
  std::unique_ptr<Rep> rep_;
};

}  // namespace spillway
