#pragma once

#include <algorithm>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "dataplane/budgets/lease_account_key.h"
#include "dataplane/budgets/lease_holder.h"

namespace spillway {

// The inside of LeaseHolder: shared by its .cc files and nobody else.

struct LeaseAccount {
  AccountKey key;
  WindowSpan window;
  AccountPolicy policy;
  uint32_t slot = 0;
  uint32_t generation = 0;
  bool live = false;
  bool unrecorded = false;  // listed for the next TakeLevels
  bool dirty = false;       // the control plane was not yet told its present figures
  bool queued = false;      // listed for the next requests
  bool heard_of = false;    // the control plane answered for it
  bool closed = false;

  Nanos heard = 0;              // g as granted; on disk or not
  Nanos granted = 0;            // g that is on disk: what counts for spending
  Nanos returned = 0;           // r, effective here
  Nanos returned_recorded = 0;  // r that is on disk: what is reported
  Nanos charged = 0;            // c
  Nanos reserved = 0;           // v
  Nanos at_risk = 0;            // sum of upper bound - reserved, of the calls in flight
  Nanos wanted = 0;             // what waiters need of it
  Nanos set_aside = 0;          // scratch of ServeWaiters
  Nanos remainder = 0;
  Nanos elsewhere = 0;  // what others have of it and may give back, heard with the remainder
  int64_t remainder_time_ms = 0;
  int calls = 0;

  int64_t used_ns = 0;
  int64_t changed_in = 0;        // the first request that tells its present figures
  int64_t answered_epoch = 0;    // under which the control plane was told of it
  int64_t listed_in = 0;         // the last request that carries it
  Nanos returned_told = 0;       // r of the last request that carries it,
  int64_t returned_told_in = 0;  // the first that said so,
  Nanos returned_heard = 0;      // and what the control plane had heard when it answered
  Nanos demanded = 0;            // since measured_ns
  Nanos rate = 0;                // per second, smoothed
  int64_t measured_ns = 0;

  Nanos Free() const { return granted - returned - charged - reserved; }
  // The most that can come to be free here before the limit grows or others' calls cost less than
  // they said: what is held, reservations included, what the control plane has left or was given
  // back and did not know of when it answered, and what others have.
  Nanos InReach() const {
    return heard - returned_heard - charged + std::max<Nanos>(0, remainder) + elsewhere;
  }
};

struct LeaseWaiter {
  uint64_t id = 0;
  std::vector<Need> needs;
  int64_t told_in = 0;       // the first request that carries it; 0: none yet
  bool answer_here = false;  // and was answered
  int64_t answered_ns = -1;  // when all that was granted until then could be spent
};

struct LeaseHolder::Rep {
  // Whether a need may use what is set aside for those that wait.
  enum class Turn : uint8_t { kBehindWaiters, kBehindSetAside, kAny };

  LeaseAccount* At(AccountHandle handle);
  const LeaseAccount* At(AccountHandle handle) const;
  LeaseAccount* Find(const AccountKeyView& key);
  bool InContact(int64_t now_ns) const { return now_ns - contact_ns <= options.contact_lost_ns; }

  ReserveResult Check(std::span<const Need> needs, Turn turn, int64_t now_ns) const;
  void Take(std::span<const Need> needs, int64_t now_ns);
  void Release(std::span<const Need> needs);
  void Changed(LeaseAccount& account);
  void LevelChanged(LeaseAccount& account);
  void GiveBack(LeaseAccount& account, Nanos amount);
  void ServeWaiters(Turn turn, int64_t now_ns);
  void Unwant(const LeaseWaiter& waiter);
  void NoteAnswers(const v1::LeaseGrant& grant, int64_t now_ns);
  void SettleAnswers(int64_t now_ns);
  bool OutOfReach(const LeaseWaiter& waiter) const;
  void Adopt(int64_t epoch);

  void AddAccount(LeaseAccount& account, int64_t now_ns, v1::LeaseRequest& out);
  void AddWaiters(int64_t now_ns, v1::LeaseRequest& out);
  void AddDirty(int64_t now_ns, v1::LeaseRequest& out);
  void Refresh(int64_t now_ns, v1::LeaseRequest& out);
  void Measure(LeaseAccount& account, int64_t now_ns);
  bool OnGranted(const v1::GrantedAccount& granted, const v1::LeaseGrant& grant);
  void Upkeep(LeaseAccount& account, int64_t now_ns);
  bool Forgettable(const LeaseAccount& account, int64_t now_ns) const;
  const LeaseAccount* EarlierBucket(const LeaseAccount& account);
  void Forget(LeaseAccount& account);
  AccountFigures FigureOf(const LeaseAccount& account) const;

  struct PendingLevel {
    AccountHandle account;
    Nanos granted;
    Nanos returned;
  };
  struct Pending {
    uint64_t ticket;
    std::vector<PendingLevel> levels;
  };

  LeaseOptions options;
  std::string id;
  std::string instance;
  int64_t epoch = 0;
  int64_t contact_ns = 0;
  int64_t request_number = 0;
  int64_t adopted_in = 0;  // the first request made under this epoch
  int64_t unanswered = 0;  // accounts of which this epoch's control plane was not yet told
  bool wants_request = false;
  int64_t calls = 0;
  int64_t forgotten_before_s = INT64_MIN;  // windows that ended by then may have been forgotten
  int64_t rolling_since_s = INT64_MAX;     // no bucket of a rolling window begins before
  uint64_t next_ticket = 1;

  std::deque<LeaseAccount> accounts;  // by slot; stays in place
  std::vector<uint32_t> vacant;
  boost::unordered_flat_map<AccountKey, uint32_t, AccountKeyHash, AccountKeyEqual> index;
  std::deque<uint32_t> dirty;
  std::vector<uint32_t> unrecorded;
  std::deque<Pending> pending;
  std::deque<LeaseWaiter> waiters;
  std::vector<uint64_t> served;
  size_t tick_cursor = 0;
  size_t refresh_cursor = 0;
  int64_t refreshed_ns = 0;
  int64_t window_time_ms = 0;  // as of the last Tick
};

}  // namespace spillway
