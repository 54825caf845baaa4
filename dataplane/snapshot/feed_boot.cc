// How a data plane gets its first snapshot: NATS when it answers soon, else disk, else the seed.
#include <algorithm>
#include <format>
#include <utility>

#include "common/clock.h"
#include "common/crypto/sha256.h"
#include "common/log.h"
#include "dataplane/snapshot/feed_core.h"
#include "dataplane/snapshot/refusal.h"
#include "dataplane/snapshot/rep.h"

namespace spillway {
namespace {

constexpr int64_t kNatsWaitMinMs = 100;

std::string QuarantinePath(const FeedOptions& options) {
  return options.data_dir + "/snapshots/quarantine";
}

uint32_t JitterSeed(const FeedOptions& options, const Clock& clock) {
  if (options.jitter_seed != 0) return static_cast<uint32_t>(options.jitter_seed);
  const Sha256Digest digest =
      Sha256(std::format("{} {} {}", options.instance, options.incarnation, clock.WallMs()));
  return static_cast<uint32_t>(digest[0]) << 16 | static_cast<uint32_t>(digest[1]) << 8 | digest[2];
}

}  // namespace

FeedCore::FeedCore(FeedOptions options, FeedHooks hooks, Bus* bus, const Clock& clock,
                   CrashMarker* marker)
    : options_(std::move(options)),
      hooks_(std::move(hooks)),
      bus_(bus),
      clock_(clock),
      marker_(marker),
      reader_(options_.verifier, options_.limits),
      random_(JitterSeed(options_, clock)),
      created_ns_(clock.MonotonicNs()) {
  build_.limits = options_.limits;
  build_.secrets.seal_key = options_.seal_key ? &*options_.seal_key : nullptr;
}

Result<std::unique_ptr<FeedCore>> FeedCore::Create(FeedOptions options, FeedHooks hooks, Bus* bus,
                                                   const Clock& clock, CrashMarker* marker) {
  std::unique_ptr<FeedCore> core(
      new FeedCore(std::move(options), std::move(hooks), bus, clock, marker));
  SW_TRY(Generations generations, Generations::Open(core->options_.data_dir + "/snapshots"));
  core->fence_ = generations.fence();
  core->quarantine_ = Quarantine::Load(QuarantinePath(core->options_));
  core->CountCrash();
  core->ReadGenerations(generations);
  core->writer_ = std::make_unique<DiskWriter>(
      std::move(generations), QuarantinePath(core->options_), core->options_.disk_interval_ms,
      core->current_ ? core->current_->position().revision() : 0);
  core->Publish();
  return core;
}

// The count is on disk before the marker is emptied: a kill in between counts nothing twice, as the
// record has an id.
void FeedCore::CountCrash() {
  if (marker_ == nullptr || !marker_->left_behind()) return;
  const CrashRecord crash = *marker_->left_behind();
  const bool quarantined = quarantine_.Count(crash, options_.trial_ms);
  log::Fault(
      "the last process crashed while a revision was on trial",
      {{"revision", crash.revision}, {"signal", crash.signal}, {"after_ms", crash.after_ms}});
  if (quarantined)
    log::Fault("revision quarantined: it crashed this process twice",
               {{"revision", crash.revision}});
  auto saved = durable::WriteFile(QuarantinePath(options_), quarantine_.Render());
  if (saved) saved = marker_->Forget();
  if (!saved) log::Fault("crash not recorded", {{"reason", saved.error().message}});
}

void FeedCore::ReadGenerations(Generations& generations) {
  std::vector<KeyRestrictions> newer;
  for (const int64_t number : generations.List())
    if (TryGeneration(generations, number, newer)) return;
}

// True when it became the candidate. What a newer, quarantined one knows goes to `newer`.
bool FeedCore::TryGeneration(Generations& generations, int64_t number,
                             std::vector<KeyRestrictions>& newer) {
  auto loaded = generations.Load(number, reader_);
  if (!loaded) {
    disk_reason_ = std::format("generation {} on disk: {}", number, loaded.error().message);
    Note(std::move(loaded).error(), "disk");
    return false;
  }
  const int64_t revision = loaded->lineage.full->position.revision();
  if (loaded->held && !quarantine_.Contains(revision)) return false;
  LineageRules rules = Rules();
  if (loaded->held) rules.quarantined = [](int64_t) { return true; };
  auto built = Materialize(loaded->lineage, nullptr, build_, rules);
  if (!built) {
    Rearm();
    disk_reason_ = std::format("generation {} on disk: {}", number, built.error().message);
    Note(std::move(built).error(), "disk");
    return false;
  }
  if (built->held.revision() > held_.revision()) {
    held_ = built->held;
    nack_.set_revision(held_.revision());
    nack_.set_reason("quarantined: it crashed this process twice");
  }
  if (built->snapshot == nullptr) {
    disk_reason_ = std::format("revision {} on disk is quarantined", revision);
    std::ranges::move(built->restrictions, std::back_inserter(newer));
    return false;
  }
  TakeCandidate(generations, *loaded, *std::move(built), newer);
  return true;
}

void FeedCore::TakeCandidate(Generations& generations, const LoadedGeneration& loaded,
                             Materialized built, const std::vector<KeyRestrictions>& newer) {
  current_ = std::move(built.snapshot);
  for (const ProvenLatest& word : loaded.confirmed) {
    const v1::Position& position = word.latest.position();
    const v1::Position& ours = current_->position();
    if (position.revision() == ours.revision() && position.digest() == ours.digest() &&
        position.epoch() > ours.epoch()) {
      current_ = WithPosition(*current_, position);
    }
  }
  restricted_ = !newer.empty() || !built.restrictions.empty();
  current_ = RestrictAll(RestrictAll(std::move(current_), built.restrictions), newer);
  fence_.cluster_id = current_->position().cluster_id();
  fence_.epoch = std::max(fence_.epoch, current_->position().epoch());
  // A restricted state is left by a full one only: nothing will be appended to it.
  if (restricted_) return;
  const auto going_on =
      generations.Continue(loaded.number, loaded.lineage.full->position, loaded.log_bytes);
  if (!going_on)
    log::Fault("generation on disk cannot be continued", {{"reason", going_on.error().message}});
}

void FeedCore::Boot() {
  const int64_t now = NowNs();
  booting_ = true;
  // The bus has been connecting while the disk was read: that time counts.
  boot_deadline_ns_ =
      std::max(created_ns_ + options_.nats_wait_ms * kNsPerMs, now + kNatsWaitMinMs * kNsPerMs);
  next_beat_ns_ = now;
  next_poll_ns_ = boot_deadline_ns_;
  if (bus_ == nullptr || options_.nats_wait_ms <= 0) {
    pull_reason_ = "NATS is not configured";
    FinishBoot();
  } else if (bus_->state() == BusState::kConnected) {
    Pull();
  } else {
    pull_reason_ = "NATS is not connected";
  }
  Publish();
}

// NATS did not answer in time, or has nothing: what there is counts.
void FeedCore::FinishBoot() {
  if (!std::exchange(booting_, false)) return;
  if (current_ != nullptr) {
    Activate(current_, "disk");
    return;
  }
  if (auto seeded = TrySeed(); !seeded) {
    log::Warn("not ready: no configuration yet",
              {{"nats", pull_reason_}, {"disk", disk_reason_}, {"seed", seed_reason_}});
  }
}

Result<void> FeedCore::TrySeed() {
  if (options_.seed_path.empty()) return Fail(ErrorCode::kNotFound, seed_reason_);
  const SnapshotLimits& limits = options_.limits;
  const auto adopt = [&]() -> Result<void> {
    SW_TRY(const std::string file,
           durable::ReadFile(options_.seed_path,
                             limits.compressed_bytes_max + limits.message_bytes_max));
    Lineage lineage;
    SW_TRY(lineage.full, reader_.ReadFile(file));
    SW_CHECK(CheckFence(lineage.full->position));
    return Adopt(lineage, "seed");
  };
  auto adopted = adopt();
  if (!adopted) {
    seed_reason_ = "the seed: " + adopted.error().message;
    Note(adopted.error(), "seed");
  }
  return adopted;
}

}  // namespace spillway
