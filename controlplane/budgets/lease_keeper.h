#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "controlplane/budgets/lease_rows.h"
#include "spillway/v1/usage.pb.h"

namespace spillway {

struct LeaseKeeperOptions {
  int64_t scarce_ms = 200;          // no stock for an account after a waiter lacked it
  int64_t recall_every_ms = 20;     // of one account, at most
  int64_t pending_ms = 250;         // a waiter that lacked is tried again on releases for so long
  int64_t late_window_ms = 10'000;  // waiters of a window that is over are served for so long
  int64_t live_ms = 10'000;         // heard within: counts into the fleet's size
  int64_t keep_window_s =
      int64_t{8} * 24 * 3600;  // accounts are dropped so long after they count no more
  int64_t slew_per_mille = 50;
  int accounts_per_request_max = 4'000;
  int waiting_per_request_max = 512;
};

// The control plane's end of the leases (docs/adr/0002-budgets-by-lease.md): who holds what of
// which budget. A pure state machine over accounts in memory: no clock, no thread, no bus, no disk.
// Not thread-safe.
//
// Everything that changes gathers in effects; the caller takes them after one message or many,
// writes the rows in one synced batch and sends the messages after it. When the write fails, the
// object is ahead of the disk: drop it, and load a new one. Costs grow with what a message names,
// not with how many budgets or subjects there are.
class LeaseKeeper {
 public:
  explicit LeaseKeeper(const LeaseKeeperOptions& options = {});
  ~LeaseKeeper();

  // --- The start: SetBudgets, Load the rows in any order, Begin.
  void Load(const LeaseKeeperRow& row);
  void Load(const LeaseHolderRow& row);
  void Load(const LeaseAccountRow& row);
  // T becomes the later of what was stored and `wall_ms`. `epoch` is this process's.
  void Begin(int64_t epoch, int64_t wall_ms, int64_t monotonic_ns);

  // --- Time: often (each message, and every 100 ms). T follows the wall clock, never goes back,
  // and runs at most 5 % fast or slow to meet it. `monotonic_ns` never goes back.
  void Advance(int64_t wall_ms, int64_t monotonic_ns);
  int64_t time_ms() const;

  // --- Budgets: all of them. Accounts of one that is gone keep their figures and are granted
  // nothing; those of one that nobody knows are left out. A limit below what is out, by an edit or
  // because a raise ended, recalls what is idle.
  void SetBudgets(std::span<const BudgetTerms> budgets);
  void SetBudget(const BudgetTerms& budget);
  void RemoveBudget(std::string_view id);
  // A new budget starts from what the roll-ups say was spent in its window before it was made.
  void Seed(std::string_view budget_id, std::string_view subject, int64_t window_start_s,
            Nanos spent);

  // --- Messages.
  enum class RequestOutcome : uint8_t {
    kAnswered,
    kHigherEpoch,  // this control plane is no longer the one: nothing was done; exit
    kInvalid,      // no holder id, or another instance's: nothing was done
  };
  // Puts the holder on the roster, takes its figures, grants, and always answers.
  RequestOutcome OnRequest(const v1::LeaseRequest& request);
  // From an applied hello, or any record: the holder is on the roster from now on.
  void OnHolder(std::string_view holder, std::string_view instance);
  // From applied events; event ids are the ledger's care: a delta comes once. `delta` may be
  // negative (a late truth below its estimate).
  void OnCharge(std::string_view holder, const v1::Account& account, Nanos delta);
  void OnClosed(std::string_view holder, const v1::Closed& closed);
  // Silent too long (`retired` false), or retired by an operator. Accounts stay as they are.
  void Tombstone(std::string_view holder, bool retired);
  // Every holder of an instance; returns their ids.
  std::vector<std::string> TombstoneInstance(std::string_view instance, bool retired);

  // --- Restore from a backup: before Begin's first effects leave. Grants nothing for windows that
  // had begun until every holder on the roster has told all it has under this epoch, or is closed,
  // or was tombstoned in the backup or retired since.
  void BeginRestore(bool stream_damaged);
  void ReplayDone();  // the usage stream was applied up to its end: the roster is complete
  void OpenGate();    // an operator's word, against the rule
  bool gated() const;
  bool stream_damaged() const;                    // behind the gate: only OpenGate opens it
  std::vector<LeaseHolderRow> WaitedFor() const;  // whom the gate waits for

  LeaseEffects TakeEffects();
  bool HasEffects() const;
  // Drops accounts whose window counts no more for long, and holders that have none left. Does at
  // most `max` accounts; call again at leisure.
  int Prune(int max);

  // --- For people and metrics.
  LeaseAccountFigures Figures(std::string_view budget_id, std::string_view subject) const;
  // The same of the window that began then, running or over. Rolling: of the running one, or when
  // that hour counts no more, of the last one in which it did.
  LeaseAccountFigures Figures(std::string_view budget_id, std::string_view subject,
                              int64_t window_start_s) const;
  // Subjects of a budget with an account in its current window, or in the one before when that
  // ended less than `ended_within_ms` ago (rolling: only the current), from `from_subject` on. At
  // most `max` of them, and fewer after a thousand that have none.
  LeaseAccountPage List(std::string_view budget_id, std::string_view from_subject, int max,
                        int64_t ended_within_ms = 0) const;
  // X(b, w): what may have been spent, or may still be, of one window (rolling: of one bucket).
  // Cheap.
  Nanos Exposure(const v1::Account& account) const;
  // What all holders settled of one window (rolling: of one bucket), with what it was seeded with.
  // Cheap.
  Nanos Settled(const v1::Account& account) const;
  // Configured, or with accounts from when it was.
  bool Knows(std::string_view budget_id) const;
  // Accounts left out because nobody knows their budget, counted as often as they were told.
  int64_t unknown_accounts() const;
  int64_t fleet_size() const;
  std::vector<LeaseHolderRow> Holders() const;

 private:
  struct Rep;
  std::unique_ptr<Rep> rep_;
};

}  // namespace spillway
