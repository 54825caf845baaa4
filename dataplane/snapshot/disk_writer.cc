#include "dataplane/snapshot/disk_writer.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "common/log.h"
#include "dataplane/snapshot/compression.h"
#include "dataplane/snapshot/proof.h"

namespace spillway {
namespace {

constexpr int64_t kLogBytesMin = 1 << 20;
constexpr size_t kPendingBytesMax = size_t{8} << 20;
constexpr int64_t kRetryMs = 5'000;

}  // namespace

DiskWriter::DiskWriter(Generations generations, std::string quarantine_path, int64_t interval_ms,
                       int64_t revision)
    : generations_(std::move(generations)),
      quarantine_path_(std::move(quarantine_path)),
      interval_ms_(interval_ms),
      appendable_(generations_.has_current()),
      revision_(revision),
      thread_([this] { Run(); }) {}

DiskWriter::~DiskWriter() { Stop(); }

void DiskWriter::Keep(SnapshotPtr snapshot, std::string proof,
                      std::optional<std::vector<std::string>> records) {
  const std::lock_guard lock(mutex_);
  ++handed_;
  newest_ = std::move(snapshot);
  newest_proof_ = std::move(proof);
  pending_.revision = newest_->position().revision();
  held_records_.clear();
  held_changed_ = false;
  if (records && !whole_) {
    for (const std::string& record : *records) record_bytes_ += record.size();
    std::ranges::move(*records, std::back_inserter(pending_.records));
  }
  // Behind a slow disk the whole state is smaller than the way to it.
  if (!records || !appendable_ || record_bytes_ > kPendingBytesMax) whole_ = true;
  if (whole_) {
    pending_.records.clear();
    record_bytes_ = 0;
  }
  changed_.notify_all();
}

void DiskWriter::HoldRecords(std::vector<std::string> records) {
  const std::lock_guard lock(mutex_);
  ++handed_;
  held_records_ = std::move(records);
  held_changed_ = true;
  changed_.notify_all();
}

void DiskWriter::HoldFile(v1::Position position, std::string file) {
  const std::lock_guard lock(mutex_);
  ++handed_;
  pending_.held_file = HeldFile{std::move(position), std::move(file)};
  changed_.notify_all();
}

void DiskWriter::SaveFence(Fence fence) {
  const std::lock_guard lock(mutex_);
  ++handed_;
  pending_.fence = std::move(fence);
  changed_.notify_all();
}

void DiskWriter::SaveQuarantine(std::string content) {
  const std::lock_guard lock(mutex_);
  ++handed_;
  pending_.quarantine = std::move(content);
  changed_.notify_all();
}

bool DiskWriter::HasWork() const {
  return whole_ || !pending_.records.empty() || held_changed_ || pending_.held_file ||
         pending_.fence || pending_.quarantine;
}

DiskWriter::Work DiskWriter::TakeWork() {
  Work work = std::exchange(pending_, Work{});
  pending_.revision = work.revision;
  if (std::exchange(held_changed_, false) || whole_) work.held_records = held_records_;
  if (std::exchange(whole_, false)) {
    work.whole = newest_;
    work.proof = newest_proof_;
    appendable_ = true;
  }
  work.handed = handed_;
  record_bytes_ = 0;
  return work;
}

void DiskWriter::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || HasWork(); });
    if (!HasWork()) return;  // stopping, and everything is written
    const Work work = TakeWork();
    lock.unlock();
    const bool good = Perform(work);
    lock.lock();
    Settle(work, good);
    changed_.notify_all();
    if (stopping_ && !good) return;
    // The first snapshot waits for nothing: without one this process could not start in an outage.
    changed_.wait_for(lock, std::chrono::milliseconds(good ? interval_ms_ : kRetryMs),
                      [&] { return stopping_ || (good && revision_ == 0 && HasWork()); });
  }
}

void DiskWriter::Settle(const Work& work, bool good) {
  tried_ = work.handed;
  const int64_t log_bytes_max = std::max(kLogBytesMin, generations_.base_bytes() / 4);
  if (good) {
    if (work.revision != 0) revision_ = work.revision;
    if (generations_.log_bytes() > log_bytes_max && newest_ != nullptr && !stopping_) whole_ = true;
    return;
  }
  // What failed is written whole: nobody knows how much of it reached the disk.
  ++failures_;
  appendable_ = false;
  if (newest_ != nullptr) whole_ = true;
  if (!pending_.fence) pending_.fence = work.fence;
  if (!pending_.quarantine) pending_.quarantine = work.quarantine;
  if (!pending_.held_file) pending_.held_file = work.held_file;
  // Not when a snapshot has come since: what is in force goes beyond what they held.
  if (!work.held_records.empty() && !held_records_.empty()) held_changed_ = true;
}

bool DiskWriter::Perform(const Work& work) {
  bool good = true;
  if (work.fence) good &= Noted(generations_.SaveFence(*work.fence));
  if (work.quarantine) good &= Noted(durable::WriteFile(quarantine_path_, *work.quarantine));
  good &= Noted(WriteSnapshot(work));
  if (work.held_file)
    good &= Noted(generations_.Hold(work.held_file->position, work.held_file->file));
  return good;
}

Result<void> DiskWriter::WriteSnapshot(const Work& work) {
  if (work.whole != nullptr) {
    SW_CHECK(generations_.Start(work.whole->position(),
                                RenderFile(work.proof, Deflate(SerializeEntries(*work.whole)))));
  }
  if (work.records.empty() && !generations_.has_current()) return {};
  std::vector<std::string> records = work.records;
  std::ranges::copy(work.held_records, std::back_inserter(records));
  if (records.empty()) return {};
  return generations_.Append(records);
}

bool DiskWriter::Noted(Result<void> result) {
  if (result) return true;
  if (result.error().message != last_failure_) {
    last_failure_ = result.error().message;
    log::Fault("snapshot not kept on disk; serving goes on", {{"reason", last_failure_}});
  }
  return false;
}

void DiskWriter::Flush() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this, until = handed_] { return tried_ >= until || stopping_; });
}

void DiskWriter::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

int64_t DiskWriter::failures() const {
  const std::lock_guard lock(mutex_);
  return failures_;
}

int64_t DiskWriter::revision() const {
  const std::lock_guard lock(mutex_);
  return revision_;
}

}  // namespace spillway
