#pragma once

#include <array>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/mockprovider/behaviour.h"
#include "tests/mockprovider/call_ledger.h"

namespace spillway::mock {

class Session;

// What all loops share.
struct World {
  World(int loops, bool keep_calls) : ledger(loops, keep_calls) {}
  BehaviourBook book;
  CallLedger ledger;
  std::string required_key;  // empty: every key is good
  int64_t connections_max = 0;
  std::atomic<int64_t> connections{0};
};

int64_t NowMs();  // monotonic

// Wakes sessions at their time: one Asio timer for all sessions of a loop, in steps of 1 ms. A
// session waits for one moment at a time, and is kept alive by the wheel while it does.
class WakeWheel {
 public:
  explicit WakeWheel(boost::asio::io_context& io) : timer_(io) {}
  void Wake(std::shared_ptr<Session> session, int64_t at_ms);

 private:
  static constexpr int64_t kSlots = 1024;
  struct Entry {
    int64_t at_ms;
    std::shared_ptr<Session> session;
  };
  void Arm();
  void Advance();
  void RunSlot(int64_t tick, int64_t now);

  boost::asio::steady_timer timer_;
  std::array<std::vector<Entry>, kSlots> slots_;
  int64_t tick_ms_ = 0;  // the last one that was handled
  int64_t waiting_ = 0;
  bool armed_ = false;
};

// One thread of the mock provider. Only its own thread touches it, except for `io`.
struct Loop {
  static constexpr size_t kReadBytes = size_t{64} * 1024;

  Loop(World& the_world, int the_index)
      : world(the_world), ledger(the_world.ledger.shard(the_index)), index(the_index) {}

  // The plan of a model: cached, so that the common case takes no lock.
  std::shared_ptr<Plan> PlanOf(const std::string& model);
  // An id that is the same in each run: loop and count.
  std::string NextId();

  boost::asio::io_context io{1};
  World& world;
  LedgerShard& ledger;
  const int index;
  WakeWheel wheel{io};
  std::array<char, kReadBytes + 64> read_buffer{};  // the last 64: padding for the JSON parser
  std::string scratch;
  std::string wire;

 private:
  std::unordered_map<std::string, std::shared_ptr<Plan>> plans_;
  uint64_t plans_version_ = 0;
  uint64_t ids_ = 0;
};

}  // namespace spillway::mock
