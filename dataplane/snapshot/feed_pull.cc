// From NATS: the push of each delta, and the poll of the latest revision that finds what was
// missed.
#include <algorithm>
#include <format>
#include <tuple>
#include <utility>

#include "common/clock.h"
#include "common/log.h"
#include "dataplane/snapshot/feed_core.h"
#include "dataplane/snapshot/refusal.h"

namespace spillway {
namespace {

constexpr int64_t kRetryFirstMs = 100;
constexpr int64_t kNotReadyRetryMs = 1'000;
constexpr int kWantedTriesMax = 8;
constexpr int kMovedOnMax = 3;

bool SameState(const v1::Position& a, const v1::Position& b) {
  return a.revision() == b.revision() && a.digest() == b.digest() &&
         a.cluster_id() == b.cluster_id();
}

// A silent bus says nothing about the snapshot.
bool IsOutage(const Error& error) {
  return error.code == ErrorCode::kUnavailable && error.param.empty();
}

}  // namespace

Result<void> FeedCore::CheckFence(const v1::Position& position) const {
  if (!fence_.cluster_id.empty() && position.cluster_id() != fence_.cluster_id) {
    return Refuse(RefusalClass::kCluster,
                  std::format("it is of cluster {}, this data plane belongs to {}",
                              position.cluster_id(), fence_.cluster_id));
  }
  if (position.epoch() < fence_.epoch) {
    return Refuse(RefusalClass::kEpoch, std::format("epoch {} is older than {}, which was seen",
                                                    position.epoch(), fence_.epoch));
  }
  return {};
}

// Behind what we have, within the same epoch: a lagging replica, or a message twice.
bool FeedCore::IsOld(const v1::Position& position) const {
  return current_ != nullptr && position.epoch() <= current_->position().epoch() &&
         position.revision() < current_->position().revision();
}

// A control plane that was restored gives the numbers of lost revisions to others: what is known of
// a revision by its number says nothing of those. (A later epoch of the same state is no other.)
bool FeedCore::IsOtherHistory(const v1::Position& position) const {
  if (current_ == nullptr) return false;
  const v1::Position& ours = current_->position();
  const v1::Position& newest = held_.revision() > ours.revision() ? held_ : ours;
  return position.epoch() > newest.epoch() && position.revision() <= newest.revision() &&
         !SameState(position, newest) && !SameState(position, ours);
}

void FeedCore::SchedulePoll() {
  std::uniform_int_distribution<int64_t> jitter(options_.poll_min_ms, options_.poll_max_ms);
  int64_t wait_ms = jitter(random_);
  if (pull_failures_ > 0) {
    const int64_t backoff_ms = kRetryFirstMs << std::min(pull_failures_ - 1, 8);
    wait_ms = std::min(wait_ms, backoff_ms);
  }
  if (!active_ && !booting_) wait_ms = std::min(wait_ms, kNotReadyRetryMs);
  next_poll_ns_ = NowNs() + wait_ms * kNsPerMs;
}

void FeedCore::OnConnected() {
  next_beat_ns_ = NowNs();  // what was to be said before reached nobody
  Pull();
}

void FeedCore::Pull() {
  if (bus_ == nullptr || bus_->state() != BusState::kConnected) {
    pull_reason_ = bus_ == nullptr ? "NATS is not configured" : "NATS is not connected";
  } else if (auto pulled = TryPull(); pulled) {
    pull_failures_ = 0;
    pull_reason_.clear();
    WantAgain();
    // Nothing of what NATS has may run, but it answered: what there is counts now.
    if (booting_ && current_ != nullptr) FinishBoot();
  } else {
    ++pull_failures_;
    pull_reason_ = "NATS: " + pulled.error().message;
  }
  if (!active_ && !booting_) std::ignore = TrySeed();
  SchedulePoll();
  Publish();
}

Result<void> FeedCore::TryPull() {
  Fetcher fetch(*bus_, reader_, clock_);
  // Only where there is something to fall back on is it worth stopping in the middle.
  if (booting_ && (current_ != nullptr || !options_.seed_path.empty()))
    fetch.set_deadline_ns(boot_deadline_ns_);
  auto latest = fetch.Latest();
  if (!latest && ClassOf(latest.error()) == RefusalClass::kMissing && !IsOutage(latest.error()))
    return Fail(ErrorCode::kNotFound, "no configuration was published yet");
  if (!latest) {
    if (!IsOutage(latest.error())) Refused(latest.error(), 0, "nats");
    return std::unexpected(std::move(latest).error());
  }
  auto followed = Follow(fetch, *latest);
  for (int i = 0;
       i < kMovedOnMax && !followed && ClassOf(followed.error()) == RefusalClass::kMissing; ++i) {
    // What the pointer named may have been cleared away while it was fetched: it points further
    // then.
    auto again = fetch.Latest();
    if (!again || again->signed_bytes == latest->signed_bytes) break;
    latest = std::move(again);
    followed = Follow(fetch, *latest);
  }
  if (!followed && !IsOutage(followed.error()))
    Refused(followed.error(), latest->latest.position().revision(), "nats");
  return followed;
}

Result<void> FeedCore::Follow(Fetcher& fetch, const ProvenLatest& latest) {
  const v1::Position& position = latest.latest.position();
  SW_CHECK(CheckFence(position));
  if (IsOld(position)) return {};
  RememberFleet(latest.latest.fleet_size());
  if (current_ != nullptr && SameState(position, current_->position()) && !diverged_) {
    Confirm(latest);
    return {};
  }
  const bool other_history = IsOtherHistory(position);
  if (other_history) quarantine_.Forget();
  if (current_ != nullptr && quarantine_.Contains(position.revision()) &&
      held_.revision() >= position.revision()) {
    confirmed_ns_ = NowNs();  // known, and must not run: its revocations are in force already
    return {};
  }
  auto lineage = Bridge(fetch, position.revision());
  if (!lineage || !SameState(lineage->deltas.back().delta.position(), position)) {
    lineage.emplace();
    SW_TRY(lineage->full, fetch.Full(latest.latest.full_revision()));
    SW_TRY(lineage->deltas, fetch.Deltas(latest.latest.full_revision(), position.revision()));
    const v1::Position& end =
        lineage->deltas.empty() ? lineage->full->position : lineage->deltas.back().delta.position();
    if (!SameState(end, position)) {
      return Refuse(
          RefusalClass::kMissing,
          std::format("what is published does not lead to revision {}", position.revision()));
    }
  }
  SW_CHECK(Adopt(*lineage, "nats"));
  if (other_history) {
    held_.Clear();
    writer_->SaveQuarantine(quarantine_.Render());
  }
  if (current_ != nullptr && SameState(position, current_->position())) Confirm(latest);
  return {};
}

// The deltas from here to a revision, when they can be applied: not onto a restricted or damaged
// state, and not across a quarantined revision (what follows one is fetched full).
std::optional<Lineage> FeedCore::Bridge(Fetcher& fetch, int64_t to) {
  if (current_ == nullptr || restricted_ || diverged_) return std::nullopt;
  const int64_t from = current_->position().revision();
  if (to <= from || to - from > options_.limits.gap_deltas_max) return std::nullopt;
  bool crossed = false;
  for (int64_t revision = from + 1; revision <= to; ++revision) {
    if (quarantine_.Contains(revision)) {
      crossed = true;
    } else if (crossed) {
      return std::nullopt;
    }
  }
  auto deltas = fetch.Deltas(from, to);
  if (!deltas) {
    if (!IsOutage(deltas.error()) && ClassOf(deltas.error()) != RefusalClass::kMissing)
      Note(deltas.error(), "nats");
    return std::nullopt;
  }
  // One of them may stand for a revision without a delta of its own: then the full state is needed.
  Lineage lineage{.full = std::nullopt, .deltas = *std::move(deltas)};
  if (!CheckChain(lineage, current_.get())) return std::nullopt;
  return lineage;
}

// The newest is what we have. A later epoch may have said so: then that is our epoch too.
void FeedCore::Confirm(const ProvenLatest& latest) {
  const v1::Position& position = latest.latest.position();
  confirmed_ns_ = NowNs();
  RaiseFence(position);
  const bool newer_epoch = position.epoch() > current_->position().epoch();
  if (newer_epoch) {
    current_ = WithPosition(*current_, position);
    if (!restricted_)
      writer_->Keep(current_, latest.signed_bytes, std::vector{latest.signed_bytes});
  }
  if (newer_epoch || !active_) Activate(current_, "nats");
}

void FeedCore::OnPush(std::string signed_bytes) {
  auto pushed = reader_.ReadDelta(std::move(signed_bytes));
  if (!pushed) {
    Refused(pushed.error(), 0, "push");
    Publish();
    return;
  }
  const int64_t revision = pushed->delta.position().revision();
  if (auto fenced = CheckFence(pushed->delta.position()); !fenced) {
    Refused(fenced.error(), revision, "push");
  } else if (current_ != nullptr && !IsOld(pushed->delta.position()) &&
             revision != current_->position().revision()) {
    if (auto followed = FollowPush(*std::move(pushed)); !followed)
      Refused(followed.error(), revision, "push");
  } else if (current_ == nullptr && bus_ != nullptr) {
    Pull();
  }
  Publish();
}

Result<void> FeedCore::FollowPush(ProvenDelta pushed) {
  const v1::Position& base = pushed.delta.base();
  const v1::Position& ours = current_->position();
  const int64_t revision = pushed.delta.position().revision();
  const bool follows = base.revision() == ours.revision() && base.digest() == ours.digest();
  if (follows && !restricted_ && !diverged_) {
    Lineage lineage;
    lineage.deltas.push_back(std::move(pushed));
    SW_CHECK(Adopt(lineage, "nats"));
    confirmed_ns_ = NowNs();
    return {};
  }
  wanted_revision_ = std::max(wanted_revision_, revision);
  wanted_tries_ = 0;
  Pull();
  return {};
}

// The pointer to the latest is written after the push: it may lag behind it for a moment.
void FeedCore::WantAgain() {
  const int64_t known =
      current_ == nullptr ? 0 : std::max(current_->position().revision(), held_.revision());
  if (known >= wanted_revision_ || wanted_tries_ >= kWantedTriesMax) {
    wanted_revision_ = 0;
    return;
  }
  pull_failures_ = ++wanted_tries_;
}

}  // namespace spillway
