// Retirement: what a data plane left open settles, now and as it arrives.
#include <set>
#include <utility>
#include <vector>

#include "controlplane/ledger/apply.h"
#include "controlplane/ledger/keys.h"
#include "controlplane/ledger/ledger_state.h"

namespace spillway {
namespace {

using OpenAttempts = std::vector<std::pair<int64_t, v1::UsageRecord>>;

// `row` is of kLedgerOpen; what is no running attempt is left out.
void AddOpen(int64_t seq, std::string_view row, OpenAttempts& open) {
  v1::UsageRecord started;
  if (row.starts_with('O') &&
      started.ParseFromArray(row.data() + 1, static_cast<int>(row.size() - 1)))
    open.emplace_back(seq, std::move(started));
}

}  // namespace

Result<v1::RetireInstanceResponse> Ledger::Retire(const std::string& instance, const Commit& commit,
                                                  bool free_leases) {
  const std::lock_guard write(rep_->write_mutex);
  ledger::ApplyBatch batch(*rep_);
  SW_CHECK(batch.Retire(instance));
  SW_CHECK(batch.RetireHolders(instance, free_leases));
  WriteBatch writes = batch.TakeWrites();
  SW_CHECK(commit ? commit(std::move(writes)) : rep_->store.Write(std::move(writes)));
  batch.Publish();
  v1::RetireInstanceResponse response;
  response.set_orphans_settled(batch.settled);
  response.set_estimated_nanos(batch.estimated_nanos);
  return response;
}

namespace ledger {

Result<void> ApplyBatch::Retire(const std::string& instance) {
  std::set<std::string> known;
  if (const auto own = state_.of_instance.find(instance); own != state_.of_instance.end())
    known.insert(own->second.begin(), own->second.end());
  {
    const std::lock_guard lock(state_.state_mutex);
    // All its records may be on their way yet.
    for (const auto& [packed, heard] : state_.heard)
      if (heard.instance == instance) known.insert(packed);
  }
  for (const std::string& packed : known) SW_CHECK(RetireIncarnation(instance, packed));
  return {};
}

Result<void> ApplyBatch::RetireIncarnation(const std::string& instance, const std::string& packed) {
  OpenAttempts open;
  SW_CHECK(state_.store.Scan(Table::kLedgerOpen, packed, packed,
                             [&open](std::string_view key, std::string_view value) {
                               AddOpen(ReadInt64(key.substr(16)), value, open);
                               return true;
                             }));
  for (const auto& [seq, started] : open) SW_CHECK(SettleAtReserved(packed, seq, started));
  const auto kept = state_.marks.find(packed);
  if (kept != state_.marks.end() && (kept->second.complete() || kept->second.retired)) return {};
  if (Mark* const mark = MarkOf(instance, packed); mark != nullptr) mark->retired = true;
  return {};
}

// What earlier batches left open is settled already.
Result<void> ApplyBatch::SettleOpen(const std::string& packed) {
  OpenAttempts open;
  for (const auto& [key, change] : open_)
    if (change.packed == packed) AddOpen(change.seq, change.value, open);
  for (const auto& [seq, started] : open) SW_CHECK(SettleAtReserved(packed, seq, started));
  return {};
}

Result<void> ApplyBatch::SettleAtReserved(const std::string& packed, int64_t started_seq,
                                          const v1::UsageRecord& started) {
  v1::UsageRecord record;
  record.set_seq(started_seq);
  record.set_time_ms(started.time_ms());
  record.mutable_abandoned()->set_started_seq(started_seq);
  v1::Finished& estimate = *record.mutable_abandoned()->mutable_estimate();
  estimate.set_started_seq(started_seq);
  estimate.set_request_id(started.started().request_id());
  estimate.set_attempt_id(started.started().attempt_id());
  estimate.set_attempt(started.started().attempt());
  *estimate.mutable_attribution() = started.started().attribution();
  *estimate.mutable_usage() = started.started().estimate();
  const int64_t likely = started.started().likely_nanos();
  estimate.set_cost_nanos(likely > 0 ? likely : started.started().reserved_nanos());
  estimate.set_hold_nanos(started.started().reserved_nanos());
  *estimate.mutable_accounts() = started.started().accounts();
  estimate.set_holder(started.started().holder());
  estimate.set_source(v1::USAGE_SOURCE_ESTIMATED);
  estimate.set_end(v1::END_ABANDONED);
  ++settled;
  estimated_nanos += estimate.cost_nanos();
  // Filed under the Started's own seq, which no other event can have.
  return Estimate(packed, started_seq, started.time_ms(), started_seq, estimate,
                  record.SerializeAsString());
}

}  // namespace ledger
}  // namespace spillway
