#include "controlplane/publish/publisher.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/log.h"
#include "common/subjects.h"
#include "controlplane/publish/publisher_rep.h"

namespace spillway {
namespace {

constexpr size_t kQueueMax = 1'024;
// A full snapshot of a small configuration weighs next to nothing; a quarter of it is no reason.
constexpr int64_t kDeltaBytesAlways = int64_t{64} * 1024;

std::chrono::nanoseconds Ms(int64_t ms) { return std::chrono::milliseconds(ms); }

}  // namespace

Publisher::Publisher(Parts parts, Options options)
    : rep_(std::make_unique<Rep>(std::move(parts), options)) {}

Publisher::~Publisher() { Stop(); }

void Publisher::Start() {
  rep_->parts.gate.Hold(WriteHold::kRestore,
                        "what NATS holds of this cluster has not been read yet: NATS is away");
  rep_->thread = std::thread(&Rep::Run, rep_.get());
}

void Publisher::Stop() {
  {
    const std::lock_guard lock(rep_->mutex);
    rep_->stopping = true;
    rep_->wake.notify_all();
    rep_->progress.notify_all();
  }
  if (rep_->thread.joinable()) rep_->thread.join();
}

void Publisher::Stir() {
  const std::lock_guard lock(rep_->mutex);
  rep_->stirred = true;
  rep_->wake.notify_all();
}

void Publisher::Notify(const CommittedRevision& revision) {
  const std::lock_guard lock(rep_->mutex);
  if (rep_->queue.size() >= kQueueMax) {
    rep_->queue.clear();
    rep_->overflow = true;
  }
  if (!rep_->overflow) rep_->queue.push_back(revision);
  rep_->wake.notify_all();
}

Publisher::Status Publisher::status() const {
  const std::lock_guard lock(rep_->mutex);
  return rep_->status;
}

bool Publisher::WaitPublished(int64_t revision, int64_t timeout_ms) {
  std::unique_lock lock(rep_->mutex);
  const auto published = [&] { return rep_->status.published_revision >= revision; };
  rep_->progress.wait_for(lock, Ms(timeout_ms), [&] { return rep_->stopping || published(); });
  return published();
}

bool Publisher::WaitCompared(int64_t timeout_ms) {
  std::unique_lock lock(rep_->mutex);
  const auto compared = [&] { return rep_->status.compared || rep_->status.waiting_for_choice; };
  rep_->progress.wait_for(lock, Ms(timeout_ms), [&] { return rep_->stopping || compared(); });
  return compared();
}

void Publisher::Rep::Run() {
  std::unique_lock lock(mutex);
  while (!stopping) {
    stirred = false;
    lock.unlock();
    const int64_t now_ns = parts.clock.MonotonicNs();
    const bool check = now_ns >= next_check_ns;
    if (check) next_check_ns = now_ns + options.check_interval_ms * 1'000'000;
    const auto outcome = Round(check);
    Report(outcome);
    lock.lock();
    if (outcome && HasWork()) continue;
    const int64_t wait_ms = outcome ? options.check_interval_ms : options.retry_ms;
    wake.wait_for(lock, Ms(wait_ms), [&] { return stopping || stirred || (outcome && HasWork()); });
  }
}

// With `mutex`.
bool Publisher::Rep::HasWork() const {
  if (!synced) return false;
  if (!broken && (!queue.empty() || overflow)) return true;
  if (want_full && !building.valid() && !sending) return true;
  return sending && (broken || sending->position.revision() <= tail.revision());
}

// One look at everything, in the order of urgency. Whatever fails is begun again from what NATS
// has.
Result<void> Publisher::Rep::Round(bool check) {
  if (parts.bus.state() != BusState::kConnected) {
    synced = false;
    return Fail(ErrorCode::kUnavailable, "the bus is not connected");
  }
  auto outcome = Result<void>();
  if (check || !synced) outcome = Keep();
  if (outcome) outcome = PublishRevisions();
  if (outcome) outcome = AdvanceFull();
  const bool stale =
      latest_epoch != parts.epoch.value() || (check && latest_fleet != parts.fleet_size());
  if (outcome && !broken && stale) outcome = PublishLatest();
  if (!outcome) {
    synced = false;
    DropFull();
  }
  return outcome;
}

void Publisher::Rep::Report(const Result<void>& outcome) {
  if (outcome) {
    if (!std::exchange(last_error, {}).empty()) log::Info("publishing again");
    return;
  }
  {
    const std::lock_guard lock(mutex);
    ++status.failures;
  }
  if (last_error == outcome.error().message) return;
  last_error = outcome.error().message;
  log::Warn("publishing waits", {{"reason", last_error}});
}

Result<uint64_t> Publisher::Rep::Put(const std::string& subject, const std::string& bytes,
                                     std::optional<uint64_t> expect) {
  if (parts.epoch.value() == 0) return Fail(ErrorCode::kStale, "no epoch is held");
  Bus::PublishOptions publish;
  publish.expect_last_subject_seq = expect;
  publish.timeout_ms = options.publish_timeout_ms;
  SW_TRY(const uint64_t seq, parts.bus.PublishToStream(subject, bytes, publish));
  config_last_seq = std::max(config_last_seq, seq);
  return seq;
}

Result<std::vector<CommittedRevision>> Publisher::Rep::TakeRevisions(int64_t current) {
  {
    const std::lock_guard lock(mutex);
    if (!overflow) {
      std::vector<CommittedRevision> taken(std::make_move_iterator(queue.begin()),
                                           std::make_move_iterator(queue.end()));
      queue.clear();
      return taken;
    }
    queue.clear();
    overflow = false;
  }
  if (current - tail.revision() > options.full_every_revisions) {
    broken = true;
    return std::vector<CommittedRevision>{};
  }
  return parts.config.RevisionsAfter(tail.revision());
}

Result<void> Publisher::Rep::PublishRevisions() {
  if (broken) return {};
  const v1::Position current = parts.config.position();
  SW_TRY(const auto revisions, TakeRevisions(current.revision()));
  const int64_t before = tail.revision();
  for (const CommittedRevision& revision : revisions) {
    if (broken || revision.position.revision() <= tail.revision()) continue;
    SW_CHECK(PublishOne(revision));
  }
  // The same number, but another state: another history's.
  if (tail.revision() == current.revision() && tail.digest() != current.digest()) broken = true;
  if (tail.revision() != before) SW_CHECK(PublishLatest());
  const int64_t heavy = std::max(full_bytes / 4, kDeltaBytesAlways);
  const bool due =
      broken || deltas_since_full >= options.full_every_revisions || delta_bytes_since_full > heavy;
  if (due && !sending && !building.valid()) want_full = true;
  return {};
}

Result<void> Publisher::Rep::PublishOne(const CommittedRevision& revision) {
  const bool follows =
      revision.base.revision() == tail.revision() && revision.base.digest() == tail.digest();
  if (!follows) {
    broken = true;
    return {};
  }
  const std::string bytes = EncodeDelta(parts.signer, revision, parts.epoch.value());
  if (static_cast<int64_t>(bytes.size()) > options.delta_bytes_max) {
    broken = true;
    return {};
  }
  SW_CHECK(Put(subjects::Delta(revision.position.revision()), bytes));
  tail = revision.position;
  ++deltas_since_full;
  delta_bytes_since_full += static_cast<int64_t>(bytes.size());
  const std::lock_guard lock(mutex);
  ++status.deltas;
  return {};
}

Result<void> Publisher::Rep::PublishLatest() {
  v1::Latest latest;
  *latest.mutable_position() = tail;
  const int64_t epoch = parts.epoch.value();
  latest.mutable_position()->set_epoch(epoch);
  latest.set_full_revision(full_revision);
  latest.set_fleet_size(parts.fleet_size());
  SW_TRY(latest_seq,
         Put(std::string(subjects::kLatest), EncodeLatest(parts.signer, latest), latest_seq));
  latest_epoch = epoch;
  latest_fleet = latest.fleet_size();
  const std::lock_guard lock(mutex);
  status.published_revision = tail.revision();
  status.full_revision = full_revision;
  status.last_published_ms = parts.clock.WallMs();
  progress.notify_all();
  return {};
}

}  // namespace spillway
