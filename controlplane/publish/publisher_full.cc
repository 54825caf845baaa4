#include <algorithm>
#include <chrono>
#include <utility>

#include "common/log.h"
#include "common/subjects.h"
#include "controlplane/publish/publisher_rep.h"

namespace spillway {

// A full snapshot is built beside this thread and sent one chunk a round, so that a revocation
// never waits behind it.
Result<void> Publisher::Rep::AdvanceFull() {
  if (want_full && !building.valid() && !sending) StartBuilding();
  if (building.valid() && building.wait_for(std::chrono::seconds(0)) == std::future_status::ready) {
    sending = building.get();
    chunks_sent = 0;
  }
  if (!sending) return {};
  if (chunks_sent < sending->chunks.size()) return SendChunk();
  // The deltas that lead to it come first, or the Latest would name a hole.
  if (!broken && sending->position.revision() > tail.revision()) return {};
  return FinishFull();
}

void Publisher::Rep::StartBuilding() {
  want_full = false;
  // Deltas that follow it may be sent before its first chunk is.
  sending_from_seq = config_last_seq + 1;
  building = std::async(std::launch::async, [this, epoch = parts.epoch.value()] {
    FullSnapshot full = EncodeFull(parts.signer, parts.config, epoch, options.chunk_bytes);
    const std::lock_guard lock(mutex);
    stirred = true;
    wake.notify_all();
    return full;
  });
}

Result<void> Publisher::Rep::SendChunk() {
  const std::string subject =
      subjects::Chunk(sending->position.revision(), static_cast<int>(chunks_sent));
  SW_CHECK(Put(subject, sending->chunks[chunks_sent]));
  ++chunks_sent;
  return {};
}

Result<void> Publisher::Rep::FinishFull() {
  const v1::Position position = sending->position;
  SW_CHECK(Put(subjects::Manifest(position.revision()), sending->manifest));
  const bool ahead = position.revision() > tail.revision() ||
                     (position.revision() == tail.revision() && position.digest() != tail.digest());
  // Where no delta leads on from what was published, this full snapshot does.
  const bool lead = broken && ahead;
  if (lead) {
    broken = false;
    tail = position;
    const std::lock_guard lock(mutex);
    overflow = true;
  }
  const int64_t previous_revision = std::exchange(full_revision, position.revision());
  const uint64_t previous_seq = std::exchange(full_from_seq, sending_from_seq);
  full_epoch = position.epoch();
  full_bytes = sending->bytes;
  deltas_since_full = tail.revision() - full_revision;
  delta_bytes_since_full = 0;
  sending.reset();
  SW_CHECK(PublishLatest());
  if (lead) {
    v1::Position announced = tail;
    announced.set_epoch(full_epoch);
    SW_CHECK(Put(subjects::Delta(tail.revision()), EncodeAnnouncement(parts.signer, announced)));
  }
  if (previous_revision != full_revision) PurgeBefore(std::min(previous_seq, full_from_seq));
  want_full = broken;
  const std::lock_guard lock(mutex);
  ++status.fulls;
  return {};
}

// One full snapshot and its deltas are kept behind the newest: a reader may be in the middle of it.
void Publisher::Rep::PurgeBefore(uint64_t below_seq) {
  if (below_seq == 0) return;
  const auto purged = parts.bus.Purge(subjects::kConfigStream, below_seq);
  if (!purged) log::Warn("old configuration stays on NATS", {{"error", purged.error().message}});
}

void Publisher::Rep::DropFull() {
  if (building.valid()) building.wait();
  building = {};
  sending.reset();
}

}  // namespace spillway
