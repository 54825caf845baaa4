#include "controlplane/publish/fleet.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/log.h"
#include "common/subjects.h"

namespace spillway {
namespace {

constexpr int64_t kConnectedNs = 6'000'000'000;
constexpr int64_t kStartGraceNs = 3'000'000'000;
constexpr size_t kHeartbeatBytesMax = size_t{256} * 1024;
constexpr size_t kReachedMax = 64;
constexpr size_t kCommittedMax = 1'024;
constexpr size_t kReasonBytesMax = 1'024;
constexpr auto kLookEvery = std::chrono::milliseconds(200);

v1::Instance FromHeartbeat(const v1::Heartbeat& heartbeat) {
  v1::Instance instance;
  instance.set_instance(heartbeat.instance());
  instance.set_incarnation(heartbeat.incarnation());
  instance.set_version(heartbeat.version());
  instance.set_epoch(heartbeat.epoch());
  instance.set_revision(heartbeat.revision());
  instance.set_ready(heartbeat.ready());
  instance.set_draining(heartbeat.draining());
  instance.set_nack_revision(heartbeat.nack().revision());
  instance.set_nack_reason(heartbeat.nack().reason().substr(0, kReasonBytesMax));
  instance.set_revision_source(heartbeat.revision_source());
  int64_t uncommitted = 0;
  for (const v1::JournalState& journal : heartbeat.journals()) {
    uncommitted += std::max<int64_t>(0, journal.last_seq() - journal.committed_upto());
  }
  instance.set_uncommitted_records(uncommitted);
  return instance;
}

}  // namespace

Fleet::Fleet(Bus& bus, Instances& instances, const Clock& clock)
    : bus_(bus), instances_(instances), clock_(clock), started_ns_(clock.MonotonicNs()) {}

Fleet::~Fleet() { Stop(); }

Result<void> Fleet::Start() {
  SW_TRY(subscription_,
         bus_.Subscribe(subjects::kFleetAll, [this](const BusMessage& message) { Hear(message); }));
  return {};
}

void Fleet::Stop() { subscription_.reset(); }

void Fleet::OnHeartbeat(std::function<void(const v1::Heartbeat&)> listener) {
  listeners_.push_back(std::move(listener));
}

void Fleet::Hear(const BusMessage& message) {
  v1::Heartbeat heartbeat;
  const bool good = message.payload.size() <= kHeartbeatBytesMax &&
                    heartbeat.ParseFromString(message.payload) &&
                    message.subject == subjects::Fleet(heartbeat.instance());
  if (!good) {
    log::Warn("a heartbeat that cannot be read", {{"subject", message.subject}});
    return;
  }
  v1::Instance seen = FromHeartbeat(heartbeat);
  seen.set_last_seen_ms(clock_.WallMs());
  seen.set_connected(!heartbeat.goodbye());
  if (const auto noted = instances_.Note(seen); !noted) {
    log::Warn("the roster cannot be kept", {{"error", noted.error().message}});
    // Not in the roster: no place in memory either, or names made up would fill it.
    if (!instances_.Find(heartbeat.instance())) return;
  }
  for (const auto& listener : listeners_) listener(heartbeat);
  {
    const std::lock_guard lock(mutex_);
    Member& member = members_[heartbeat.instance()];
    member.heard_at_ns = clock_.MonotonicNs();
    member.heard_wall_ms = seen.last_seen_ms();
    member.reached_ns.try_emplace(heartbeat.revision(), member.heard_at_ns);
    while (member.reached_ns.size() > kReachedMax) {
      member.reached_ns.erase(member.reached_ns.begin());
    }
    member.last = std::move(heartbeat);
  }
  heard_.notify_all();
}

bool Fleet::IsConnected(const Member& member, int64_t now_ns) const {
  return !member.last.goodbye() && now_ns - member.heard_at_ns < kConnectedNs;
}

v1::Instance Fleet::Describe(const std::string& instance, const Member& member,
                             int64_t now_ns) const {
  v1::Instance described = FromHeartbeat(member.last);
  described.set_instance(instance);
  described.set_connected(IsConnected(member, now_ns));
  described.set_last_seen_ms(member.heard_wall_ms);
  return described;
}

v1::ListFleetResponse Fleet::List(int64_t revision) const {
  v1::ListFleetResponse response;
  response.set_revision(revision);
  const std::vector<v1::Instance> roster = instances_.List();
  const std::lock_guard lock(mutex_);
  const int64_t now_ns = clock_.MonotonicNs();
  for (const v1::Instance& known : roster) {
    v1::Instance& listed = *response.add_instances();
    const auto member = members_.find(known.instance());
    if (member != members_.end()) {
      listed = Describe(known.instance(), member->second, now_ns);
    } else {
      listed = known;
      listed.set_connected(false);
    }
    listed.set_retired(known.retired());
  }
  return response;
}

int64_t Fleet::connected() const {
  const std::lock_guard lock(mutex_);
  const int64_t now_ns = clock_.MonotonicNs();
  return std::ranges::count_if(
      members_, [&](const auto& entry) { return IsConnected(entry.second, now_ns); });
}

void Fleet::NoteCommitted(int64_t revision) {
  const std::lock_guard lock(mutex_);
  committed_ns_[revision] = clock_.MonotonicNs();
  while (committed_ns_.size() > kCommittedMax) committed_ns_.erase(committed_ns_.begin());
}

// With `mutex_`. True when nobody connected is still on the way to the revision.
bool Fleet::Settled(int64_t revision, v1::WaitActiveResponse& answer) const {
  answer.Clear();
  const int64_t now_ns = clock_.MonotonicNs();
  int64_t last_ns = 0;
  bool waiting = false;
  for (const auto& [instance, member] : members_) {
    if (!IsConnected(member, now_ns)) continue;
    answer.set_connected(answer.connected() + 1);
    if (member.last.revision() >= revision) {
      answer.set_active(answer.active() + 1);
      const auto reached = member.reached_ns.lower_bound(revision);
      if (reached != member.reached_ns.end()) last_ns = std::max(last_ns, reached->second);
      continue;
    }
    *answer.add_behind() = Describe(instance, member, now_ns);
    if (member.last.nack().revision() < revision) waiting = true;
  }
  const auto committed = committed_ns_.find(revision);
  if (committed != committed_ns_.end() && last_ns > committed->second) {
    answer.set_elapsed_us((last_ns - committed->second) / 1'000);
  }
  if (answer.connected() == 0 && now_ns - started_ns_ < kStartGraceNs) return false;
  return !waiting;
}

v1::WaitActiveResponse Fleet::WaitActive(int64_t revision, int64_t timeout_ms,
                                         const std::function<bool()>& cancelled) {
  const auto deadline = std::chrono::steady_clock::now() +
                        std::chrono::milliseconds(std::clamp<int64_t>(timeout_ms, 0, 3'600'000));
  v1::WaitActiveResponse answer;
  std::unique_lock lock(mutex_);
  // Also looked at without a heartbeat: who falls silent is not waited for any more.
  while (!Settled(revision, answer)) {
    const auto now = std::chrono::steady_clock::now();
    if (now >= deadline || cancelled()) break;
    heard_.wait_until(lock, std::min(deadline, now + kLookEvery));
  }
  return answer;
}

}  // namespace spillway
