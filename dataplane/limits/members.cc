#include "dataplane/limits/members.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace spillway {
namespace {

// A control plane's count is believed against a silent member only when it is this much younger
// than the silence: its own roster may lag behind.
constexpr int64_t kRosterLagNs = 10'000'000'000;
constexpr uint64_t kBeforeBits = 64;

}  // namespace

Members::Members(std::string self, bool cluster, int64_t now_ns)
    : self_(std::move(self)), cluster_(cluster), round_began_ns_(now_ns) {
  Publish();
}

std::optional<Members::Heard> Members::Hear(std::string_view instance, std::string_view incarnation,
                                            uint64_t sent, int64_t now_ns) {
  const std::lock_guard lock(mutex_);
  if (instance == self_ || !cluster_) return std::nullopt;
  auto at = members_.find(instance);
  if (at == members_.end()) {
    if (members_.size() >= kMembersMax) return std::nullopt;
    at = members_.emplace(instance, Member{.id = ++last_id_}).first;
  }
  Member& member = at->second;
  const bool same = member.incarnation == incarnation;
  if (same && sent <= member.sent) return std::nullopt;
  const bool newcomer = !same || !member.live;
  if (newcomer) {
    ++member.life;
    ++joins_;
    member.confirmed.clear();
  }
  if (!same) {
    member.applied = 0;
    member.applied_before = 0;
  }
  member.incarnation = incarnation;
  member.sent = sent;
  member.heard_ns = now_ns;
  member.live = true;
  if (newcomer) Publish();
  return Heard{.member = member.id, .life = member.life, .newcomer = newcomer};
}

Members::Member* Members::Find(uint32_t id) {
  for (auto& [name, member] : members_) {
    if (member.id == id) return &member;
  }
  return nullptr;
}

void Members::Applied(uint32_t id, uint64_t sent) {
  const std::lock_guard lock(mutex_);
  Member* const member = Find(id);
  if (member == nullptr || sent <= member->applied) return;
  const uint64_t step = sent - member->applied;
  member->applied_before = step < kBeforeBits ? member->applied_before << step : 0;
  if (step <= kBeforeBits && member->applied > 0)
    member->applied_before |= uint64_t{1} << (step - 1);
  member->applied = sent;
}

std::vector<Members::Confirmation> Members::Confirmations() const {
  const std::lock_guard lock(mutex_);
  std::vector<Confirmation> all;
  for (const auto& [name, member] : members_) {
    if (!member.live || member.applied == 0) continue;
    all.push_back({.instance = name,
                   .incarnation = member.incarnation,
                   .sent = member.applied,
                   .before = member.applied_before});
  }
  return all;
}

void Members::Confirmed(uint32_t id, uint64_t sent, uint64_t before) {
  const std::lock_guard lock(mutex_);
  Member* const member = Find(id);
  if (member == nullptr) return;
  member->confirmed.resize(HeardByAll::kWindow);
  for (uint64_t back = 0; back <= kBeforeBits && back < sent; ++back) {
    const uint64_t number = sent - back;
    uint64_t& slot = member->confirmed[number % HeardByAll::kWindow];
    if ((back > 0 && (before >> (back - 1) & 1) == 0) || slot == number) continue;
    slot = number;
    if (AllConfirmed(number)) heard_->Mark(number);
  }
}

bool Members::AllConfirmed(uint64_t sent) const {
  return std::ranges::all_of(members_, [sent](const auto& entry) {
    const Member& member = entry.second;
    return !member.live ||
           (!member.confirmed.empty() && member.confirmed[sent % HeardByAll::kWindow] == sent);
  });
}

// Some are not live any more: what they confirmed is kept apart from what the others will.
void Members::NoteLoss() {
  ++losses_;
  heard_before_ = std::exchange(heard_, std::make_shared<HeardByAll>());
  for (const auto& [name, member] : members_) {
    if (!member.live) continue;
    for (const uint64_t sent : member.confirmed) {
      if (sent > 0 && AllConfirmed(sent)) heard_->Mark(sent);
    }
    return;
  }
}

