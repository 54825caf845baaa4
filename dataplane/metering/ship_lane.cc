#include "dataplane/metering/ship_lane.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace spillway {

ShipRun& ShipLane::AddFresh(uint64_t id, int64_t first_seq, int64_t last_seq,
                            std::string message_id) {
  fresh_.emplace_back(id, last_seq);
  next_seq_ = last_seq + 1;
  ShipRun& run = runs_[id];
  run = {
      .id = id, .first_seq = first_seq, .last_seq = last_seq, .message_id = std::move(message_id)};
  return run;
}

ShipRun& ShipLane::AddResend(uint64_t id, int64_t first_seq, int64_t last_seq,
                             std::string message_id) {
  ++resend_runs_;
  ShipRun& run = runs_[id];
  run = {.id = id,
         .first_seq = first_seq,
         .last_seq = last_seq,
         .message_id = std::move(message_id),
         .resend = true};
  return run;
}

ShipRun* ShipLane::Find(uint64_t id) {
  const auto at = runs_.find(id);
  return at == runs_.end() ? nullptr : &at->second;
}

void ShipLane::Acknowledge(uint64_t id) {
  const auto at = runs_.find(id);
  if (at == runs_.end()) return;
  if (at->second.resend) --resend_runs_;
  runs_.erase(at);
  while (!fresh_.empty() && !runs_.contains(fresh_.front().first)) {
    published_upto_ = std::max(published_upto_, fresh_.front().second);
    fresh_.pop_front();
  }
}

void ShipLane::Committed(int64_t upto) {
  std::vector<uint64_t> done;
  for (const auto& [id, run] : runs_)
    if (run.last_seq <= upto) done.push_back(id);
  for (const uint64_t id : done) Acknowledge(id);
  published_upto_ = std::max(published_upto_, upto);
  next_seq_ = std::max(next_seq_, upto + 1);
}

void ShipLane::Fail(uint64_t id, int64_t retry_at_ns) {
  ShipRun* run = Find(id);
  if (run == nullptr) return;
  run->in_flight = false;
  run->retry_at_ns = retry_at_ns;
}

ShipRun* ShipLane::Due(int64_t now_ns) {
  for (auto& [id, run] : runs_)
    if (!run.in_flight && run.retry_at_ns <= now_ns) return &run;
  return nullptr;
}

void ShipLane::WantResend(int64_t from_seq, int64_t to_seq) {
  // What was never sent goes out by itself.
  to_seq = std::min(to_seq, next_seq_ - 1);
  from_seq = std::max<int64_t>(from_seq, 1);
  for (const auto& [id, run] : runs_)
    if (run.resend && run.first_seq <= from_seq && from_seq <= run.last_seq)
      from_seq = run.last_seq + 1;
  for (const Range& range : resends_)
    if (range.from_seq <= from_seq && from_seq <= range.to_seq) from_seq = range.to_seq + 1;
  if (from_seq > to_seq || resends_.size() >= kResendRangesMax) return;
  resends_.push_back({.from_seq = from_seq, .to_seq = to_seq});
}

std::optional<ShipLane::Range> ShipLane::FrontResend() const {
  if (resends_.empty()) return {};
  return resends_.front();
}

void ShipLane::ResentUpto(int64_t upto) {
  if (resends_.empty()) return;
  resends_.front().from_seq = upto + 1;
  if (resends_.front().from_seq > resends_.front().to_seq) resends_.pop_front();
}

}  // namespace spillway
