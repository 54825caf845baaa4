#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/limits/limits.h"
#include "dataplane/limits/members.h"
#include "spillway/v1/lease.pb.h"

namespace spillway {

// What limit gossip does, without its thread and the bus: tests drive several of them through a
// model of the network.
//
// Messages carry what changed since the last one, and some more in rotation, so that newcomers and
// lost copies catch up; each is at most kBytesMax long, names of peers apart. They confirm what was
// heard: how many requests run is told until it is (or ten seconds in vain), and what is not
// confirmed when contact is lost is charged to one's own share. They are not signed. What a message
// can do is to hold others back, or to be ignored: one claims at most 16 limits per bucket, all
// together no deeper debt than 16 periods or an hour, whichever is less but at least one period;
// what is claimed back is at most what the same member claimed in the last two periods or so. A
// captured data plane can so make others refuse as long as it lies, and let them admit up to half a
// limit more in a period; it could as well send the requests itself.
class GossipCore {
 public:
  static constexpr int64_t kTickNs = 100'000'000;
  static constexpr size_t kBytesMax = size_t{48} * 1024;
  static constexpr size_t kUsesMax = 256;     // in one message
  static constexpr size_t kMessagesMax = 8;   // at once
  static constexpr size_t kRotationMax = 32;  // unchanged entries per tick
  static constexpr size_t kReceivedBytesMax = size_t{256} * 1024;
  static constexpr int kReceivedUsesMax = 2'048;
  static constexpr int kReceivedHeardMax = 512;

  // `limits` was made with `cluster` and outlives it.
  GossipCore(RateLimits& limits, std::string instance, std::string incarnation, int64_t now_ns);

  // Every kTickNs, by one thread: what to publish. Something always: silence means absence.
  std::vector<std::string> Tick(int64_t now_ns);
  // The same between ticks, when a sixteenth of a limit was used or a period began.
  std::vector<std::string> Urgent(int64_t now_ns);

  // Thread-safe.
  void Receive(std::string_view message, int64_t now_ns);
  void SetConnected(bool connected, int64_t now_ns);
  // What the control plane said of the fleet's size at `said_ns`.
  void SetFleetSize(int64_t size, int64_t said_ns, int64_t now_ns);

  const Members& members() const { return members_; }
  int64_t received() const { return received_.load(std::memory_order_relaxed); }
  int64_t ignored() const { return ignored_.load(std::memory_order_relaxed); }

 private:
  v1::Gossip Head();
  void Confirm(v1::Gossip& gossip) const;
  std::vector<std::string> Changed(int64_t now_ns, bool rotate);
  void ShareView();

  RateLimits& limits_;
  const std::string instance_;
  const std::string incarnation_;
  Members members_;
  uint64_t sent_ = 0;
  int64_t live_ = 1;                   // at the last tick
  std::atomic<bool> newcomer_{false};  // heard since the last tick
  std::atomic<int64_t> received_{0};
  std::atomic<int64_t> ignored_{0};
};

}  // namespace spillway
