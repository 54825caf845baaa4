#include <algorithm>
#include <map>
#include <utility>

#include "common/log.h"
#include "common/subjects.h"
#include "controlplane/publish/published.h"
#include "controlplane/publish/publisher_rep.h"

namespace spillway {
namespace {

constexpr const char* kAuthor = "spillway-controlplane";

void AddChange(ConfigChange& change, v1::Change::Action action, const EntryKey& key) {
  v1::Change& made = change.changes.emplace_back();
  made.set_action(action);
  made.set_kind(key.first);
  made.set_name(key.second);
}

// From the store's state to the one found on NATS.
ConfigChange Difference(const ConfigStore::State& state,
                        const std::map<EntryKey, std::string>& found) {
  ConfigChange change;
  for (const auto& [key, bytes] : found) {
    const auto ours = state.find(key);
    if (ours != state.end() && ours->second.bytes == bytes) continue;
    v1::Entry& entry = change.upserts.emplace_back();
    entry.set_kind(key.first);
    entry.set_name(key.second);
    entry.set_bytes(bytes);
    const bool fresh = ours == state.end();
    AddChange(change, fresh ? v1::Change::ACTION_CREATE : v1::Change::ACTION_UPDATE, key);
  }
  for (const auto& [key, stored] : state) {
    if (found.contains(key)) continue;
    v1::EntryName& name = change.removals.emplace_back();
    name.set_kind(key.first);
    name.set_name(key.second);
    AddChange(change, v1::Change::ACTION_DELETE, key);
  }
  return change;
}

}  // namespace

Result<void> Publisher::Rep::Keep() {
  SW_CHECK(KeepStreams());
  SW_CHECK(KeepEpoch());
  if (synced) return {};
  return Resync();
}

// A stream that is missing, or another one than before, or an older copy: all is published again.
Result<void> Publisher::Rep::KeepStreams() {
  bool missing = !ensured;
  for (const auto name :
       {subjects::kControlStream, subjects::kUsageStream, subjects::kConfigStream}) {
    const auto state = parts.bus.GetStreamState(name);
    if (!state && state.error().code != ErrorCode::kNotFound) {
      return std::unexpected(state.error());
    }
    if (!state) missing = true;
    if (!state || name != subjects::kConfigStream) continue;
    if (state->created_ns != config_created_ns || state->last_seq < config_last_seq) {
      synced = false;
    }
  }
  if (!missing) return {};
  synced = false;
  ensured = false;
  SW_CHECK(EnsureStreams(parts.bus, options.limits));
  ensured = true;
  return {};
}

Result<void> Publisher::Rep::KeepEpoch() {
  Epoch& epoch = parts.epoch;
  if (epoch.value() != 0 && !epoch.Outbid()) return epoch.Confirm();
  SW_TRY(const auto published, ReadLatest(parts.bus, parts.verifier, parts.config.cluster_id()));
  if (published.latest) epoch.Observe(published.latest->position().epoch());
  synced = false;
  SW_CHECK(epoch.Claim());
  return {};
}

Result<void> Publisher::Rep::Resync() {
  DropFull();
  SW_TRY(const auto state, parts.bus.GetStreamState(subjects::kConfigStream));
  SW_TRY(const auto published, ReadLatest(parts.bus, parts.verifier, parts.config.cluster_id()));
  if (published.latest) {
    parts.epoch.Observe(published.latest->position().epoch());
    if (parts.epoch.Outbid()) SW_CHECK(parts.epoch.Claim());
    if (published.latest->position().revision() > parts.config.position().revision()) {
      SW_CHECK(Choose(*published.latest));
    }
  }
  parts.gate.Release(WriteHold::kRestore);
  config_created_ns = state.created_ns;
  config_last_seq = state.last_seq;
  latest_seq = published.seq;
  latest_epoch = 0;  // whatever stands there: a Latest of this epoch follows
  broken = true;
  if (published.latest) {
    const int64_t revision = published.latest->full_revision();
    SW_TRY(const auto found, FindFull(parts.bus, parts.verifier, revision));
    if (found) {
      broken = false;
      tail = published.latest->position();
      if (full_revision != revision) full_epoch = 0;
      full_revision = revision;
      full_from_seq = *found;
    }
  }
  if (broken) {
    // Sequences of another life of the stream mean nothing in this one.
    full_epoch = 0;
    full_revision = 0;
    full_from_seq = 0;
    tail.Clear();
  }
  // Of an older epoch: receivers that have seen a newer one would refuse it.
  want_full = broken || full_epoch != parts.epoch.value();
  const std::lock_guard lock(mutex);
  queue.clear();
  overflow = true;
  status.waiting_for_choice = false;
  status.compared = true;
  progress.notify_all();
  synced = true;
  return {};
}

Result<void> Publisher::Rep::Choose(const v1::Latest& latest) {
  switch (options.restore) {
    case RestoreChoice::kAdopt:
      return Adopt(latest);
    case RestoreChoice::kDiscard:
      return Discard(latest);
    case RestoreChoice::kAsk:
      break;
  }
  const std::string reason =
      "NATS holds revision " + std::to_string(latest.position().revision()) +
      " of this cluster, newer than revision " +
      std::to_string(parts.config.position().revision()) +
      " in the store (restored from a backup?): restart with --adopt to take it over, or with "
      "--discard to go on from the store";
  parts.gate.Hold(WriteHold::kRestore, reason);
  {
    const std::lock_guard lock(mutex);
    status.waiting_for_choice = true;
    progress.notify_all();
  }
  return Fail(ErrorCode::kStale, reason);
}

Result<void> Publisher::Rep::Adopt(const v1::Latest& latest) {
  const int64_t theirs = latest.position().revision();
  SW_TRY(const auto found, ReadState(parts.bus, parts.verifier, latest));
  const auto decide = [&](const ConfigStore::State& state) -> Result<std::optional<ConfigChange>> {
    ConfigChange change = Difference(state, found);
    change.author = kAuthor;
    change.summary = "adopted revision " + std::to_string(theirs) + " from NATS";
    return change;
  };
  SW_TRY(const int64_t revision,
         parts.config.TransactAbove(theirs, parts.epoch.value(), parts.clock.WallMs(), decide));
  log::Info("adopted what NATS holds", {{"found", theirs}, {"revision", revision}});
  return {};
}

Result<void> Publisher::Rep::Discard(const v1::Latest& latest) {
  const int64_t theirs = latest.position().revision();
  const auto decide = [&](const ConfigStore::State&) -> Result<std::optional<ConfigChange>> {
    ConfigChange change;
    change.author = kAuthor;
    change.summary =
        "went on from the store, discarding revision " + std::to_string(theirs) + " found on NATS";
    return change;
  };
  SW_TRY(const int64_t revision,
         parts.config.TransactAbove(theirs, parts.epoch.value(), parts.clock.WallMs(), decide));
  log::Info("discarded what NATS holds", {{"found", theirs}, {"revision", revision}});
  return {};
}

}  // namespace spillway
