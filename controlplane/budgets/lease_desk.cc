#include "controlplane/budgets/lease_desk.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include "common/log.h"
#include "common/subjects.h"
#include "controlplane/ledger/keys.h"
#include "spillway/v1/lease.pb.h"

namespace spillway {
namespace {

constexpr int64_t kMsNs = 1'000'000;

}  // namespace

struct LeaseDesk::Rep {
  Rep(Parts the_parts, const LeaseDeskOptions& the_options)
      : parts(std::move(the_parts)), options(the_options), started_ns(parts.clock.MonotonicNs()) {}

  const Parts parts;
  const LeaseDeskOptions options;
  const int64_t started_ns;

  std::mutex mutex;  // guards what follows
  std::condition_variable_any wake;
  std::deque<BusMessage> queue;
  size_t queue_bytes = 0;
  bool stirred = false;  // the book has something to flush

  std::atomic<int64_t> requests = 0, refused = 0, dropped = 0, grants = 0, recalls = 0, batches = 0,
                       send_failures = 0, tombstoned = 0, queued = 0;
  std::atomic<bool> stalled = false;
  bool gate_known_damaged = false;  // the thread's own, as are these
  int64_t pruned_ns = 0;
  int64_t ticked_ns = 0;

  std::unique_ptr<Bus::Subscription> subscription;
  std::jthread thread;  // last: joined before anything above goes

  void Take(const BusMessage& message);
  void Stir();
  void Loop(const std::stop_token& stop);
  std::vector<BusMessage> Waiting();
  std::optional<v1::LeaseRequest> Read(const BusMessage& message);
  int Decide();
  void Send(const LeaseBook::Outbox& outbox);
  void Publish(const std::string& subject, v1::Signed::Purpose purpose, std::string payload);
  void Tick();
  void FollowReplay();
  void TombstoneSilent();
  void TellWatch();
};

LeaseDesk::LeaseDesk(Parts parts, const LeaseDeskOptions& options)
    : rep_(std::make_unique<Rep>(std::move(parts), options)) {
  rep_->parts.book.OnEffects([rep = rep_.get()] { rep->Stir(); });
  if (options.threaded)
    rep_->thread =
        std::jthread([rep = rep_.get()](const std::stop_token& stop) { rep->Loop(stop); });
}

LeaseDesk::~LeaseDesk() {
  rep_->subscription.reset();
  if (rep_->thread.joinable()) {
    rep_->thread.request_stop();
    rep_->thread.join();
  }
  rep_->parts.book.OnEffects({});
}

Result<void> LeaseDesk::Start() {
  SW_TRY(rep_->subscription,
         rep_->parts.bus.Subscribe(subjects::kLeaseAll,
                                   [rep = rep_.get()](const BusMessage& m) { rep->Take(m); }));
  return {};
}

void LeaseDesk::Begin(int64_t epoch) { rep_->parts.book.Begin(epoch); }

void LeaseDesk::Rep::Take(const BusMessage& message) {
  if (message.payload.size() > options.request_bytes_max) {
    ++refused;
    return;
  }
  const std::lock_guard lock(mutex);
  // A request is the holder's whole state and is repeated every second: dropping one delays it.
  if (queue.size() >= options.queue_max ||
      queue_bytes + message.payload.size() > options.queue_bytes_max) {
    ++dropped;
    return;
  }
  queue_bytes += message.payload.size();
  queue.push_back(message);
  queued = static_cast<int64_t>(queue.size());
  wake.notify_one();
}

void LeaseDesk::Rep::Stir() {
  const std::lock_guard lock(mutex);
  stirred = true;
  wake.notify_one();
}

void LeaseDesk::Rep::Loop(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    Decide();
    std::unique_lock lock(mutex);
    wake.wait_for(lock, stop, std::chrono::milliseconds(options.tick_ms),
                  [this] { return !queue.empty() || stirred; });
  }
}

std::vector<BusMessage> LeaseDesk::Rep::Waiting() {
  std::vector<BusMessage> taken;
  const std::lock_guard lock(mutex);
  stirred = false;
  while (!queue.empty() && taken.size() < options.batch_max) {
    queue_bytes -= queue.front().payload.size();
    taken.push_back(std::move(queue.front()));
    queue.pop_front();
  }
  queued = static_cast<int64_t>(queue.size());
  return taken;
}

