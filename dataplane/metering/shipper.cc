#include "dataplane/metering/shipper.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include "common/ids.h"
#include "common/log.h"
#include "common/subjects.h"
#include "dataplane/metering/ship_lane.h"

namespace spillway {
namespace {

constexpr auto kIdle = std::chrono::milliseconds(50);
constexpr size_t kInstructionsMax = 256;
constexpr size_t kInstructionBytesMax = size_t{1024} * 1024;

// What the bus's threads leave for the shipper. Shared: a late acknowledgement may come when the
// shipper is gone already.
struct Inbox {
  struct Ack {
    std::string incarnation;
    uint64_t run = 0;
    bool ok = false;
  };
  std::mutex mutex;
  std::condition_variable_any changed;
  bool woken = false;
  std::vector<Ack> acks;
  std::deque<std::string> instructions;

  void Wake() {
    const std::lock_guard lock(mutex);
    woken = true;
    changed.notify_all();
  }
};

}  // namespace

struct Shipper::Rep {
  Journal& journal;
  Bus& bus;
  const Verifier& verifier;
  const Clock& clock;
  const ShipperOptions options;
  std::shared_ptr<Inbox> inbox = std::make_shared<Inbox>();  // shared with callbacks of the bus
  std::unique_ptr<Bus::Subscription> subscription;
  std::mutex mutex;  // held by a round
  std::map<std::string, ShipLane> lanes;
  uint64_t next_run = 1;
  int64_t epoch = 0;  // under which everything that is kept was sent; 0: none is known
  std::minstd_rand random{static_cast<unsigned>(std::hash<std::string>()(FastId()))};
  std::atomic<int64_t> published = 0, failed = 0, resent = 0, refused = 0;
  std::jthread thread;  // last: joined before anything above goes

  size_t Outstanding() const;
  int64_t RetryAt(int tries);
  void TakeAcks();
  void TakeInstructions();
  void Subscribe();
  void Obey(const std::string& payload);
  void SendAllKept(const v1::Instruction& instruction);
  Result<v1::Instruction> Open(const std::string& payload) const;
  void OpenLanes();
  void RetryDue();
  void SendResends();
  void SendFresh();
  bool Send(const std::string& incarnation, ShipLane& lane, ShipRun& run,
            const std::vector<StoredRecord>& records);
  void Publish(const std::string& incarnation, ShipLane& lane, ShipRun& run,
               const std::string& payload);
  std::string MessageId(const std::string& incarnation, int64_t first_seq, bool fresh_id) const;
  void RunOnce();
  void Loop(const std::stop_token& stop);
};

Shipper::Shipper(Journal& journal, Bus& bus, const Verifier& verifier, const Clock& clock,
                 const ShipperOptions& options)
    : journal_(journal),
      rep_(new Rep{.journal = journal,
                   .bus = bus,
                   .verifier = verifier,
                   .clock = clock,
                   .options = options}) {
  rep_->epoch = journal.highest_epoch();
  journal.OnSynced([inbox = rep_->inbox] { inbox->Wake(); });
  if (options.threaded)
    rep_->thread =
        std::jthread([rep = rep_.get()](const std::stop_token& stop) { rep->Loop(stop); });
}

Shipper::~Shipper() {
  journal_.OnSynced({});
  if (rep_->thread.joinable()) {
    rep_->thread.request_stop();
    rep_->inbox->Wake();
    rep_->thread.join();
  }
  rep_->subscription.reset();
}

void Shipper::Rep::Loop(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    RunOnce();
    std::unique_lock lock(inbox->mutex);
    inbox->changed.wait_for(lock, stop, kIdle,
                            [this] { return std::exchange(inbox->woken, false); });
  }
}

void Shipper::RunOnce() { rep_->RunOnce(); }

void Shipper::Rep::RunOnce() {
  const std::lock_guard lock(mutex);
  Subscribe();
  TakeAcks();
  TakeInstructions();
  OpenLanes();
  if (bus.state() != BusState::kConnected) return;
  RetryDue();
  SendResends();
  SendFresh();
}

void Shipper::Rep::Subscribe() {
  if (subscription != nullptr) return;
  auto made = bus.Subscribe(subjects::Instruction(journal.instance()),
                            [inbox = inbox](const BusMessage& message) {
                              if (message.payload.size() > kInstructionBytesMax) return;
                              const std::lock_guard lock(inbox->mutex);
                              // The control plane repeats itself with every heartbeat: what does
                              // not fit comes again.
                              if (inbox->instructions.size() < kInstructionsMax)
                                inbox->instructions.push_back(message.payload);
                              inbox->woken = true;
                              inbox->changed.notify_all();
                            });
  if (made) subscription = std::move(*made);
}

size_t Shipper::Rep::Outstanding() const {
  size_t runs = 0;
  for (const auto& [incarnation, lane] : lanes) runs += lane.runs();
  return runs;
}

