#include "controlplane/ledger/consumer.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "common/log.h"
#include "common/subjects.h"
#include "controlplane/ledger/resend_watch.h"

namespace spillway {
namespace {

constexpr auto kPause = std::chrono::milliseconds(200);  // while bus or store are away
constexpr int64_t kMarksEveryNs = 100'000'000;           // per data plane
constexpr int64_t kStreamEveryNs = 1'000'000'000;
constexpr int64_t kForgetNs = 60'000'000'000;
constexpr int64_t kGapsEveryNs = 500'000'000;
constexpr int kFetchWithMarksWaitingMs = 50;

}  // namespace

struct LedgerConsumer::Rep {
  Bus& bus;
  Ledger& ledger;
  const Clock& clock;
  const LedgerConsumerOptions options;
  const SendInstruction send;
  const std::string name;
  ledger::ResendWatch watch;

  std::unique_ptr<Bus::Consumer> consumer;
  bool old_consumer_deleted = false;
  std::vector<v1::UsageRun> pending;  // fetched, not applied: the store could not write
  Ledger::Position pending_position;
  std::map<std::string, int64_t> marks_due;   // instance -> not before, monotonic
  std::map<std::string, int64_t> marks_sent;  // instance -> when
  int64_t stream_checked_ns = 0;
  int64_t gaps_checked_ns = 0;
  int64_t purged_ns = 0;
  uint64_t purged_seq = 0;
  int64_t drained_ns = 0;

  std::atomic<int64_t> lag = 0, messages = 0, refused = 0, resends = 0, stream_changes = 0;
  std::atomic<bool> stalled = false, caught_up = false, damaged = false;
  std::optional<uint64_t> first_end;  // the stream's last message when it was first seen
  std::mutex wake_mutex;
  std::condition_variable_any wake;
  std::jthread thread;  // last: joined before anything above goes

  void Loop(const std::stop_token& stop);
  int RunOnce();
  Result<void> CheckStream();
  Result<void> FollowStream(const StreamState& state);
  Result<void> Attach();
  Result<int> Take();
  void Decode(const std::vector<BusMessage>& fetched);
  Result<int> ApplyPending();
  void SendMarks();
  void AskFor(const std::map<std::string, std::vector<v1::Resend>>& ranges);
  void CheckGaps();
  void Purge();
};

LedgerConsumer::LedgerConsumer(Bus& bus, Ledger& ledger, const Clock& clock,
                               const LedgerConsumerOptions& options, SendInstruction send)
    : rep_(new Rep{.bus = bus,
                   .ledger = ledger,
                   .clock = clock,
                   .options = options,
                   .send = std::move(send),
                   .name = "ledger-" + std::to_string(options.epoch),
                   .watch = {options.resend_after_ms, options.resend_every_ms_max,
                             static_cast<unsigned>(clock.MonotonicNs() | 1)}}) {
  if (options.threaded)
    rep_->thread =
        std::jthread([rep = rep_.get()](const std::stop_token& stop) { rep->Loop(stop); });
}

LedgerConsumer::~LedgerConsumer() = default;

void LedgerConsumer::Rep::Loop(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    const int applied = RunOnce();
    if (applied > 0 || (consumer != nullptr && !stalled)) continue;
    std::unique_lock lock(wake_mutex);
    wake.wait_for(lock, stop, kPause, [] { return false; });
  }
}

int LedgerConsumer::RunOnce() { return rep_->RunOnce(); }

int LedgerConsumer::Rep::RunOnce() {
  int applied = 0;
  const auto round = [&]() -> Result<void> {
    if (!pending.empty()) {
      SW_TRY(applied, ApplyPending());
    }
    if (bus.state() != BusState::kConnected)
      return Fail(ErrorCode::kUnavailable, "the bus is away");
    SW_CHECK(CheckStream());
    SW_CHECK(Attach());
    SW_TRY(const int taken, Take());
    applied += taken;
    return {};
  };
  // What went wrong comes again or shows as lag; the next round starts over.
  if (auto done = round(); !done) {
    consumer.reset();
    log::Debug("ledger waits", {{"reason", done.error().message}});
  }
  SendMarks();
  if (bus.state() == BusState::kConnected) {
    CheckGaps();
    Purge();
  }
  return applied;
}

Result<void> LedgerConsumer::Rep::CheckStream() {
  const int64_t now_ns = clock.MonotonicNs();
  if (consumer != nullptr && now_ns - stream_checked_ns < kStreamEveryNs) return {};
  auto state = bus.GetStreamState(subjects::kUsageStream);
  if (!state) {
    SW_CHECK(bus.EnsureStream({.name = std::string(subjects::kUsageStream),
                               .subjects = {std::string(subjects::kUsageAll)},
                               .bytes_max = options.stream_bytes_max,
                               .discard_new = true}));
    state = bus.GetStreamState(subjects::kUsageStream);
    if (!state) return std::unexpected(std::move(state).error());
  }
  stream_checked_ns = now_ns;
  return FollowStream(*state);
}

