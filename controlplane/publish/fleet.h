#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/bus.h"
#include "common/clock.h"
#include "common/error.h"
#include "controlplane/store/instances.h"
#include "spillway/v1/admin.pb.h"
#include "spillway/v1/usage.pb.h"

namespace spillway {

// What the control plane knows of its data planes, from their heartbeats on spillway.fleet.*.
// Connected = heard within 6 s and no goodbye. Heartbeats are not signed: nothing but display,
// waiting and hints depends on them. Thread-safe.
class Fleet {
 public:
  Fleet(Bus& bus, Instances& instances, const Clock& clock);
  ~Fleet();
  // Subscribes. Listeners are registered before.
  Result<void> Start();
  // No callback runs after it. Idempotent.
  void Stop();

  // Called for every valid heartbeat, from a bus thread; must return quickly.
  void OnHeartbeat(std::function<void(const v1::Heartbeat&)> listener);

  // The roster with what was last heard of each, by name.
  v1::ListFleetResponse List(int64_t revision) const;
  // Blocks until every connected data plane runs `revision` or newer, or refused it, the time is
  // over, or `cancelled`, asked at least twice a second, says so. With nobody connected it answers
  // at once, but within the first 3 s after the start.
  v1::WaitActiveResponse WaitActive(int64_t revision, int64_t timeout_ms,
                                    const std::function<bool()>& cancelled);
  // When a revision was committed, for WaitActive's elapsed time. The last 1,024 are kept.
  void NoteCommitted(int64_t revision);

  // Data planes the control plane counts on, connected or silent (Latest.fleet_size).
  int64_t size() const { return instances_.Expected(); }
  int64_t connected() const;

 private:
  struct Member {
    v1::Heartbeat last;
    int64_t heard_at_ns = 0;
    int64_t heard_wall_ms = 0;
    std::map<int64_t, int64_t> reached_ns;  // revision -> when it was first reported; newest 64
  };
  void Hear(const BusMessage& message);
  bool IsConnected(const Member& member, int64_t now_ns) const;
  v1::Instance Describe(const std::string& instance, const Member& member, int64_t now_ns) const;
  bool Settled(int64_t revision, v1::WaitActiveResponse& answer) const;

  Bus& bus_;
  Instances& instances_;
  const Clock& clock_;
  const int64_t started_ns_;
  std::vector<std::function<void(const v1::Heartbeat&)>> listeners_;
  mutable std::mutex mutex_;  // guards members_, committed_ns_
  std::condition_variable heard_;
  std::map<std::string, Member> members_;
  std::map<int64_t, int64_t> committed_ns_;
  std::unique_ptr<Bus::Subscription> subscription_;
};

}  // namespace spillway
