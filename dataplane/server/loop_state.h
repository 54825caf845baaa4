#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "dataplane/exchange/loop.h"
#include "dataplane/server/limits.h"
#include "dataplane/server/response_head.h"

namespace spillway {

class Connection;
class Pipeline;

// Written by one loop's thread, read by scrapes.
struct LoopCounters {
  std::atomic<int64_t> connections{0};  // open now
  std::atomic<int64_t> connections_total{0};
  std::atomic<int64_t> streams{0};     // open now
  std::atomic<int64_t> shed_total{0};  // connections and requests refused for overload
  std::atomic<int64_t> accept_failures{0};
  std::atomic<int64_t> handshake_failures{0};
};

// What the sessions of one loop share. Owned by the server. Loop thread only, but for the counters
// and `shedding`.
struct LoopState {
  Loop& loop;
  const SessionLimits& limits;
  const std::atomic<bool>& shedding;  // memory is short: refuse what is new
  std::function<void()> on_session_end;
  Pipeline* pipeline = nullptr;
  bool draining = false;
  Connection* connections = nullptr;  // head of the list
  HttpDate date = {};
  LoopCounters counters = {};
};

}  // namespace spillway