// The subject is what the sender's credentials allow: with a user for each instance on the bus
// (deploy/nats.conf) nobody asks in another's name.
std::optional<v1::LeaseRequest> LeaseDesk::Rep::Read(const BusMessage& message) {
  v1::LeaseRequest request;
  const bool good = request.ParseFromString(message.payload) &&
                    subjects::IsToken(request.instance()) &&
                    message.subject == subjects::Lease(request.instance()) &&
                    ledger::PackIncarnation(request.holder()).has_value() &&
                    parts.instances.Find(request.instance()).has_value();
  if (good) return request;
  ++refused;
  log::Debug("a lease request is refused", {{"subject", message.subject}});
  return {};
}

int LeaseDesk::RunOnce() { return rep_->Decide(); }

int LeaseDesk::Rep::Decide() {
  Tick();
  // Before an epoch is held nothing can be granted; who asks comes again.
  const std::vector<BusMessage> messages = Waiting();
  std::vector<v1::LeaseRequest> asked;
  asked.reserve(messages.size());
  // Nor while nothing can be written: what would be decided could not be told.
  if (stalled) dropped += static_cast<int64_t>(messages.size());
  if (parts.book.begun() && parts.epoch() != 0 && !stalled) {
    for (const BusMessage& message : messages)
      if (auto request = Read(message)) asked.push_back(*std::move(request));
  }
  int64_t higher = 0;
  for (const v1::LeaseRequest& request : asked) {
    parts.book.Note(request);
    auto outcome = LeaseKeeper::RequestOutcome::kInvalid;
    parts.book.Change([&](LeaseKeeper& keeper) { outcome = keeper.OnRequest(request); });
    if (outcome == LeaseKeeper::RequestOutcome::kInvalid) ++refused;
    if (outcome == LeaseKeeper::RequestOutcome::kHigherEpoch)
      higher = std::max(higher, request.epoch());
  }
  requests += static_cast<int64_t>(asked.size());
  auto flushed = parts.book.Flush();
  if (flushed) {
    stalled = false;
    if (!flushed->grants.empty()) ++batches;
    Send(*flushed);
    TellWatch();
  } else if (!stalled.exchange(true)) {
    log::Fault("no leases are granted: the store cannot be written",
               {{"reason", flushed.error().message}});
  }
  if (higher != 0 && parts.on_higher_epoch) parts.on_higher_epoch(higher);
  return static_cast<int>(messages.size());
}

// A fenced control plane says nothing more; what it granted on disk nobody will hear of.
void LeaseDesk::Rep::Send(const LeaseBook::Outbox& outbox) {
  const int64_t epoch = parts.epoch();
  if (epoch == 0) return;
  for (const LeaseEffects::Outgoing& out : outbox.grants) {
    if (out.grant.epoch() != epoch || !subjects::IsToken(out.instance)) continue;
    Publish(subjects::Grant(out.instance), v1::Signed::PURPOSE_GRANT,
            out.grant.SerializeAsString());
    ++grants;
  }
  for (const v1::Recall& recall : outbox.recalls) {
    if (recall.epoch() != epoch) continue;
    Publish(std::string(subjects::kRecall), v1::Signed::PURPOSE_RECALL, recall.SerializeAsString());
    ++recalls;
  }
}

void LeaseDesk::Rep::Publish(const std::string& subject, v1::Signed::Purpose purpose,
                             std::string payload) {
  const v1::Signed message = parts.signer.Sign(purpose, std::move(payload));
  // Lost ones are made good by the next request.
  if (!parts.bus.Publish(subject, message.SerializeAsString())) ++send_failures;
}

void LeaseDesk::Rep::Tick() {
  const int64_t now_ns = parts.clock.MonotonicNs();
  if (ticked_ns != 0 && now_ns - ticked_ns < options.tick_ms * kMsNs) return;
  ticked_ns = now_ns;
  parts.book.Change([](LeaseKeeper&) {});  // time passes
  if (parts.on_tick) parts.on_tick();
  if (!parts.book.begun()) return;
  FollowReplay();
  if (now_ns - pruned_ns < options.prune_every_ms * kMsNs) return;
  pruned_ns = now_ns;
  parts.book.Change([this](LeaseKeeper& keeper) { keeper.Prune(options.prune_accounts); });
  TombstoneSilent();
}

