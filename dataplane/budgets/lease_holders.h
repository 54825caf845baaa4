#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/budgets/lease_holder.h"

namespace spillway {

// Control-plane time as a data plane knows it: the latest that it heard plus its own monotonic
// clock, slightly slow, never backwards. Windows are chosen by it. Not thread-safe.
class LeaseClock {
 public:
  explicit LeaseClock(int64_t drift_ppm) : drift_ppm_(drift_ppm) {}
  void Heard(int64_t control_plane_time_ms, int64_t now_ns);
  // Before anything was heard: `wall_ms`.
  int64_t TimeMs(int64_t now_ns, int64_t wall_ms) const;
  bool heard() const { return base_ns_ >= 0; }

 private:
  int64_t drift_ppm_;
  int64_t base_ms_ = 0;
  int64_t base_ns_ = -1;
};

// The holder that a data plane spends from, and those it had to leave behind: one that learns that
// it is tombstoned carries on under a new id, while the old one settles the calls that it has and
// then closes. Not thread-safe. A LeaseHolder stays where it is until Drop.
class LeaseHolders {
 public:
  // `holder`: the incarnation's id, on disk before it is used.
  LeaseHolders(std::string instance, std::string holder, const LeaseOptions& options,
               int64_t now_ns);

  LeaseHolder& current() { return *holders_.back(); }
  const LeaseHolder& current() const { return *holders_.back(); }
  int64_t number() const { return replaced_; }  // of the current one, never of another
  LeaseHolder* Find(std::string_view holder);
  // All of them, the current one last.
  std::vector<LeaseHolder*> All();

  // After a grant that says tombstoned. `holder` is new, on disk, and its journal has its hello.
  // The old one gives back what is idle. Returns its waiters, who must ask again at the current
  // one.
  std::vector<uint64_t> Replace(std::string holder, int64_t now_ns);
  // Left behind, and no call holds a reservation any more: journal its Closed, then drop it.
  std::vector<LeaseHolder*> Ended();
  void Drop(std::string_view holder);

  // To the holder it names. Tombstoned is reported only for the current one.
  LeaseHolder::GrantOutcome OnGrant(const v1::LeaseGrant& grant, int64_t now_ns);
  void OnRecall(const v1::Recall& recall);
  void Tick(int64_t now_ns, int64_t wall_ms);
  int64_t WindowTimeMs(int64_t now_ns, int64_t wall_ms) const {
    return clock_.TimeMs(now_ns, wall_ms);
  }
  int64_t fleet_size() const { return fleet_size_; }  // as last heard; 0: never

 private:
  std::string instance_;
  LeaseOptions options_;
  LeaseClock clock_;
  int64_t fleet_size_ = 0;
  int64_t replaced_ = 0;
  std::vector<std::unique_ptr<LeaseHolder>> holders_;
};

}  // namespace spillway
