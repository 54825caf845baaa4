#pragma once

#include "common/clock.h"
#include "dataplane/limits/limits.h"
#include "dataplane/limits/queue.h"
#include "dataplane/limits/table.h"

namespace spillway {

// The insides of RateLimits.
struct RateLimits::Rep {
  Rep(const RateLimitOptions& options, const Clock& clock)
      : table(options, clock), queue(table, options, clock) {
    table.on_freed = [this](const LimitEntry* entry) { queue.Pump(entry); };
  }

  LimitTable table;
  LimitQueue queue;
};

}  // namespace spillway