Result<void> LedgerConsumer::Rep::FollowStream(const StreamState& state) {
  const Ledger::Position position = ledger.position();
  const bool same = position.created_ns == state.created_ns && position.seq <= state.last_seq;
  lag = static_cast<int64_t>(state.last_seq - std::min(state.last_seq, same ? position.seq : 0));
  if (!first_end) first_end = state.last_seq;
  if (same) {
    if (state.first_seq > position.seq + 1) damaged = true;
    const bool nothing_left = state.messages == 0 || state.first_seq > *first_end;
    if (position.seq >= *first_end || nothing_left) caught_up = true;
    return {};
  }
  // Another stream, or one set back: what the old one held and we never saw lies with the data
  // planes.
  consumer.reset();
  SW_CHECK(ledger.SetPosition({.created_ns = state.created_ns, .seq = 0}));
  first_end = state.last_seq;
  if (position.created_ns == 0) return {};
  damaged = true;
  ++stream_changes;
  log::Warn(
      "the usage stream is another one than before; asking every data plane for what is not in the "
      "ledger");
  AskFor(ledger.EverythingAbove());
  return {};
}

Result<void> LedgerConsumer::Rep::Attach() {
  if (consumer != nullptr) return {};
  if (!old_consumer_deleted) {
    // Remembered before it is made, so that no death in between leaves one behind for good.
    SW_TRY(const std::string before, ledger.RememberConsumer(name));
    if (!before.empty() && before != name)
      std::ignore = bus.DeleteConsumer(subjects::kUsageStream, before);
    old_consumer_deleted = true;
  }
  // Made anew at the ledger's own position: what an earlier attempt fetched and did not apply comes
  // again.
  std::ignore = bus.DeleteConsumer(subjects::kUsageStream, name);
  SW_TRY(consumer, bus.Consume({.stream = std::string(subjects::kUsageStream),
                                .name = name,
                                .start_seq = ledger.position().seq + 1}));
  return {};
}

Result<int> LedgerConsumer::Rep::Take() {
  const int64_t asked_ns = clock.MonotonicNs();
  const int timeout_ms = marks_due.empty()
                             ? options.fetch_timeout_ms
                             : std::min(options.fetch_timeout_ms, kFetchWithMarksWaitingMs);
  SW_TRY(const std::vector<BusMessage> fetched, consumer->Fetch(options.fetch_max, timeout_ms));
  if (fetched.empty()) {
    drained_ns = asked_ns;
    return 0;
  }
  Decode(fetched);
  SW_TRY(const int applied, ApplyPending());
  SW_CHECK(consumer->AckAll());
  return applied;
}

void LedgerConsumer::Rep::Decode(const std::vector<BusMessage>& fetched) {
  pending_position = ledger.position();
  for (const BusMessage& message : fetched) {
    pending_position.seq = std::max(pending_position.seq, message.stream_seq);
    v1::UsageRun run;
    // The subject is what the sender's credentials allow: with a user for each instance on the bus
    // (deploy/nats.conf) nobody reports in another's name.
    if (run.ParseFromString(message.payload) &&
        message.subject == subjects::Usage(run.instance())) {
      pending.push_back(std::move(run));
    } else {
      ++refused;
      log::Warn("a usage message is refused",
                {{"subject", message.subject}, {"stream_seq", message.stream_seq}});
    }
  }
  messages += static_cast<int64_t>(fetched.size());
}

Result<int> LedgerConsumer::Rep::ApplyPending() {
  const int count = static_cast<int>(pending.size());
  auto applied = ledger.Apply(pending, pending_position);
  if (!applied) {
    if (!stalled.exchange(true))
      log::Fault("the ledger cannot be written; usage waits in the stream",
                 {{"reason", applied.error().message}});
    return std::unexpected(std::move(applied).error());
  }
  stalled = false;
  pending.clear();
  const int64_t now_ns = clock.MonotonicNs();
  for (const std::string& instance : applied->instances) {
    const auto sent = marks_sent.find(instance);
    marks_due.try_emplace(instance, sent == marks_sent.end()
                                        ? now_ns
                                        : std::max(now_ns, sent->second + kMarksEveryNs));
  }
  return count;
}

void LedgerConsumer::Rep::SendMarks() {
  const int64_t now_ns = clock.MonotonicNs();
  for (auto at = marks_due.begin(); at != marks_due.end();) {
    if (at->second > now_ns) {
      ++at;
      continue;
    }
    v1::Instruction instruction;
    instruction.set_epoch(options.epoch);
    instruction.set_instance(at->first);
    for (v1::IncarnationMark& mark : ledger.MarksOf(at->first))
      *instruction.add_marks() = std::move(mark);
    send(std::move(instruction));
    marks_sent[at->first] = now_ns;
    at = marks_due.erase(at);
  }
}

