#include "dataplane/metering/journal.h"

#include <algorithm>

#include "common/crypto/crc32c.h"
#include "common/durable_file.h"
#include "dataplane/metering/journal_state.h"

namespace spillway {
namespace {

// What the end of an attempt takes beyond its Started: usage, cost, how it ended.
constexpr int64_t kEndExtraBytes = 224;
// What a record takes in a run besides its bytes: tag, length, checksum.
constexpr int64_t kRunOverheadBytes = 8;

}  // namespace

Journal::Journal() = default;
Journal::~Journal() {
  if (!rep_ || !rep_->active) return;
  if (rep_->thread.joinable()) {
    rep_->thread.request_stop();
    rep_->thread.join();
  }
  const std::lock_guard lock(rep_->upkeep_mutex);
  rep_->RunOnce();
  rep_->SaveMarksWhenDue(true);
  rep_->SaveTotals(true);
}

const std::string& Journal::instance() const { return rep_->instance; }
const std::string& Journal::incarnation() const { return rep_->incarnation; }
const std::string& Journal::folder() const { return rep_->folder; }
bool Journal::full() const { return rep_->full.load(std::memory_order_relaxed); }

int64_t Journal::Rep::Room() const {
  auto room = static_cast<int64_t>(active->room());
  for (const auto& spare : spares) room += static_cast<int64_t>(spare->room());
  return room;
}

int64_t Journal::Rep::RoomToCome() const {
  const auto bytes = static_cast<int64_t>(segment_bytes);
  return Room() + budget_bytes / bytes * bytes;
}

// A Started leaves space for its own end and for those of all others; what is no end, for those.
bool Journal::Rep::LeavesEnds(int64_t bytes, Kind kind) {
  if (kind == Kind::kEnd || kind == Kind::kLoneEnd) return true;
  if (kind == Kind::kStarted) end_bytes = std::max(end_bytes, bytes + kEndExtraBytes);
  // `refuse` promises a place for every end: only what is ready counts.
  const int64_t room = options.full == JournalFull::kRefuse ? Room() : RoomToCome();
  return room - bytes >= (open_started + (kind == Kind::kStarted ? 1 : 0)) * end_bytes;
}

bool Journal::Rep::Roll() {
  if (spares.empty()) return false;
  sealed.push_back(
      {.segment = std::move(active), .first_seq = active_first_seq, .last_seq = next_seq - 1});
  active = std::move(spares.front());
  spares.pop_front();
  active_first_seq = next_seq;
  wake_wanted = true;
  wake.notify_one();
  return true;
}

Result<int64_t> Journal::Rep::Append(std::string_view record, Kind kind) {
  if (record.size() + kSeqFieldBytesMax > kRecordBytesMax)
    return Fail(ErrorCode::kInternal, "a usage record is larger than the journal takes");
  const uint32_t crc = Crc32c(record);
  const auto bytes = static_cast<int64_t>(FrameBytes(record.size() + kSeqFieldBytesMax));
  const std::lock_guard lock(append_mutex);
  if (closed) return Fail(ErrorCode::kDraining, "the journal is closed");
  if (!LeavesEnds(bytes, kind) || (!active->Fits(record.size()) && !Roll())) {
    full = full || kind != Kind::kOther;  // what can wait says nothing of ends
    return Fail(ErrorCode::kJournalFull,
                "the usage journal is full: the control plane has not taken it for too long");
  }
  active->Append(record, crc, next_seq);
  appended_bytes += bytes;
  if (kind == Kind::kStarted) ++open_started;
  if (kind == Kind::kEnd) --open_started;
  return next_seq++;
}

Result<int64_t> Journal::Append(std::string_view record, Kind kind) {
  auto seq = rep_->Append(record, kind);
  if (!seq && seq.error().code == ErrorCode::kJournalFull && kind == Kind::kStarted) {
    if (rep_->options.full == JournalFull::kCount) return 0;
    ++rep_->refused;
  }
  return seq;
}

void Journal::CountEnd(const FullCounts::End& end) {
  rep_->counts.Add(end);
  ++rep_->counted_ends;
  if (end.started_seq == 0) return;
  const std::lock_guard lock(rep_->append_mutex);
  --rep_->open_started;
}

void Journal::AppendClosed(const std::vector<v1::Closed>& holders) {
  const std::lock_guard upkeep(rep_->upkeep_mutex);
  rep_->RunOnce();
  if (!rep_->counts.empty()) {
    // The process ends: what was only counted in memory goes to disk even beyond the limit, and
    // before the ends of attempts that still run, which the next process bills.
    rep_->PrepareSegments(true);
    {
      const std::lock_guard lock(rep_->append_mutex);
      rep_->full = false;
    }
    rep_->WriteCounted(Kind::kLoneEnd);
  }
  {
    const std::lock_guard lock(rep_->append_mutex);
    // An attempt still open is settled by whoever replays this journal.
    if (rep_->closed || rep_->open_started > 0 || !rep_->counts.empty()) return;
  }
  int64_t first_seq = 0;
  {
    const std::lock_guard lock(rep_->append_mutex);
    first_seq = rep_->next_seq;
  }
  bool appended = true;
  for (const v1::UsageRecord& record : ClosingRecords(holders, first_seq, rep_->clock.WallMs())) {
    rep_->PrepareSegments(true);
    appended = appended && rep_->Append(record.SerializeAsString(), Kind::kOther).has_value();
  }
  {
    const std::lock_guard lock(rep_->append_mutex);
    rep_->closed = appended;
  }
  rep_->RunOnce();
}

void Journal::RunOnce() {
  const std::lock_guard lock(rep_->upkeep_mutex);
  rep_->RunOnce();
}

void Journal::OnSynced(std::function<void()> listener) {
  const std::lock_guard lock(rep_->listener_mutex);
  rep_->on_synced = std::move(listener);
}

std::vector<v1::JournalState> Journal::States() const {
  int64_t journalled = 0;
  {
    const std::lock_guard lock(rep_->append_mutex);
    journalled = rep_->next_seq - 1;
  }
  std::vector<v1::JournalState> states;
  for (const IncarnationLog& log : rep_->book.Heads()) {
    v1::JournalState& state = states.emplace_back();
    state.set_incarnation(log.incarnation);
    state.set_last_seq(log.live ? std::max(journalled, log.last_seq) : log.last_seq);
    state.set_published_upto(log.published_upto);
    state.set_committed_upto(log.committed_upto);
  }
  return states;
}

Result<std::vector<StoredRecord>> Journal::Read(const std::string& incarnation, int64_t from_seq,
                                                int64_t to_seq, int64_t bytes_max) {
  std::vector<StoredRecord> records;
  int64_t bytes = 0;
  const std::lock_guard lock(rep_->reader_mutex);
  SW_CHECK(rep_->reader.Read(incarnation, from_seq, to_seq, [&](const Frame& frame) {
    bytes += static_cast<int64_t>(frame.record.size()) + kRunOverheadBytes;
    if (!records.empty() && bytes > bytes_max) return false;
    records.push_back(
        {.seq = frame.seq, .crc32c = frame.crc32c, .bytes = std::string(frame.record)});
    return true;
  }));
  return records;
}

void Journal::MarkPublished(const std::string& incarnation, int64_t upto) {
  rep_->book.MarkPublished(incarnation, upto);
}

void Journal::MarkCommitted(const std::string& incarnation, int64_t upto,
                            std::optional<int64_t> backed_up_upto) {
  rep_->book.MarkCommitted(incarnation, upto, std::min(upto, backed_up_upto.value_or(upto)));
}

int64_t Journal::highest_epoch() const {
  const std::lock_guard lock(rep_->marks_mutex);
  return rep_->epoch;
}

bool Journal::retired() const {
  const std::lock_guard lock(rep_->marks_mutex);
  return rep_->retired;
}

Result<void> Journal::NoteInstruction(int64_t epoch, bool retired) {
  const std::lock_guard upkeep(rep_->upkeep_mutex);
  {
    const std::lock_guard lock(rep_->marks_mutex);
    if (epoch <= rep_->epoch && retired == rep_->retired) return {};
    rep_->epoch = std::max(rep_->epoch, epoch);
    rep_->retired = retired;
  }
  return rep_->SaveMarks();
}

}  // namespace spillway