int64_t Shipper::Rep::RetryAt(int tries) {
  const int64_t top = std::min(options.retry_ms_max, options.retry_ms_min << std::min(tries, 16));
  std::uniform_int_distribution<int64_t> jitter(top / 2, top);
  return clock.MonotonicNs() + jitter(random) * 1'000'000;
}

void Shipper::Rep::TakeAcks() {
  std::vector<Inbox::Ack> acks;
  {
    const std::lock_guard lock(inbox->mutex);
    acks.swap(inbox->acks);
  }
  for (const Inbox::Ack& ack : acks) {
    const auto at = lanes.find(ack.incarnation);
    if (at == lanes.end()) continue;
    ShipRun* run = at->second.Find(ack.run);
    if (run == nullptr) continue;
    if (ack.ok) {
      ++published;
      at->second.Acknowledge(ack.run);
      journal.MarkPublished(ack.incarnation, at->second.published_upto());
    } else {
      ++failed;
      at->second.Fail(ack.run, RetryAt(run->tries));
    }
  }
}

void Shipper::Rep::TakeInstructions() {
  std::deque<std::string> instructions;
  {
    const std::lock_guard lock(inbox->mutex);
    instructions.swap(inbox->instructions);
  }
  for (const std::string& payload : instructions) Obey(payload);
}

Result<v1::Instruction> Shipper::Rep::Open(const std::string& payload) const {
  v1::Signed message;
  if (!message.ParseFromString(payload))
    return Fail(ErrorCode::kCorrupt, "an instruction is no Signed message");
  SW_CHECK(verifier.Verify(message, v1::Signed::PURPOSE_INSTRUCTION));
  v1::Instruction instruction;
  if (!instruction.ParseFromString(message.payload()))
    return Fail(ErrorCode::kCorrupt, "an instruction cannot be read");
  if (instruction.instance() != journal.instance())
    return Fail(ErrorCode::kStale, "an instruction is for another instance");
  if (instruction.epoch() < journal.highest_epoch())
    return Fail(ErrorCode::kStale, "an instruction comes from an earlier control plane");
  return instruction;
}

void Shipper::Rep::Obey(const std::string& payload) {
  const auto instruction = Open(payload);
  if (!instruction) {
    ++refused;
    log::Warn("instruction refused", {{"reason", instruction.error().message}});
    return;
  }
  // The epoch is on disk before anything is freed on its word.
  if (auto noted = journal.NoteInstruction(instruction->epoch(),
                                           instruction->retired() || journal.retired());
      !noted) {
    log::Warn("instruction not followed", {{"reason", noted.error().message}});
    return;
  }
  for (const v1::IncarnationMark& mark : instruction->marks()) {
    std::optional<int64_t> backed_up;
    if (mark.has_backed_up_upto()) backed_up = mark.backed_up_upto();
    journal.MarkCommitted(mark.incarnation(), mark.committed_upto(), backed_up);
  }
  OpenLanes();
  if (instruction->epoch() > epoch) SendAllKept(*instruction);
  for (const v1::Resend& range : instruction->resend()) {
    const auto at = lanes.find(range.incarnation());
    if (at != lanes.end()) at->second.WantResend(range.from_seq(), range.to_seq());
  }
}

// A new control plane may have been restored from a backup: what it does not say it has goes out
// again, whatever an earlier one had.
void Shipper::Rep::SendAllKept(const v1::Instruction& instruction) {
  const bool first = epoch == 0;
  epoch = instruction.epoch();
  if (first) return;
  for (auto& [incarnation, lane] : lanes) {
    int64_t has = 0;
    for (const v1::IncarnationMark& mark : instruction.marks())
      if (mark.incarnation() == incarnation) has = std::max(has, mark.committed_upto());
    if (has < lane.published_upto()) lane.WantResend(has + 1, lane.published_upto());
  }
}

void Shipper::Rep::OpenLanes() {
  const std::vector<v1::JournalState> states = journal.States();
  for (const v1::JournalState& state : states)
    lanes.try_emplace(state.incarnation(), state.published_upto())
        .first->second.Committed(state.committed_upto());
  if (lanes.size() == states.size()) return;
  std::erase_if(lanes, [&states](const auto& lane) {
    return std::ranges::none_of(
        states, [&lane](const auto& state) { return state.incarnation() == lane.first; });
  });
}

std::string Shipper::Rep::MessageId(const std::string& incarnation, int64_t first_seq,
                                    bool fresh_id) const {
  std::string id = journal.instance() + "-" + incarnation + "-" + std::to_string(first_seq);
  if (fresh_id) id += "-" + FastId();
  return id;
}

bool Shipper::Rep::Send(const std::string& incarnation, ShipLane& lane, ShipRun& run,
                        const std::vector<StoredRecord>& records) {
  v1::UsageRun message;
  message.set_instance(journal.instance());
  message.set_incarnation(incarnation);
  message.set_first_seq(run.first_seq);
  for (const StoredRecord& record : records) {
    message.add_records(record.bytes);
    message.add_crc32c(record.crc32c);
  }
  Publish(incarnation, lane, run, message.SerializeAsString());
  return run.in_flight;
}

