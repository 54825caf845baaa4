// What the feed says of itself: heartbeat, status, refusals; and its look at its own memory.
#include <algorithm>
#include <format>
#include <tuple>
#include <utility>

#include "common/clock.h"
#include "common/log.h"
#include "common/subjects.h"
#include "dataplane/snapshot/feed_core.h"
#include "dataplane/snapshot/refusal.h"
#include "dataplane/snapshot/rep.h"

namespace spillway {
namespace {

constexpr size_t kReasonBytesMax = 1'000;
constexpr size_t kLoggedMax = 64;
constexpr size_t kAuditShards = 8;  // per heartbeat: the whole state in about a minute

std::string_view StateName(const Bus* bus) {
  if (bus == nullptr) return "none";
  switch (bus->state()) {
    case BusState::kConnecting:
      return "connecting";
    case BusState::kConnected:
      return "connected";
    case BusState::kClosed:
      return "closed";
  }
  return "none";
}

}  // namespace

// Counted, and logged once until something is activated: polls find the same trouble again and
// again.
void FeedCore::Note(const Error& error, std::string_view source) {
  const RefusalClass refusal = ClassOf(error);
  {
    const std::lock_guard lock(status_mutex_);
    ++status_.refused[static_cast<size_t>(refusal)];
  }
  std::string line = std::format("{} {} {}", source, NameOf(refusal), error.message);
  if (logged_refusals_.size() >= kLoggedMax || !logged_refusals_.insert(std::move(line)).second)
    return;
  log::Warn("snapshot refused; the last good one stays",
            {{"source", source}, {"class", NameOf(refusal)}, {"reason", error.message}});
}

void FeedCore::Refused(const Error& error, int64_t revision, std::string_view source) {
  Note(error, source);
  std::string reason = std::format("{}: {}", NameOf(ClassOf(error)), error.message);
  if (reason.size() > kReasonBytesMax) reason.resize(kReasonBytesMax);
  if (nack_.revision() == revision && nack_.reason() == reason) return;
  nack_.set_revision(revision);
  nack_.set_reason(std::move(reason));
  Beat();
}

void FeedCore::Beat(bool goodbye) {
  if (bus_ == nullptr || bus_->state() != BusState::kConnected) return;
  v1::Heartbeat beat;
  beat.set_instance(options_.instance);
  beat.set_incarnation(options_.incarnation);
  beat.set_version(options_.version);
  beat.set_epoch(fence_.epoch);
  if (active_) {
    beat.set_revision(current_->position().revision());
    beat.set_digest(current_->position().digest());
    const std::lock_guard lock(status_mutex_);
    beat.set_revision_source(status_.source);
  }
  if (!nack_.reason().empty()) *beat.mutable_nack() = nack_;
  if (hooks_.journals) {
    for (v1::JournalState& journal : hooks_.journals()) *beat.add_journals() = std::move(journal);
  }
  beat.set_ready(active_ && !draining_);
  beat.set_draining(draining_);
  beat.set_time_ms(clock_.WallMs());
  beat.set_goodbye(goodbye);
  // At most once: the next one says the same.
  std::ignore = bus_->Publish(subjects::Fleet(options_.instance), beat.SerializeAsString());
}

void FeedCore::SetDraining() {
  draining_ = true;
  Beat();
}

void FeedCore::Goodbye() {
  draining_ = true;
  Beat(/*goodbye=*/true);
}

void FeedCore::Tick() {
  const int64_t now = NowNs();
  if (booting_ && now >= boot_deadline_ns_) FinishBoot();
  if (trial_revision_ != 0 && active_ && now - trial_start_ns_ >= options_.trial_ms * kNsPerMs)
    EndTrial();
  if (now >= next_poll_ns_) Pull();
  if (now >= next_beat_ns_) {
    next_beat_ns_ = now + options_.heartbeat_ms * kNsPerMs;
    Beat();
    Audit();
    Publish();
  }
}

int64_t FeedCore::NextDueNs() const {
  int64_t due = std::min(next_beat_ns_, next_poll_ns_);
  if (booting_) due = std::min(due, boot_deadline_ns_);
  if (trial_revision_ != 0) due = std::min(due, trial_start_ns_ + options_.trial_ms * kNsPerMs);
  return due;
}

// Recomputes the digest of what is in memory, a few shards at a time. Memory that went bad is not
// built upon: the state is fetched anew, and stays in force until then.
void FeedCore::Audit() {
  if (!active_) return;
  if (audited_ == nullptr) {
    audited_ = current_;
    audit_shard_ = 0;
    audit_digest_ = StateDigest();
    for (const auto& [key, bytes] : audited_->rep().tables->entries())
      audit_digest_.Add(key.first, key.second, *bytes);
  }
  const size_t end = std::min(audit_shard_ + kAuditShards, KeyIndex::kShards);
  for (; audit_shard_ < end; ++audit_shard_) {
    audited_->rep().keys.ForEachInShard(audit_shard_, [this](const KeyRecordPtr& record) {
      audit_digest_.Add(v1::KIND_KEY, record->spec.name, record->bytes);
    });
  }
  if (audit_shard_ < KeyIndex::kShards) return;
  if (audit_digest_.Bytes() != audited_->position().digest()) {
    Refused(
        Refuse(RefusalClass::kCorrupt, "the active state's digest is not the signed one any more")
            .error(),
        audited_->position().revision(), "memory");
    diverged_ = true;
    next_poll_ns_ = NowNs();
  }
  audited_ = nullptr;
}

void FeedCore::Publish() {
  const std::lock_guard lock(status_mutex_);
  status_.ready = active_;
  status_.reason.clear();
  if (!active_ && booting_) {
    status_.reason = "booting: waiting for NATS";
  } else if (!active_) {
    status_.reason = std::format("no configuration yet: {}; {}; {}",
                                 pull_reason_.empty() ? "NATS has none" : pull_reason_,
                                 disk_reason_, seed_reason_);
  }
  if (active_) {
    status_.position = current_->position();
    status_.keys = current_->key_count();
    status_.routes = static_cast<int64_t>(current_->routes().size());
  }
  status_.refused_revision = nack_.revision();
  status_.refused_reason = nack_.reason();
  status_.quarantined = quarantine_.revisions();
  status_.restricted = restricted_;
  status_.fleet_size = fence_.fleet_size;
}

FeedStatus FeedCore::status() const {
  const std::lock_guard lock(status_mutex_);
  FeedStatus status = status_;
  const int64_t now = NowNs();
  if (status.ready) status.age_ms = (now - activated_ns_) / kNsPerMs;
  if (const int64_t confirmed = confirmed_ns_; confirmed >= 0)
    status.unconfirmed_ms = (now - confirmed) / kNsPerMs;
  status.bus_state = StateName(bus_);
  if (writer_ != nullptr) {
    status.disk_failures = writer_->failures();
    status.disk_revision = writer_->revision();
  }
  return status;
}

}  // namespace spillway
