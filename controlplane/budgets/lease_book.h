#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/error.h"
#include "controlplane/budgets/lease_keeper.h"
#include "controlplane/ledger/budget_watch.h"
#include "controlplane/store/store.h"
#include "spillway/v1/lease_store.pb.h"

namespace spillway {

// What a committed batch of the ledger did to accounts.
struct LedgerNews {
  struct Charge {
    std::string holder;
    v1::Account account;
    Nanos delta = 0;
    Nanos settled = 0;  // after it
  };
  struct Closing {
    std::string holder;
    v1::Closed closed;             // all its parts
    std::vector<int64_t> numbers;  // of their notices
  };
  std::vector<Charge> charges;
  std::vector<Closing> closings;
  std::vector<std::pair<int64_t, v1::StoredNotice>> notices;  // of holders met and retired
  bool empty() const { return charges.empty() && closings.empty() && notices.empty(); }
};

// The accounts of all budgets: the keeper in memory, its rows in the store. Two write: the lease
// desk, through Flush, and the ledger, in its own batches, whose news it brings here once they are
// durable. Each has tables of its own, so that neither waits for the other's disk. What was not
// flushed is told to nobody: a crash loses only what nobody acts upon. Thread-safe.
class LeaseBook {
 public:
  struct Options {
    LeaseKeeperOptions keeper;
    bool restored = false;  // the store is a backup's: Begin shuts the gate of running windows
  };
  // `budgets`: every one that is configured; those never counted (Counted) are left out.
  static Result<std::unique_ptr<LeaseBook>> Open(Store& store, const Clock& clock,
                                                 std::span<const BudgetTerms> budgets,
                                                 const Options& options);
  ~LeaseBook();

  // From now on grants are made under this epoch. Again after each claim.
  void Begin(int64_t epoch);
  bool begun() const;
  // The epoch whose beginning, a shut gate included, is on disk; 0: none yet.
  int64_t written_epoch() const;

  // Runs it on the keeper, with its time advanced. What it changes waits for the next Flush; the
  // listener of OnEffects is told. Keep it short: every grant waits.
  void Change(const std::function<void(LeaseKeeper&)>& change);
  void Read(const std::function<void(const LeaseKeeper&)>& read) const;
  // The ledger's batch is durable.
  void Commit(const LedgerNews& news);
  int64_t NextNotice();
  // Parts of Closed records that wait for records before them, as the store had them; once.
  std::vector<std::pair<int64_t, v1::ClosedPart>> TakeWaitingParts();

  // The figures that only people look at: what a holder may overrun by, and the remainder it last
  // heard. kUnheard: it has not been answered by this process.
  struct Hint {
    static constexpr Nanos kUnheard = -1;
    Nanos overrun = 0;
    Nanos remainder = kUnheard;
  };
  void Note(const v1::LeaseRequest& request);
  Hint HintOf(const v1::Account& account, std::string_view holder) const;
  // Milliseconds of the wall clock; 0: not by this process.
  int64_t HeardMs(const std::string& holder) const;
  // The same on the monotonic clock, which no step of the wall clock moves.
  int64_t HeardNs(const std::string& holder) const;

  struct Outbox {
    std::vector<LeaseEffects::Outgoing> grants;
    std::vector<v1::Recall> recalls;
  };
  // Everything since the last Flush in one synced batch; then what may be sent. On an error nothing
  // may be sent; the next Flush tries again. One thread.
  Result<Outbox> Flush();

  // A budget was counted: its earlier spend is in the store, in the ledger's table.
  void Count(const BudgetTerms& terms, std::span<const LeaseAccountRow> before);
  bool Counted(const std::string& budget_id) const;
  // Configured, or with accounts from when it was.
  bool Knows(const std::string& budget_id) const;
  std::vector<std::string> CountedIds() const;
  void Forget(const std::string& budget_id);

  // Called without a lock, from whoever changed something.
  void OnEffects(std::function<void()> wake);
  // Accounts that the ledger charged since the last call, at most `max`, each with the figures of
  // the window that was charged, running or over.
  std::vector<BudgetUse> TakeChanged(size_t max);
  // Tells every account of the running window, and of the one before when that ended less than
  // `ended_within_ms` ago (rolling: only the running). Locked for a few at a time, and not while it
  // tells.
  void EachUse(const std::string& budget_id, int64_t ended_within_ms,
               const std::function<void(const BudgetUse&)>& tell) const;

 private:
  struct Rep;
  explicit LeaseBook(std::unique_ptr<Rep> rep);
  std::unique_ptr<Rep> rep_;
};

}  // namespace spillway