void LeaseDesk::Rep::FollowReplay() {
  bool gated = false;
  parts.book.Read([&gated](const LeaseKeeper& keeper) { gated = keeper.gated(); });
  if (!gated || !parts.replay) return;
  const Replay replay = parts.replay();
  parts.book.Change([&](LeaseKeeper& keeper) {
    if (replay.damaged && !std::exchange(gate_known_damaged, true)) keeper.BeginRestore(true);
    if (replay.done) keeper.ReplayDone();
  });
}

// So that a restore from a later backup does not wait for the dead. It takes nothing from one that
// lives: it carries on under a new holder id.
void LeaseDesk::Rep::TombstoneSilent() {
  const int64_t dead_ns = parts.clock.MonotonicNs() - options.dead_after_ms * kMsNs;
  if (started_ns > dead_ns) return;
  std::vector<LeaseHolderRow> holders;
  parts.book.Read([&](const LeaseKeeper& keeper) { holders = keeper.Holders(); });
  for (const LeaseHolderRow& row : holders) {
    if (row.closed || row.tombstoned) continue;
    if (std::max(started_ns, parts.book.HeardNs(row.holder)) > dead_ns) continue;
    parts.book.Change([&row](LeaseKeeper& keeper) { keeper.Tombstone(row.holder, false); });
    ++tombstoned;
    log::Warn("a holder of leases is silent for too long",
              {{"instance", row.instance}, {"incarnation", row.holder}});
  }
}

void LeaseDesk::Rep::TellWatch() {
  const std::vector<BudgetUse> uses = parts.book.TakeChanged(kBudgetUsesMax);
  if (uses.empty()) return;
  if (parts.watch) parts.watch(uses);
  if (uses.size() == kBudgetUsesMax) Stir();
}

LeaseDesk::Stats LeaseDesk::stats() const {
  return {.requests = rep_->requests,
          .refused = rep_->refused,
          .dropped = rep_->dropped,
          .grants = rep_->grants,
          .recalls = rep_->recalls,
          .batches = rep_->batches,
          .send_failures = rep_->send_failures,
          .tombstoned = rep_->tombstoned,
          .stalled = rep_->stalled,
          .queued = rep_->queued};
}

void LeaseDesk::Collect(MetricsText& text) const {
  const auto put = [&text](std::string_view name, std::string_view type, std::string_view help,
                           int64_t value) {
    text.Family(name, type, help);
    text.Sample(name, {}, value);
  };
  const Stats now = stats();
  bool gated = false;
  int64_t fleet = 0;
  int64_t ahead_ms = 0;
  int64_t unknown = 0;
  rep_->parts.book.Read([&](const LeaseKeeper& keeper) {
    gated = keeper.gated();
    fleet = keeper.fleet_size();
    ahead_ms = keeper.time_ms() - rep_->parts.clock.WallMs();
    unknown = keeper.unknown_accounts();
  });
  put("spillway_lease_requests_total", "counter", "Lease requests answered.", now.requests);
  put("spillway_lease_requests_refused_total", "counter",
      "Lease requests that are malformed, too large or of no known data plane.", now.refused);
  put("spillway_lease_requests_dropped_total", "counter",
      "Lease requests dropped because too many waited.", now.dropped);
  put("spillway_lease_accounts_unknown_total", "counter",
      "Accounts that data planes told of budgets that nobody knows.", unknown);
  put("spillway_lease_clock_ahead_seconds", "gauge",
      "By how much the window clock of budgets is ahead of this machine's.", ahead_ms / 1000);
  put("spillway_lease_requests_queued", "gauge", "Lease requests that wait.", now.queued);
  put("spillway_lease_grants_total", "counter", "Grants sent.", now.grants);
  put("spillway_lease_recalls_total", "counter", "Recalls sent.", now.recalls);
  put("spillway_lease_batches_total", "counter", "Synced batches with grants.", now.batches);
  put("spillway_lease_send_failures_total", "counter",
      "Grants and recalls that the bus did not take.", now.send_failures);
  put("spillway_lease_holders_tombstoned_total", "counter",
      "Holders given up because they were silent for too long.", now.tombstoned);
  put("spillway_lease_fleet_size", "gauge", "Holders heard a moment ago.", fleet);
  put("spillway_lease_gate_shut", "gauge",
      "1: restored from a backup, and windows that had begun are not granted from yet.",
      gated ? 1 : 0);
  put("spillway_lease_stalled", "gauge", "1: nothing is granted, the store cannot be written.",
      now.stalled ? 1 : 0);
}

}  // namespace spillway
