// From proven bytes to the snapshot in force.
#include <algorithm>
#include <format>
#include <iterator>
#include <span>
#include <utility>

#include "common/clock.h"
#include "common/log.h"
#include "dataplane/snapshot/compression.h"
#include "dataplane/snapshot/feed_core.h"
#include "dataplane/snapshot/refusal.h"
#include "dataplane/snapshot/rep.h"

namespace spillway {
namespace {

std::vector<std::string> SignedBytes(std::span<const ProvenDelta> deltas) {
  std::vector<std::string> records;
  for (const ProvenDelta& delta : deltas) records.push_back(delta.signed_bytes);
  return records;
}

}  // namespace

LineageRules FeedCore::Rules() {
  return {.quarantined = [this](int64_t revision) { return quarantine_.Contains(revision); },
          .before_build =
              [this](int64_t revision) {
                if (marker_ != nullptr && !quarantine_.IsProven(revision)) marker_->Arm(revision);
              }};
}

Result<void> FeedCore::Adopt(const Lineage& lineage, std::string_view source) {
  const int64_t start_ns = NowNs();
  auto built = Materialize(lineage, lineage.full ? nullptr : current_.get(), build_, Rules());
  if (built && built->snapshot != nullptr) {
    if (auto sense = CheckSense(*built->snapshot); !sense) built = std::unexpected(sense.error());
  }
  if (!built) {
    Rearm();
    return std::unexpected(std::move(built).error());
  }
  const bool newer =
      built->snapshot != nullptr && !IsOld(built->snapshot->position()) &&
      (current_ == nullptr || diverged_ ||
       built->snapshot->position().SerializeAsString() != current_->position().SerializeAsString());
  if (newer) {
    RaiseFence(built->snapshot->position());
    current_ = built->snapshot;
    restricted_ = false;
    diverged_ = false;
    KeepOnDisk(lineage, *built);
  }
  Hold(lineage, *built);
  if (newer) {
    Activate(current_, source);
    log::Info("snapshot active", {{"revision", current_->position().revision()},
                                  {"epoch", current_->position().epoch()},
                                  {"source", source},
                                  {"keys", current_->key_count()},
                                  {"took_us", (NowNs() - start_ns) / 1'000}});
  } else if (active_ && !built->restrictions.empty()) {
    Activate(current_, std::string(status_.source));  // only this thread writes it
  } else {
    Rearm();
  }
  if (current_ == nullptr)
    return Refuse(RefusalClass::kQuarantined, "every revision there is crashed this process twice");
  return {};
}

// A state without a single model where there were some is the mark of a broken writer, not of a
// wish. At a start the state on disk is what there was.
Result<void> FeedCore::CheckSense(const Snapshot& next) const {
  if (current_ == nullptr || current_->routes().empty() || !next.routes().empty()) return {};
  return Refuse(RefusalClass::kInvalid, "it has no model and no route left, where there were some");
}

// What must not run is still heard on what it revokes.
void FeedCore::Hold(const Lineage& lineage, const Materialized& built) {
  const int64_t revision = built.held.revision();
  if (revision == 0) return;
  Refused(Refuse(RefusalClass::kQuarantined,
                 "it crashed this process twice within a minute of its activation")
              .error(),
          revision, "quarantine");
  if (revision <= held_.revision()) return;
  held_ = built.held;
  if (current_ != nullptr && !built.restrictions.empty()) {
    current_ = RestrictAll(current_, built.restrictions);
    restricted_ = true;
  }
  const bool held_full = lineage.full && built.snapshot == nullptr;
  if (held_full)
    writer_->HoldFile(lineage.full->position,
                      RenderFile(lineage.full->proof, Deflate(lineage.full->entries)));
  else
    writer_->HoldRecords(SignedBytes(std::span(lineage.deltas).subspan(built.deltas_used)));
}

void FeedCore::KeepOnDisk(const Lineage& lineage, const Materialized& built) {
  std::optional<std::vector<std::string>> records;
  if (!lineage.full) records = SignedBytes(std::span(lineage.deltas).first(built.deltas_used));
  writer_->Keep(built.snapshot, built.proof, std::move(records));
}

void FeedCore::RaiseFence(const v1::Position& position) {
  if (position.cluster_id() == fence_.cluster_id && position.epoch() <= fence_.epoch) return;
  fence_.cluster_id = position.cluster_id();
  fence_.epoch = std::max(fence_.epoch, position.epoch());
  writer_->SaveFence(fence_);
}

void FeedCore::RememberFleet(int64_t size) {
  if (size == fence_.fleet_size) return;
  fence_.fleet_size = size;
  writer_->SaveFence(fence_);
}

void FeedCore::Activate(SnapshotPtr snapshot, std::string_view source) {
  current_ = std::move(snapshot);
  hooks_.on_snapshot(current_);
  active_ = true;
  booting_ = false;
  const int64_t revision = current_->position().revision();
  StartTrial(revision);
  if (revision >= nack_.revision()) {
    nack_.Clear();
    logged_refusals_.clear();
  }
  {
    const std::lock_guard lock(status_mutex_);
    if (status_.source != source || status_.position.revision() != revision) {
      activated_ns_ = NowNs();
      status_.activated_at_ms = clock_.WallMs();
    }
    status_.source = source;
  }
  Publish();
  Beat();
}

void FeedCore::StartTrial(int64_t revision) {
  if (quarantine_.IsProven(revision)) {
    trial_revision_ = 0;
    if (marker_ != nullptr) marker_->Disarm();
  } else if (trial_revision_ != revision) {
    trial_revision_ = revision;
    trial_start_ns_ = NowNs();
    if (marker_ != nullptr) marker_->Arm(revision);
  } else {
    Rearm();
  }
}

// It ran long enough: what happens from now on is not its fault.
void FeedCore::EndTrial() {
  quarantine_.MarkProven(trial_revision_);
  trial_revision_ = 0;
  if (marker_ != nullptr) marker_->Disarm();
  writer_->SaveQuarantine(quarantine_.Render());
}

// After an attempt that came to nothing the crash marker belongs to what runs.
void FeedCore::Rearm() {
  if (marker_ == nullptr) return;
  if (active_ && trial_revision_ != 0) {
    marker_->Arm(trial_revision_, (NowNs() - trial_start_ns_) / kNsPerMs);
  } else {
    marker_->Disarm();
  }
}

}  // namespace spillway
