#include "dataplane/budgets/lease_holders.h"

#include <algorithm>
#include <utility>

namespace spillway {

void LeaseClock::Heard(int64_t control_plane_time_ms, int64_t now_ns) {
  // A copy that was long under way says an earlier time than is known by now.
  if (heard() && TimeMs(now_ns, 0) >= control_plane_time_ms) return;
  base_ms_ = control_plane_time_ms;
  base_ns_ = now_ns;
}

int64_t LeaseClock::TimeMs(int64_t now_ns, int64_t wall_ms) const {
  if (!heard()) return wall_ms;
  const int64_t elapsed_us = (now_ns - base_ns_) / 1000;
  return base_ms_ + (elapsed_us - elapsed_us / 1'000'000 * drift_ppm_) / 1000;
}

LeaseHolders::LeaseHolders(std::string instance, std::string holder, const LeaseOptions& options,
                           int64_t now_ns)
    : instance_(std::move(instance)), options_(options), clock_(options.drift_ppm) {
  holders_.push_back(std::make_unique<LeaseHolder>(std::move(holder), instance_, options_, now_ns));
}

LeaseHolder* LeaseHolders::Find(std::string_view holder) {
  for (const auto& held : holders_) {
    if (held->id() == holder) return held.get();
  }
  return nullptr;
}

std::vector<LeaseHolder*> LeaseHolders::All() {
  std::vector<LeaseHolder*> all;
  all.reserve(holders_.size());
  for (const auto& held : holders_) all.push_back(held.get());
  return all;
}

std::vector<uint64_t> LeaseHolders::Replace(std::string holder, int64_t now_ns) {
  std::vector<uint64_t> waiters = current().DropWaiters();
  current().ReturnAll();
  ++replaced_;
  holders_.push_back(std::make_unique<LeaseHolder>(std::move(holder), instance_, options_, now_ns));
  return waiters;
}

std::vector<LeaseHolder*> LeaseHolders::Ended() {
  std::vector<LeaseHolder*> ended;
  for (size_t i = 0; i + 1 < holders_.size(); ++i) {
    if (holders_[i]->calls() == 0) ended.push_back(holders_[i].get());
  }
  return ended;
}

void LeaseHolders::Drop(std::string_view holder) {
  std::erase_if(holders_, [&](const auto& held) {
    return held.get() != holders_.back().get() && held->id() == holder;
  });
}

LeaseHolder::GrantOutcome LeaseHolders::OnGrant(const v1::LeaseGrant& grant, int64_t now_ns) {
  LeaseHolder* holder = Find(grant.holder());
  if (holder == nullptr) return {.stale = true};
  LeaseHolder::GrantOutcome outcome = holder->OnGrant(grant, now_ns);
  if (outcome.stale) return outcome;
  clock_.Heard(grant.control_plane_time_ms(), now_ns);
  fleet_size_ = grant.fleet_size();
  if (holder != &current()) outcome.tombstoned = false;
  return outcome;
}

void LeaseHolders::OnRecall(const v1::Recall& recall) {
  for (const auto& held : holders_) held->OnRecall(recall);
}

void LeaseHolders::Tick(int64_t now_ns, int64_t wall_ms) {
  for (const auto& held : holders_) held->Tick(now_ns, clock_.TimeMs(now_ns, wall_ms));
}

}  // namespace spillway