void Shipper::Rep::Publish(const std::string& incarnation, ShipLane& lane, ShipRun& run,
                           const std::string& payload) {
  run.in_flight = true;
  ++run.tries;
  const auto on_ack = [inbox = inbox, incarnation, id = run.id](const Result<uint64_t>& stored) {
    const std::lock_guard lock(inbox->mutex);
    inbox->acks.push_back({.incarnation = incarnation, .run = id, .ok = stored.has_value()});
    inbox->woken = true;
    inbox->changed.notify_all();
  };
  const Bus::PublishOptions how{.message_id = run.message_id,
                                .timeout_ms = options.publish_timeout_ms};
  const uint64_t id = run.id;
  const int tries = run.tries;
  // A refusal is no acknowledgement: then on_ack has not run and never will.
  if (auto sent =
          bus.PublishToStreamAsync(subjects::Usage(journal.instance()), payload, how, on_ack);
      !sent) {
    ++failed;
    lane.Fail(id, RetryAt(tries));
  }
}

void Shipper::Rep::RetryDue() {
  for (auto& [incarnation, lane] : lanes) {
    while (ShipRun* run = lane.Due(clock.MonotonicNs())) {
      const auto records =
          journal.Read(incarnation, run->first_seq, run->last_seq, options.run_bytes_max * 2);
      if (!records) {
        lane.Fail(run->id, RetryAt(run->tries));  // too many open files, say: they are still there
        break;
      }
      const bool whole = !records->empty() && records->front().seq == run->first_seq &&
                         records->back().seq == run->last_seq;
      if (!whole) {
        lane.Abandon(run->id);  // committed and freed meanwhile
        continue;
      }
      if (!Send(incarnation, lane, *run, *records)) return;
    }
  }
}

void Shipper::Rep::SendResends() {
  for (auto& [incarnation, lane] : lanes) {
    while (const auto range = lane.FrontResend()) {
      if (lane.resend_runs() >= static_cast<size_t>(std::max(options.in_flight_max / 2, 1))) return;
      const auto records =
          journal.Read(incarnation, range->from_seq, range->to_seq, options.run_bytes_max);
      if (!records || records->empty() || records->front().seq > range->to_seq) {
        lane.ResentUpto(range->to_seq);  // freed, or unreadable: nothing left to send
        continue;
      }
      const int64_t first = records->front().seq;
      ShipRun& run = lane.AddResend(next_run++, first, records->back().seq,
                                    MessageId(incarnation, first, true));
      lane.ResentUpto(records->back().seq);
      ++resent;
      if (!Send(incarnation, lane, run, *records)) return;
    }
  }
}

void Shipper::Rep::SendFresh() {
  for (auto& [incarnation, lane] : lanes) {
    while (Outstanding() < static_cast<size_t>(options.in_flight_max) + lane.resend_runs()) {
      const auto records =
          journal.Read(incarnation, lane.next_seq(), INT64_MAX, options.run_bytes_max);
      if (!records || records->empty()) break;
      const int64_t first = records->front().seq;
      ShipRun& run = lane.AddFresh(next_run++, first, records->back().seq,
                                   MessageId(incarnation, first, false));
      if (!Send(incarnation, lane, run, *records)) return;
    }
  }
}

Shipper::Flushed Shipper::Flush(int64_t timeout_ms) {
  const int64_t deadline_ns = clock_ns() + timeout_ms * 1'000'000;
  while (true) {
    journal_.RunOnce();
    rep_->RunOnce();
    Flushed flushed;
    for (const v1::JournalState& state : States()) {
      flushed.uncommitted_records += state.last_seq() - state.committed_upto();
      flushed.unshipped_records += state.last_seq() - state.published_upto();
    }
    if (flushed.uncommitted_records == 0 || clock_ns() >= deadline_ns) return flushed;
    std::unique_lock lock(rep_->inbox->mutex);
    rep_->inbox->changed.wait_for(lock, kIdle,
                                  [this] { return std::exchange(rep_->inbox->woken, false); });
  }
}

int64_t Shipper::clock_ns() const { return rep_->clock.MonotonicNs(); }

void Shipper::Collect(MetricsText& text) const {
  const auto put = [&text](std::string_view name, std::string_view help, int64_t value) {
    text.Family(name, "counter", help);
    text.Sample(name, {}, value);
  };
  put("spillway_usage_runs_published_total", "Runs of usage records acknowledged by the stream.",
      rep_->published);
  put("spillway_usage_runs_failed_total", "Publishes that failed or timed out.", rep_->failed);
  put("spillway_usage_runs_resent_total", "Runs sent again because the control plane asked.",
      rep_->resent);
  put("spillway_usage_instructions_refused_total",
      "Instructions with a wrong signature, epoch or instance.", rep_->refused);
}

}  // namespace spillway