uint64_t Members::Complete(uint32_t id, int64_t now_ns) {
  const std::lock_guard lock(mutex_);
  if (Member* const member = Find(id)) member->completed_round = round_;
  if (now_ns - round_began_ns_ >= kRoundMinNs && AllComplete()) {
    ++round_;
    round_began_ns_ = now_ns;
  }
  return round_;
}

bool Members::AllComplete() const {
  return std::ranges::all_of(members_, [this](const auto& entry) {
    return !entry.second.live || entry.second.completed_round == round_;
  });
}

void Members::SetConnected(bool connected, int64_t now_ns) {
  const std::lock_guard lock(mutex_);
  if (connected == connected_) return;
  connected_ = connected;
  was_connected_ = was_connected_ || connected;
  for (auto& [name, member] : members_) member.live = member.live && connected;
  if (!connected) NoteLoss();
  round_began_ns_ = now_ns;
  Publish();
}

void Members::SetFleetSize(int64_t size, int64_t said_ns, int64_t now_ns) {
  const std::lock_guard lock(mutex_);
  if (size <= 0) return;
  const bool changed = size != fleet_size_;
  fleet_size_ = size;
  said_ns_ = std::min(said_ns, now_ns);
  const size_t before = members_.size();
  DropRetired();
  if (changed || members_.size() != before) Publish();
}

// Longest silent first.
void Members::DropRetired() {
  while (static_cast<int64_t>(members_.size()) + 1 > fleet_size_) {
    auto oldest = members_.end();
    for (auto at = members_.begin(); at != members_.end(); ++at) {
      if (at->second.live || at->second.heard_ns > said_ns_ - kRosterLagNs) continue;
      if (oldest == members_.end() || at->second.heard_ns < oldest->second.heard_ns) oldest = at;
    }
    if (oldest == members_.end()) return;
    members_.erase(oldest);
  }
}

void Members::Tick(int64_t now_ns) {
  const std::lock_guard lock(mutex_);
  bool changed = false;
  for (auto& [name, member] : members_) {
    if (!member.live || now_ns - member.heard_ns <= kSilentNs) continue;
    member.live = false;
    changed = true;
  }
  if (!changed) return;
  NoteLoss();
  Publish();
}

void Members::Publish() {
  auto next = std::make_shared<FleetView>();
  next->generation = view_ == nullptr ? 1 : view_->generation + 1;
  next->joins = joins_;
  next->heard = heard_;
  next->losses = losses_;
  next->heard_before = heard_before_;
  const int64_t seen = static_cast<int64_t>(members_.size()) + 1;
  next->fleet = std::max(fleet_size_, seen);
  if (cluster_ && !was_connected_) ++next->fleet;
  const bool everybody = next->fleet == seen;
  // members_ is in the order of names: that is the ranking, with this one put in its place.
  int64_t rank = 0;
  bool placed = false;
  const auto place_self = [&] {
    if (everybody) next->ranks.push_back(rank);
    ++rank;
    placed = true;
  };
  for (const auto& [name, member] : members_) {
    if (!placed && self_ < name) place_self();
    if (member.live) {
      next->members.push_back({.id = member.id, .life = member.life});
      if (everybody) next->ranks.push_back(rank);
    }
    ++rank;
  }
  if (!placed) place_self();
  std::ranges::sort(next->members);
  next->live = static_cast<int64_t>(next->members.size()) + 1;
  view_ = std::move(next);
}

std::shared_ptr<const FleetView> Members::view() const {
  const std::lock_guard lock(mutex_);
  return view_;
}

int64_t Members::members() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(members_.size());
}

int64_t Members::AgeNs(int64_t now_ns) const {
  const std::lock_guard lock(mutex_);
  int64_t age_ns = -1;
  for (const auto& [name, member] : members_) {
    if (member.live) age_ns = std::max(age_ns, now_ns - member.heard_ns);
  }
  return age_ns;
}

}  // namespace spillway
