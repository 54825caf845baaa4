#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/budgets/lease_account.h"
#include "spillway/v1/lease.pb.h"
#include "spillway/v1/usage.pb.h"

namespace spillway {

struct LeaseOptions {
  int64_t contact_lost_ns = 2'500'000'000;  // no grant for so long: out of contact
  int64_t idle_ns = 10'000'000'000;         // nothing reserved for so long: the money goes back
  int64_t forget_after_s = 3600;            // after the window's end
  // Its own keeper grants it whole limits: nothing goes back before the window's end, and buckets
  // of a rolling window are kept for as long as they count.
  bool alone = false;
  int64_t drift_ppm = 500;  // how much slower than the monotonic clock time is taken
  int accounts_per_request_max = 2'000;
  int waiting_per_request_max = 256;
  int accounts_max = 1'000'000;
};

// g and r of one account, to be journalled and flushed: the level at which it closes after a power
// cut.
struct AccountLevel {
  AccountHandle account;
  AccountKey key;
  Nanos granted = 0;
  Nanos returned = 0;
};

// The data plane's end of the leases (docs/adr/0002-budgets-by-lease.md) under one holder id. A
// pure state machine: no clock, no thread, no bus; times come in as monotonic nanoseconds. Not
// thread-safe; owned by LeaseHolders. Reserve, Extend, Settle and Void neither allocate nor hash.
//
// Money is spent in two steps: a grant raises the level that was heard, and only what Recorded()
// confirms can be reserved. A return likewise: gone at once here, told to the control plane when
// recorded.
class LeaseHolder {
 public:
  LeaseHolder(std::string id, std::string instance, const LeaseOptions& options, int64_t now_ns);

  ~LeaseHolder();

  const std::string& id() const;
  int64_t epoch() const;

  // Finds the account or makes it; sets its policy. An empty handle when the window was over so
  // long ago that it may have been forgotten, or when there are too many accounts.
  AccountHandle Open(std::string_view budget_id, std::string_view subject, const WindowSpan& window,
                     const AccountPolicy& policy);
  AccountHandle Find(std::string_view budget_id, std::string_view subject,
                     int64_t window_start_s) const;  // empty: not opened
  bool Holds(AccountHandle handle) const;

  // All or nothing. Whoever waits for one of these accounts is not overtaken: what it needs is set
  // aside. An admitted one must be settled or voided with the same needs.
  ReserveResult Reserve(std::span<const Need> needs, int64_t now_ns);
  // `more` of each, for a call that holds a reservation; raises `needs` when admitted. Does not
  // queue: a running call goes before those that wait.
  ReserveResult Extend(std::span<Need> needs, Nanos more, int64_t now_ns);
  // The call is over: reserved -> charged, in full also when it is more (the debt stays).
  void Settle(std::span<const Need> needs, Nanos charge, int64_t now_ns);
  void Void(std::span<const Need> needs, int64_t now_ns);
  // A correction without a reservation (a late truth replaces an estimate): charged += delta.
  void Correct(AccountHandle account, Nanos delta);

  // After kShort. `waiter` is the caller's, unique. Holds nothing while it waits.
  void Wait(uint64_t waiter, std::span<const Need> needs);
  // Those whose needs are reserved now, in the order in which they were served.
  std::vector<uint64_t> TakeServed();
  // The end of a wait: a last try out of turn; then it is forgotten. Admitted when it was served.
  ReserveResult GiveUp(uint64_t waiter, int64_t now_ns);
  // Those that wait although the control plane has answered a request that named them and what it
  // granted is on disk. `out_of_reach`: nothing that anybody holds would do; a wait is in vain.
  struct Answered {
    uint64_t waiter = 0;
    int64_t answered_ns = 0;
    bool out_of_reach = false;
  };
  std::vector<Answered> AnsweredWaiters() const;
  // When that was for one of them; -1: not yet, or it does not wait.
  int64_t AnsweredNs(uint64_t waiter) const;
  // The caller is gone. A waiter that was served meanwhile, in TakeServed or not: false, void it.
  bool Cancel(uint64_t waiter, int64_t now_ns);
  size_t waiting() const;
  // Every waiter, none of them served: they ask again elsewhere (under a tombstone).
  std::vector<uint64_t> DropWaiters();

  // Something that the control plane should hear at once: a new waiter, recorded returns, a new
  // epoch. Else MakeRequest once a second; while anybody waits, again after 20 ms, or 100 ms when
  // nothing was answered (messages get lost).
  bool WantsRequest() const;
  v1::LeaseRequest MakeRequest(int64_t now_ns);

  struct GrantOutcome {
    bool stale = false;       // of a lower epoch or for another holder: nothing was done
    bool new_epoch = false;   // send every kept event again
    bool tombstoned = false;  // carry on under a new holder id (LeaseHolders::Replace)
  };
  GrantOutcome OnGrant(const v1::LeaseGrant& grant, int64_t now_ns);
  // Gives back what is neither reserved nor charged in those accounts; also what somebody here
  // waits for, since holding one budget while waiting for another starves both.
  void OnRecall(const v1::Recall& recall);
  // Once a second or so: gives back what is idle, in excess or of a window that is over; forgets,
  // while in contact, windows that were over for long.
  void Tick(int64_t now_ns, int64_t window_time_ms);
  void ReturnAll();  // before a drain or under a tombstone

  // Levels that changed since the last take. When all of a take are on disk: Recorded(ticket);
  // tickets are confirmed in order, a later one confirms those before it.
  struct Levels {
    uint64_t ticket = 0;
    std::vector<AccountLevel> levels;
  };
  bool HasLevels() const;
  Levels TakeLevels();
  void Recorded(uint64_t ticket, int64_t now_ns);

  // The bus is there for the first time: the silence before it is no sign of anything. Nothing once
  // an answer was heard.
  void OnFirstContact(int64_t now_ns);
  bool InContact(int64_t now_ns) const;
  int64_t contact_ns() const;       // the last grant
  int64_t contact_lost_ns() const;  // LeaseOptions::contact_lost_ns
  int64_t calls() const;            // that hold a reservation
  size_t account_count() const;
  // What each account it still knows was charged, for v1::Closed; final only when calls() is 0.
  std::vector<v1::AccountCharge> Closing() const;
  std::vector<AccountFigures> Figures() const;
  AccountFigures FigureOf(AccountHandle handle) const;

  struct Rep;  // dataplane/budgets/lease_holder_rep.h: the holder's own

 private:
  std::unique_ptr<Rep> rep_;
};

}  // namespace spillway
