#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "controlplane/ledger/charge_sink.h"
#include "controlplane/ledger/ledger_state.h"
#include "controlplane/store/store.h"
#include "spillway/v1/usage.pb.h"

namespace spillway::ledger {

// What one batch changes: collected here, written by the owner, and only then published into the
// ledger's state. A batch that is dropped has changed nothing. The owner holds write_mutex.
class ApplyBatch {
 public:
  explicit ApplyBatch(Ledger::Rep& state) : state_(state) {}
  ~ApplyBatch();
  ApplyBatch(const ApplyBatch&) = delete;
  ApplyBatch& operator=(const ApplyBatch&) = delete;

  // A run that is malformed or names another instance's incarnation is refused as a whole.
  Result<void> AddRun(const v1::UsageRun& run);
  // Retirement: the open attempts of every incarnation known settle at what they reserved, and so
  // do those that are still on their way.
  Result<void> Retire(const std::string& instance);
  // Retirement: the instance's holders of leases end too.
  Result<void> RetireHolders(const std::string& instance, bool free_leases);
  // Everything of the batch, once.
  WriteBatch TakeWrites();
  // The batch is durable.
  void Publish();

  Ledger::Applied applied;
  int64_t estimated_nanos = 0;  // settled by Retire
  int64_t settled = 0;

 private:
  Mark* MarkOf(const std::string& instance, const std::string& packed);
  Result<void> AddRecord(const std::string& packed, Mark& mark, int64_t seq,
                         const std::string& bytes);
  Result<void> Started(const std::string& packed, int64_t seq, const std::string& bytes);
  Result<void> Finished(const std::string& packed, const Mark& mark, int64_t seq,
                        const std::string& bytes);
  Result<void> Abandoned(const std::string& packed, const Mark& mark, int64_t seq,
                         const std::string& bytes);
  Result<void> Aggregate(const std::string& packed, const Mark& mark, int64_t seq,
                         const std::string& bytes);
  Result<void> RetireIncarnation(const std::string& instance, const std::string& packed);
  Result<void> SettleOpen(const std::string& packed);
  Result<void> SettleAtReserved(const std::string& packed, int64_t started_seq,
                                const v1::UsageRecord& started);
  void Closed(const std::string& packed, Mark& mark, int64_t seq);
  void Lost(Mark& mark, int64_t seq);
  Result<void> Outgrown(const std::string& packed);
  void Hello(const std::string& instance);
  // To the budget accounts that the event names.
  Result<void> Charge(std::string_view packed, int64_t time_ms, const v1::Finished& finished,
                      bool take_back = false);
  Result<void> ChargeAggregate(std::string_view packed);
  // An attempt's true end: closes its open row, takes back its estimate. False: the event's
  // estimate is beyond reach (pruned) and stands.
  Result<bool> End(const std::string& packed, const Mark& mark, int64_t started_seq);
  Result<bool> TakeBackEstimate(const std::string& event_key);
  Result<void> Estimate(const std::string& packed, int64_t started_seq, int64_t time_ms,
                        int64_t event_seq, const v1::Finished& estimate, const std::string& bytes);
  void PutEvent(int64_t time_ms, const std::string& packed, int64_t seq, std::string_view bytes);
  void CleanComplete(const std::string& packed, const Mark& mark);

  // The open row of an attempt, with the batch's own changes; empty: none.
  Result<std::string> Open(const std::string& packed, int64_t started_seq);
  void SetOpen(const std::string& packed, int64_t started_seq, std::string value);
  char SpecialOf(const std::string& packed, int64_t started_seq) const;

  struct OpenChange {
    std::string packed;
    int64_t seq = 0;
    std::string value;   // empty: removed
    bool stored = true;  // it may be in the store
  };
  Ledger::Rep& state_;
  WriteBatch writes_;
  v1::UsageRecord record_;                   // the one at hand; reused
  std::vector<ChargeSink::Charge> charges_;  // of the event at hand; reused
  std::unordered_map<std::string, Mark> marks_;
  std::unordered_map<std::string, OpenChange> open_;  // by open key
  std::unordered_map<std::string, std::string>
      estimates_;  // events of this batch that may be taken back
  int64_t open_delta_ = 0;
  int64_t orphans_ = 0;
  int64_t replaced_ = 0;
  int64_t unreadable_ = 0;
  int64_t refused_runs_ = 0;
  bool published_ = false;
};

}  // namespace spillway::ledger
