#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "common/bus.h"
#include "common/error.h"
#include "controlplane/store/store.h"
#include "controlplane/store/write_gate.h"

namespace spillway {

// The fencing number: "<counter> <nonce>" on spillway.control.epoch, claimed by
// compare-and-set, above any number seen in the store, on NATS or from a data plane, and stored
// before it is used. Until it is claimed the write gate is held. Thread-safe.
class Epoch {
 public:
  struct Value {
    int64_t counter = 0;  // 0: none
    std::string nonce;
    friend bool operator==(const Value&, const Value&) = default;
  };
  // `on_fenced` is called once, from a bus thread or from the caller of Confirm, when another
  // control plane holds a higher epoch: the process must end, publishing nothing more.
  Epoch(Bus& bus, Store& store, WriteGate& gate, std::function<void(std::string why)> on_fenced);
  ~Epoch();

  // One attempt; the streams must exist. Returns the counter claimed. kConflict: somebody else was
  // faster, try again; kUnavailable: no answer, try again; kStale: fenced.
  Result<int64_t> Claim();
  // Reads the subject: fences when it holds a higher epoch, writes ours again when it is empty or
  // lower (a wiped stream). Call it every second or so.
  Result<void> Confirm();
  // 0 until claimed, and again once fenced.
  int64_t value() const { return value_.load(std::memory_order_acquire); }

  // A number met elsewhere (a signed message, a heartbeat). Numbers more than a million above the
  // highest known one are not believed.
  void Observe(int64_t counter);
  // A higher number than ours was met: claim again, or data planes would ignore us.
  bool Outbid() const;
  bool fenced() const { return fenced_.load(std::memory_order_acquire); }
  // Called after each claim, in order, from the thread that claimed. Register before the first.
  void OnClaimed(std::function<void(int64_t epoch)> callback);

 private:
  struct Found {
    Value value;
    uint64_t seq = 0;  // of the subject's last message; 0: there is none
  };
  Result<Found> Read();
  Result<void> Write(const Value& value, uint64_t subject_seq);
  Result<int64_t> Take(const Value& value);
  void Watch(std::string_view text);
  void Fence(const Value& other);

  Bus& bus_;
  Store& store_;
  WriteGate& gate_;
  std::function<void(std::string)> on_fenced_;
  std::vector<std::function<void(int64_t)>> on_claimed_;
  std::atomic<int64_t> value_{0};
  std::atomic<bool> fenced_{false};
  std::mutex claiming_;       // one claim or confirmation at a time
  mutable std::mutex mutex_;  // guards what follows
  Value own_;                 // as stored
  Value candidate_;           // what is being claimed: its own echo must not fence us
  int64_t seen_ = 0;          // the highest counter met anywhere
  std::unique_ptr<Bus::Subscription> watch_;  // last: dies before what its callback reads
};

// "<counter> <nonce>"; kCorrupt for anything else.
Result<Epoch::Value> ParseEpoch(std::string_view text);

}  // namespace spillway
