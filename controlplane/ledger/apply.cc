#include "controlplane/ledger/apply.h"

#include <algorithm>
#include <utility>

#include "common/crypto/crc32c.h"
#include "controlplane/ledger/keys.h"
#include "controlplane/ledger/totals.h"

namespace spillway::ledger {
namespace {

constexpr int64_t kSeqMax = int64_t{1} << 60;
constexpr size_t kInstanceBytesMax = 64;
constexpr int kRecordsMax = 100'000;

bool IsWellFormed(const v1::UsageRun& run) {
  return !run.instance().empty() && run.instance().size() <= kInstanceBytesMax &&
         run.first_seq() >= 1 && run.first_seq() < kSeqMax &&
         run.records_size() == run.crc32c_size() && run.records_size() <= kRecordsMax;
}

}  // namespace

ApplyBatch::~ApplyBatch() {
  state_.rollups.Discard();
  if (state_.charges != nullptr && !published_) state_.charges->Discarded();
}

Mark* ApplyBatch::MarkOf(const std::string& instance, const std::string& packed) {
  if (const auto at = marks_.find(packed); at != marks_.end())
    return at->second.instance == instance ? &at->second : nullptr;
  const auto kept = state_.marks.find(packed);
  if (kept != state_.marks.end() && kept->second.instance != instance) return nullptr;
  Mark mark = kept != state_.marks.end() ? kept->second : Mark{.instance = instance};
  if (kept == state_.marks.end() && state_.charges != nullptr)
    state_.charges->Met(instance, packed);
  return &marks_.emplace(packed, std::move(mark)).first->second;
}

Result<void> ApplyBatch::AddRun(const v1::UsageRun& run) {
  const auto packed = PackIncarnation(run.incarnation());
  Mark* const mark = packed && IsWellFormed(run) ? MarkOf(run.instance(), *packed) : nullptr;
  if (mark == nullptr) {
    ++refused_runs_;
    return {};
  }
  if (std::ranges::find(applied.instances, run.instance()) == applied.instances.end())
    applied.instances.push_back(run.instance());
  for (int i = 0; i < run.records_size(); ++i) {
    const int64_t seq = run.first_seq() + i;
    const std::string& bytes = run.records(i);
    mark->known_upto = std::max(mark->known_upto, seq);
    const bool late = mark->Has(seq) && mark->lost.Contains(seq);
    if (mark->Has(seq) && !late) {
      ++applied.duplicates;
    } else if (Crc32c(bytes) != run.crc32c(i)) {
      ++applied.bad;  // stays missing, and is asked for again
    } else if (seq > mark->committed_upto + 1 && !late && !mark->applied.Contains(seq - 1) &&
               mark->applied.ranges() >= static_cast<size_t>(state_.options.ranges_max)) {
      ++applied.deferred;
    } else {
      SW_CHECK(AddRecord(*packed, *mark, seq, bytes));
    }
  }
  if (mark->retired) SW_CHECK(SettleOpen(*packed));
  CleanComplete(*packed, *mark);
  if (state_.charges != nullptr) state_.charges->Reached(*packed, mark->committed_upto);
  return {};
}

Result<void> ApplyBatch::AddRecord(const std::string& packed, Mark& mark, int64_t seq,
                                   const std::string& bytes) {
  const bool late = mark.lost.Contains(seq);
  const bool readable = record_.ParseFromString(bytes) && record_.seq() == seq &&
                        record_.body_case() != v1::UsageRecord::BODY_NOT_SET;
  if (!readable) {
    // Sent as it was journalled and still nothing we know: asking again would bring the same.
    if (late) ++applied.duplicates;
    if (!late) ++unreadable_, mark.Add(seq, seq), mark.lost.Add(seq, seq);
    return {};
  }
  // Before the mark moves: whether a Started is applied is asked of the state without this record.
  switch (record_.body_case()) {
    case v1::UsageRecord::kStarted:
      SW_CHECK(Started(packed, seq, bytes));
      break;
    case v1::UsageRecord::kOutgrown:
      SW_CHECK(Outgrown(packed));
      break;
    case v1::UsageRecord::kFinished:
      SW_CHECK(Finished(packed, mark, seq, bytes));
      break;
    case v1::UsageRecord::kAbandoned:
      SW_CHECK(Abandoned(packed, mark, seq, bytes));
      break;
    case v1::UsageRecord::kAggregate:
      SW_CHECK(Aggregate(packed, mark, seq, bytes));
      break;
    case v1::UsageRecord::kHello:
      Hello(mark.instance);
      break;
    case v1::UsageRecord::kLost:
      Lost(mark, seq);
      break;
    default:
      Closed(packed, mark, seq);
      break;
  }
  if (late) mark.lost.Remove(seq);
  mark.Add(seq, seq);
  ++applied.records;
  return {};
}

Result<void> ApplyBatch::Started(const std::string& packed, int64_t seq, const std::string& bytes) {
  const char special = SpecialOf(packed, seq);
  if (special == 'E') return {};  // settled at its estimate already
  if (special == 'F') {
    SetOpen(packed, seq, {});  // its end came first
    return {};
  }
  SetOpen(packed, seq, "O" + bytes);
  open_[OpenKey(packed, seq)].stored = false;
  ++open_delta_;
  return {};
}

// Takes the Started's place while that is open. One that overtook its Started changes nothing.
Result<void> ApplyBatch::Outgrown(const std::string& packed) {
  const int64_t started_seq = record_.outgrown().started_seq();
  SW_TRY(const std::string open, Open(packed, started_seq));
  if (!open.starts_with('O')) return {};
  v1::UsageRecord now;
  now.set_seq(started_seq);
  now.set_time_ms(record_.time_ms());
  *now.mutable_started() = record_.outgrown();
  now.mutable_started()->clear_started_seq();
  SetOpen(packed, started_seq, "O" + now.SerializeAsString());
  return {};
}

Result<void> ApplyBatch::Finished(const std::string& packed, const Mark& mark, int64_t seq,
                                  const std::string& bytes) {
  const int64_t time_ms = record_.time_ms();
  SW_TRY(const bool counts, End(packed, mark, record_.finished().started_seq()));
  if (!counts) return {};
  PutEvent(time_ms, packed, seq, bytes);
  SW_CHECK(Charge(packed, time_ms, record_.finished()));
  return state_.rollups.Add(time_ms, record_.finished().attribution(),
                            TotalsOf(record_.finished()));
}

Result<void> ApplyBatch::Aggregate(const std::string& packed, const Mark& mark, int64_t seq,
                                   const std::string& bytes) {
  for (const int64_t started_seq : record_.aggregate().ended_started())
    SW_CHECK(End(packed, mark, started_seq));
  PutEvent(record_.time_ms(), packed, seq, bytes);
  SW_CHECK(ChargeAggregate(packed));
  return state_.rollups.Add(record_.time_ms(), record_.aggregate().attribution(),
                            TotalsOf(record_.aggregate()));
}

Result<void> ApplyBatch::Abandoned(const std::string& packed, const Mark& mark, int64_t seq,
                                   const std::string& bytes) {
  const int64_t started_seq = record_.abandoned().started_seq();
  SW_TRY(const std::string open, Open(packed, started_seq));
  const bool ended = open.empty() && mark.Has(started_seq) && !mark.lost.Contains(started_seq);
  if (ended || open.starts_with('F') || open.starts_with('E'))
    return {};  // settled, by its end or before
  return Estimate(packed, started_seq, record_.time_ms(), seq, record_.abandoned().estimate(),
                  bytes);
}

Result<void> ApplyBatch::Estimate(const std::string& packed, int64_t started_seq, int64_t time_ms,
                                  int64_t event_seq, const v1::Finished& estimate,
                                  const std::string& bytes) {
  SW_TRY(const std::string open, Open(packed, started_seq));
  if (open.starts_with('O')) --open_delta_;
  const std::string event_key = EventKey(time_ms, packed, event_seq);
  SetOpen(packed, started_seq, "E" + event_key);
  estimates_[event_key] = bytes;
  ++orphans_;
  PutEvent(time_ms, packed, event_seq, bytes);
  SW_CHECK(Charge(packed, time_ms, estimate));
  return state_.rollups.Add(time_ms, estimate.attribution(), TotalsOf(estimate));
}

Result<bool> ApplyBatch::End(const std::string& packed, const Mark& mark, int64_t started_seq) {
  if (started_seq <= 0) return true;  // its Started found no space in the journal
  SW_TRY(const std::string open, Open(packed, started_seq));
  bool counts = true;
  if (open.starts_with('E')) {
    SW_TRY(counts, TakeBackEstimate(open.substr(1)));
    if (counts) ++replaced_;
  }
  if (open.starts_with('O')) --open_delta_;
  // A Started still on its way must find that it has ended.
  const bool to_come = !mark.Has(started_seq) || mark.lost.Contains(started_seq);
  if (!open.empty() || to_come) SetOpen(packed, started_seq, to_come ? "F" : "");
  return counts;
}

Result<bool> ApplyBatch::TakeBackEstimate(const std::string& event_key) {
  std::optional<std::string> bytes;
  if (const auto at = estimates_.find(event_key); at != estimates_.end()) {
    bytes = at->second;
  } else {
    SW_TRY(bytes, state_.store.Get(Table::kLedgerEvents, event_key));
  }
  v1::UsageRecord event;
  if (!bytes || !event.ParseFromString(*bytes)) return false;
  writes_.Delete(Table::kLedgerEvents, event_key);
  // Estimates are the ends of single attempts; an Aggregate is never one.
  if (const auto id = ReadEventKey(event_key))
    SW_CHECK(Charge(id->packed, event.time_ms(), event.abandoned().estimate(), true));
  SW_CHECK(state_.rollups.Subtract(event.time_ms(), AttributionOf(event),
                                   TotalsOfEvent(event).value_or(Totals{})));
  return true;
}

void ApplyBatch::PutEvent(int64_t time_ms, const std::string& packed, int64_t seq,
                          std::string_view bytes) {
  writes_.Put(Table::kLedgerEvents, EventKey(time_ms, packed, seq), bytes);
}

void ApplyBatch::Lost(Mark& mark, int64_t seq) {
  const int64_t from = std::max<int64_t>(record_.lost().from_seq(), 1);
  const int64_t to = std::min(record_.lost().to_seq(), seq - 1);
  if (from > to) return;
  const auto holes = mark.applied.Holes(std::max(from, mark.committed_upto + 1), to);
  for (const auto& [first, last] : holes) {
    mark.Add(first, last);
    mark.lost.Add(first, last);
  }
}

void ApplyBatch::Hello(const std::string& instance) {
  const auto packed = PackIncarnation(record_.hello().predecessor());
  const int64_t last_seq = record_.hello().predecessor_last_seq();
  if (!packed || last_seq < 1 || last_seq > kSeqMax) return;
  if (Mark* const mark = MarkOf(instance, *packed); mark != nullptr)
    mark->known_upto = std::max(mark->known_upto, last_seq);
}

// Nothing can come any more that an 'E' or an 'F' waits for.
void ApplyBatch::CleanComplete(const std::string& packed, const Mark& mark) {
  if (!mark.complete() || !mark.lost.empty()) return;
  const auto kept = state_.special.find(packed);
  if (kept != state_.special.end())
    for (const auto& [seq, state] : kept->second) SetOpen(packed, seq, {});
  for (auto& [key, change] : open_)
    if (change.packed == packed && !change.value.starts_with('O')) change.value.clear();
}

char ApplyBatch::SpecialOf(const std::string& packed, int64_t started_seq) const {
  if (const auto changed = open_.find(OpenKey(packed, started_seq)); changed != open_.end())
    return changed->second.value.empty() ? '\0' : changed->second.value.front();
  const auto kept = state_.special.find(packed);
  if (kept == state_.special.end()) return '\0';
  const auto at = kept->second.find(started_seq);
  return at == kept->second.end() ? '\0' : at->second;
}

Result<std::string> ApplyBatch::Open(const std::string& packed, int64_t started_seq) {
  const std::string key = OpenKey(packed, started_seq);
  if (const auto changed = open_.find(key); changed != open_.end()) return changed->second.value;
  SW_TRY(std::optional<std::string> kept, state_.store.Get(Table::kLedgerOpen, key));
  return std::move(kept).value_or(std::string());
}

void ApplyBatch::SetOpen(const std::string& packed, int64_t started_seq, std::string value) {
  OpenChange& change = open_[OpenKey(packed, started_seq)];
  change.packed = packed;
  change.seq = started_seq;
  change.value = std::move(value);
}

WriteBatch ApplyBatch::TakeWrites() {
  for (const auto& [key, change] : open_) {
    if (!change.value.empty())
      writes_.Put(Table::kLedgerOpen, key, change.value);
    else if (change.stored)
      writes_.Delete(Table::kLedgerOpen, key);
  }
  for (const auto& [packed, mark] : marks_) writes_.Put(Table::kLedgerMarks, packed, mark.Bytes());
  state_.rollups.Write(writes_);
  if (state_.charges != nullptr) state_.charges->Write(writes_);
  return std::move(writes_);
}

void ApplyBatch::Publish() {
  state_.rollups.Commit();
  published_ = true;
  if (state_.charges != nullptr) state_.charges->Committed();
  for (const auto& [key, change] : open_) {
    const bool special = !change.value.empty() && change.value.front() != 'O';
    const auto kept = state_.special.find(change.packed);
    if (special)
      state_.special[change.packed][change.seq] = change.value.front();
    else if (kept != state_.special.end() && kept->second.erase(change.seq) > 0 &&
             kept->second.empty())
      state_.special.erase(kept);
  }
  const std::lock_guard lock(state_.state_mutex);
  for (auto& [packed, mark] : marks_) {
    const auto [at, made] = state_.marks.try_emplace(packed);
    if (made) state_.of_instance[mark.instance].push_back(packed);
    at->second = std::move(mark);
  }
  state_.open_started += open_delta_;
  state_.orphans += orphans_;
  state_.replaced += replaced_;
  state_.unreadable += unreadable_;
  state_.refused_runs += refused_runs_;
  state_.records += applied.records;
  state_.duplicates += applied.duplicates;
  state_.bad += applied.bad;
  state_.deferred += applied.deferred;
}

}  // namespace spillway::ledger
