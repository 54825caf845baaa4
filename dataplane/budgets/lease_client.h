#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "common/bus.h"
#include "common/clock.h"
#include "common/crypto/signing.h"
#include "common/metrics.h"
#include "dataplane/budgets/budgets.h"

namespace spillway {

struct LeaseClientOptions {
  std::string instance;
  std::string holder;   // the incarnation
  std::string folder;   // of the incarnation's journal: the level log lies there
  std::string boot_id;  // ReadBootId()
  int64_t heartbeat_ms = 1000;
  int64_t repeat_ms = 20;  // while a request waits: after an answer that did not help
  int64_t gap_us = 1000;   // between two requests at least
  bool threaded = true;    // false: tests call RunOnce themselves
};

// The control plane's epoch as the whole process knows it (Journal's). Any thread.
struct LeaseClientHooks {
  std::function<int64_t()> highest_epoch;
  // On disk when it returns; an error keeps the grant from being used.
  std::function<Result<void>(int64_t epoch)> note_epoch;
};

// Speaks with the control plane for the holders of this process: asks at once when a request waits
// (many that wait are one question), else once a second; verifies grants and recalls, refuses lower
// epochs, records levels on disk before they can be spent, and carries on under a new holder id
// when the old one was given up. Own thread. Owned by main; destroyed before budgets and bus.
class LeaseClient {
 public:
  static Result<std::unique_ptr<LeaseClient>> Start(const LeaseClientOptions& options,
                                                    LeaseClientHooks hooks, Budgets& budgets,
                                                    Bus& bus, const Verifier& verifier,
                                                    const Clock& clock);
  ~LeaseClient();

  // One round: news, levels, questions.
  void RunOnce();
  // At the end of a drain, when no request runs any more: gives back what is left and says so, so
  // that others can spend it at once. Nothing is leased after it.
  void Goodbye();

  void Collect(MetricsText& text) const;

 private:
  struct Rep;
  explicit LeaseClient(std::unique_ptr<Rep> rep);
  std::unique_ptr<Rep> rep_;
};

}  // namespace spillway
