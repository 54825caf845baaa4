#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "controlplane/budgets/lease_book.h"
#include "controlplane/budgets/young_budgets.h"
#include "controlplane/ledger/charge_sink.h"
#include "controlplane/store/store.h"

namespace spillway {

// What the ledger's events charge to budget accounts: gathered for one batch, written with it as
// each account's new total, and told to the book once it is durable. Guarded by the ledger's
// writers' lock, like every ChargeSink. The store and the book must outlive it.
class AccountCharges final : public ChargeSink {
 public:
  AccountCharges(const Store& store, LeaseBook& book, const Clock& clock);

  Result<void> Add(const Settlement& settlement) override { return Settle(settlement, 1); }
  Result<void> TakeBack(const Settlement& settlement) override { return Settle(settlement, -1); }
  void Met(std::string_view instance, std::string_view packed) override;
  void Close(const Holder& holder, int64_t upto_seq, const v1::Closed& closed) override;
  void Reached(std::string_view packed, int64_t seq) override;
  Result<void> Retire(std::string_view instance, bool free_leases) override;
  void Write(WriteBatch& batch) override;
  void Committed() override;
  void Discarded() override;

  // What follows only while the ledger is quiet (Ledger::WhileQuiet).
  // Puts what accounts of a new budget start with into the caller's batch.
  void Seed(std::span<const LeaseAccountRow> before, WriteBatch& batch);
  YoungBudgets& young() { return young_; }

  // Charges left out: names that cannot be an account's, or of a budget that nobody knows, or too
  // many in one event.
  int64_t refused() const { return refused_; }

 private:
  struct Pending {
    std::string holder;
    v1::Account account;
    Nanos settled = 0;  // after the batch
    Nanos delta = 0;
  };
  // A part of a Closed: in the batch at hand (fresh), waiting for records before it, or complete.
  struct Part {
    int64_t number = 0;
    v1::ClosedPart part;
    bool fresh = false;
    bool ready = false;
  };
  Result<void> Settle(const Settlement& settlement, int sign);
  Result<void> Charge(const v1::Account& account, std::string_view holder, Nanos delta);
  Result<Nanos> SettledSoFar(const std::string& key);
  void TakeReady(LedgerNews& news);

  const Store& store_;
  LeaseBook& book_;
  const Clock& clock_;
  YoungBudgets young_;
  std::unordered_map<std::string, Pending> pending_;  // by lease key
  std::unordered_map<std::string, Nanos> settled_;    // as in the store, those last used
  std::vector<std::pair<int64_t, v1::StoredNotice>> notices_;
  std::unordered_map<std::string, std::vector<Part>> parts_;  // by packed incarnation
  bool parts_changed_ = false;                                // by the batch at hand
  std::atomic<int64_t> refused_ = 0;
};

}  // namespace spillway