void LedgerConsumer::Rep::AskFor(const std::map<std::string, std::vector<v1::Resend>>& ranges) {
  std::erase_if(marks_sent,
                [this](const auto& sent) { return clock.MonotonicNs() - sent.second > kForgetNs; });
  for (const auto& [instance, wanted] : ranges) {
    v1::Instruction instruction;
    instruction.set_epoch(options.epoch);
    instruction.set_instance(instance);
    for (v1::IncarnationMark& mark : ledger.MarksOf(instance))
      *instruction.add_marks() = std::move(mark);
    for (const v1::Resend& range : wanted) *instruction.add_resend() = range;
    ++resends;
    send(std::move(instruction));
  }
}

void LedgerConsumer::Rep::CheckGaps() {
  const int64_t now_ns = clock.MonotonicNs();
  if (now_ns - gaps_checked_ns < kGapsEveryNs) return;
  gaps_checked_ns = now_ns;
  AskFor(watch.Due(ledger.Missing(), now_ns, drained_ns));
}

void LedgerConsumer::Rep::Purge() {
  const int64_t now_ns = clock.MonotonicNs();
  if (now_ns - purged_ns < options.purge_every_ms * 1'000'000) return;
  purged_ns = now_ns;
  const Ledger::Position upto = ledger.purgeable();
  if (upto.seq == 0 || upto.seq == purged_seq || upto.created_ns != ledger.position().created_ns)
    return;
  // Only the stream that the position speaks of.
  const auto state = bus.GetStreamState(subjects::kUsageStream);
  if (!state || state->created_ns != upto.created_ns) return;
  if (bus.Purge(subjects::kUsageStream, upto.seq + 1)) purged_seq = upto.seq;
}

void LedgerConsumer::OnHeartbeat(const v1::Heartbeat& heartbeat) {
  std::vector<std::string> named;
  for (const v1::JournalState& journal : heartbeat.journals()) {
    named.push_back(journal.incarnation());
    rep_->ledger.NoteKnown(heartbeat.instance(), journal.incarnation(), journal.published_upto());
  }
  v1::Instruction instruction;
  instruction.set_epoch(rep_->options.epoch);
  instruction.set_instance(heartbeat.instance());
  bool news = false;
  for (v1::IncarnationMark& mark : rep_->ledger.MarksOf(heartbeat.instance(), named)) {
    const auto heard =
        std::ranges::find(heartbeat.journals(), mark.incarnation(), &v1::JournalState::incarnation);
    if (heard == heartbeat.journals().end()) continue;
    news = news || heard->committed_upto() < mark.committed_upto() || mark.has_backed_up_upto();
    *instruction.add_marks() = std::move(mark);
  }
  if (news) rep_->send(std::move(instruction));
}

void LedgerConsumer::OnRetired(const std::string& instance) {
  v1::Instruction instruction;
  instruction.set_epoch(rep_->options.epoch);
  instruction.set_instance(instance);
  instruction.set_retired(true);
  for (v1::IncarnationMark& mark : rep_->ledger.MarksOf(instance))
    *instruction.add_marks() = std::move(mark);
  rep_->send(std::move(instruction));
}

LedgerConsumer::Stats LedgerConsumer::stats() const {
  return {.lag_messages = rep_->lag,
          .messages = rep_->messages,
          .refused = rep_->refused,
          .resends = rep_->resends,
          .stream_changes = rep_->stream_changes,
          .stalled = rep_->stalled,
          .caught_up = rep_->caught_up,
          .damaged = rep_->damaged};
}

void LedgerConsumer::Collect(MetricsText& text) const {
  const auto put = [&text](std::string_view name, std::string_view type, std::string_view help,
                           int64_t value) {
    text.Family(name, type, help);
    text.Sample(name, {}, value);
  };
  const Stats now = stats();
  put("spillway_ledger_lag_messages", "gauge", "Messages in the stream that are not applied.",
      now.lag_messages);
  put("spillway_ledger_messages_total", "counter", "Messages taken from the stream.", now.messages);
  put("spillway_ledger_refused_messages_total", "counter",
      "Messages that are no run of their sender.", now.refused);
  put("spillway_ledger_resends_total", "counter", "Instructions to send records again.",
      now.resends);
  put("spillway_ledger_stream_changes_total", "counter", "Times the stream was another one.",
      now.stream_changes);
  put("spillway_ledger_stalled", "gauge", "1 while the store cannot be written.",
      now.stalled ? 1 : 0);
}

}  // namespace spillway
