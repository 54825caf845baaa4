#include "controlplane/ledger/ledger.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "controlplane/ledger/apply.h"
#include "controlplane/ledger/keys.h"
#include "controlplane/ledger/ledger_state.h"

namespace spillway {
namespace {

// Ranges named in one round per instance; the rest is asked for when these have come.
constexpr int kResendRangesMax = 64;

void AddResend(std::vector<v1::Resend>& ranges, const std::string& packed, int64_t from,
               int64_t to) {
  v1::Resend& range = ranges.emplace_back();
  range.set_incarnation(ledger::UnpackIncarnation(packed));
  range.set_from_seq(from);
  range.set_to_seq(to);
}

std::string PositionBytes(const Ledger::Position& position) {
  v1::LedgerPosition at;
  at.set_stream_created_ns(position.created_ns);
  at.set_stream_seq(position.seq);
  return at.SerializeAsString();
}

}  // namespace

Ledger::Ledger(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
Ledger::~Ledger() = default;

Result<std::unique_ptr<Ledger>> Ledger::Open(Store& store, const LedgerOptions& options) {
  auto rep = std::make_unique<Rep>(store, options);
  SW_CHECK(rep->Load());
  return std::unique_ptr<Ledger>(new Ledger(std::move(rep)));
}

void Ledger::SetChargeSink(ChargeSink* charges) {
  const std::lock_guard write(rep_->write_mutex);
  rep_->charges = charges;
  if (charges == nullptr) return;
  for (const auto& [packed, mark] : rep_->marks) charges->Reached(packed, mark.committed_upto);
  charges->Committed();
}

Result<void> Ledger::WhileQuiet(const std::function<Result<void>()>& read) {
  const std::lock_guard write(rep_->write_mutex);
  return read();
}

Result<void> Ledger::Rep::LoadMarks() {
  bool readable = true;
  SW_CHECK(
      store.Scan(Table::kLedgerMarks, {}, {}, [&](std::string_view key, std::string_view value) {
        v1::LedgerMark stored;
        readable =
            key.size() == 16 && stored.ParseFromArray(value.data(), static_cast<int>(value.size()));
        if (!readable) return false;
        const std::string packed(key);
        of_instance[stored.instance()].push_back(packed);
        marks[packed] = ledger::Mark::FromProto(stored);
        return true;
      }));
  if (!readable)
    return Fail(ErrorCode::kCorrupt, "a mark of the ledger cannot be read: restore a backup");
  return {};
}

Result<void> Ledger::Rep::LoadOpen() {
  return store.Scan(Table::kLedgerOpen, {}, {}, [&](std::string_view key, std::string_view value) {
    if (key.size() != 24 || value.empty()) return true;
    if (value.front() == 'O')
      ++open_started;
    else
      special[std::string(key.substr(0, 16))][ledger::ReadInt64(key.substr(16))] = value.front();
    return true;
  });
}

Result<void> Ledger::Rep::Load() {
  SW_CHECK(LoadMarks());
  SW_CHECK(LoadOpen());
  SW_TRY(const auto stored, store.Get(Table::kMeta, ledger::kPositionKey));
  if (v1::LedgerPosition at; stored && at.ParseFromString(*stored))
    position = {.created_ns = at.stream_created_ns(), .seq = at.stream_seq()};
  SW_TRY(const auto last_backup, store.Get(Table::kMeta, ledger::kBackupKey));
  if (last_backup && backup.ParseFromString(*last_backup))
    for (const v1::IncarnationMark& mark : backup.marks())
      if (const auto packed = ledger::PackIncarnation(mark.incarnation()))
        backed_up[*packed] = mark.committed_upto();
  SW_TRY(const auto pruned, store.Get(Table::kMeta, ledger::kPrunedKey));
  if (pruned && pruned->size() == 8) pruned_before_ms = ledger::ReadInt64(*pruned);
  return {};
}

Ledger::Position Ledger::position() const {
  const std::lock_guard lock(rep_->state_mutex);
  return rep_->position;
}

Result<Ledger::Applied> Ledger::Apply(std::span<const v1::UsageRun> runs, Position position) {
  const std::lock_guard write(rep_->write_mutex);
  ledger::ApplyBatch batch(*rep_);
  for (const v1::UsageRun& run : runs) SW_CHECK(batch.AddRun(run));
  WriteBatch writes = batch.TakeWrites();
  writes.Put(Table::kMeta, ledger::kPositionKey, PositionBytes(position));
  SW_CHECK(rep_->store.Write(std::move(writes)));
  batch.Publish();
  ++rep_->batches;
  const std::lock_guard lock(rep_->state_mutex);
  rep_->position = position;
  return std::move(batch.applied);
}

Result<void> Ledger::SetPosition(Position position) {
  const std::lock_guard write(rep_->write_mutex);
  WriteBatch writes;
  writes.Put(Table::kMeta, ledger::kPositionKey, PositionBytes(position));
  SW_CHECK(rep_->store.Write(std::move(writes)));
  const std::lock_guard lock(rep_->state_mutex);
  rep_->position = position;
  return {};
}

Result<std::string> Ledger::RememberConsumer(const std::string& name) {
  const std::lock_guard write(rep_->write_mutex);
  SW_TRY(auto before, rep_->store.Get(Table::kMeta, ledger::kConsumerKey));
  WriteBatch writes;
  writes.Put(Table::kMeta, ledger::kConsumerKey, name);
  SW_CHECK(rep_->store.Write(std::move(writes)));
  return std::move(before).value_or(std::string());
}

bool Ledger::Writable() const { return rep_->store.Writable(); }

int64_t Ledger::open_started() const { return rep_->open_started; }

v1::IncarnationMark Ledger::Rep::MarkFor(const std::string& packed,
                                         const ledger::Mark& mark) const {
  v1::IncarnationMark out;
  out.set_incarnation(ledger::UnpackIncarnation(packed));
  out.set_committed_upto(mark.committed_upto);
  if (!options.backups) return out;
  const auto at = backed_up.find(packed);
  out.set_backed_up_upto(at == backed_up.end() ? 0 : at->second);
  return out;
}

std::vector<v1::IncarnationMark> Ledger::MarksOf(const std::string& instance,
                                                 std::span<const std::string> incarnations) const {
  const std::lock_guard lock(rep_->state_mutex);
  std::vector<v1::IncarnationMark> marks;
  const auto own = rep_->of_instance.find(instance);
  if (own == rep_->of_instance.end()) return marks;
  for (const std::string& packed : own->second) {
    const ledger::Mark& mark = rep_->marks.at(packed);
    if (!mark.complete()) marks.push_back(rep_->MarkFor(packed, mark));
  }
  for (const std::string& incarnation : incarnations) {
    const auto packed = ledger::PackIncarnation(incarnation);
    const auto at = packed ? rep_->marks.find(*packed) : rep_->marks.end();
    if (at != rep_->marks.end() && at->second.instance == instance && at->second.complete())
      marks.push_back(rep_->MarkFor(*packed, at->second));
  }
  return marks;
}

std::map<std::string, std::vector<v1::Resend>> Ledger::Missing() const {
  const std::lock_guard lock(rep_->state_mutex);
  std::map<std::string, std::vector<v1::Resend>> missing;
  const auto add = [&missing](const std::string& packed, const ledger::Mark& mark, int64_t heard) {
    if (std::max(mark.known_upto, heard) <= mark.committed_upto) return;
    ledger::Mark with = mark;
    with.known_upto = std::max(with.known_upto, heard);
    std::vector<v1::Resend>& ranges = missing[mark.instance];
    for (const auto& [from, to] : with.Gaps())
      if (ranges.size() < kResendRangesMax) AddResend(ranges, packed, from, to);
  };
  for (const auto& [packed, mark] : rep_->marks) {
    const auto heard = rep_->heard.find(packed);
    add(packed, mark, heard == rep_->heard.end() ? 0 : heard->second.upto);
  }
  for (const auto& [packed, heard] : rep_->heard)
    if (!rep_->marks.contains(packed))
      add(packed, ledger::Mark{.instance = heard.instance}, heard.upto);
  std::erase_if(missing, [](const auto& entry) { return entry.second.empty(); });
  return missing;
}

std::map<std::string, std::vector<v1::Resend>> Ledger::EverythingAbove() const {
  const std::lock_guard lock(rep_->state_mutex);
  std::map<std::string, std::vector<v1::Resend>> above;
  for (const auto& [packed, mark] : rep_->marks)
    if (!mark.complete())
      AddResend(above[mark.instance], packed, mark.committed_upto + 1, INT64_MAX);
  for (const auto& [packed, heard] : rep_->heard)
    if (!rep_->marks.contains(packed)) AddResend(above[heard.instance], packed, 1, INT64_MAX);
  return above;
}

void Ledger::NoteKnown(const std::string& instance, const std::string& incarnation, int64_t upto) {
  constexpr size_t kHeardMax = 100'000;
  const auto packed = ledger::PackIncarnation(incarnation);
  if (!packed || upto <= 0) return;
  const std::lock_guard lock(rep_->state_mutex);
  const auto mark = rep_->marks.find(*packed);
  if (mark != rep_->marks.end() && mark->second.instance != instance) return;
  if (mark != rep_->marks.end() && mark->second.committed_upto >= upto) {
    rep_->heard.erase(*packed);
    return;
  }
  if (rep_->heard.size() >= kHeardMax && !rep_->heard.contains(*packed)) return;
  Rep::Heard& heard = rep_->heard[*packed];
  heard.instance = instance;
  heard.upto = std::max(heard.upto, upto);
}

Result<v1::ListLedgerGapsResponse> Ledger::ListGaps() const {
  v1::ListLedgerGapsResponse response;
  response.set_open_started(rep_->open_started);
  const std::lock_guard lock(rep_->state_mutex);
  for (const auto& [packed, mark] : rep_->marks) {
    const auto add = [&](int64_t from, int64_t to, bool lost) {
      v1::LedgerGap& gap = *response.add_gaps();
      gap.set_instance(mark.instance);
      gap.set_incarnation(ledger::UnpackIncarnation(packed));
      gap.set_from_seq(from);
      gap.set_to_seq(to);
      gap.set_lost(lost);
    };
    for (const auto& [from, to] : mark.Gaps()) add(from, to, false);
    for (const auto& [from, to] : mark.lost.map()) add(from, to, true);
  }
  std::ranges::sort(*response.mutable_gaps(), {}, [](const v1::LedgerGap& gap) {
    return std::tuple(gap.instance(), gap.incarnation(), gap.from_seq());
  });
  return response;
}

}  // namespace spillway
