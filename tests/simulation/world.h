#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "controlplane/budgets/lease_rows.h"
#include "dataplane/budgets/lease_account.h"
#include "tests/simulation/schedule.h"

namespace spillway::simulation {

using Key = std::tuple<std::string, std::string, int64_t>;  // budget, subject, window

inline Key KeyOf(const v1::Account& a) { return {a.budget_id(), a.subject(), a.window_start_s()}; }
inline Key KeyOf(const AccountKey& a) { return {a.budget_id, a.subject, a.window_start_s}; }
v1::Account AccountOf(const Key& key);

// A reading of the rules that is wrong, switched on alone: the invariants must catch it.
enum class Naive : uint8_t {
  kNone,
  kReclaimByTime,    // a silent holder's lease counts as given back
  kReturnIsAChange,  // "I return x" instead of the total
  kSpendUnrecorded,  // spends from a grant before its level is on disk
  kSendUnsynced,     // grants leave before the batch is on disk
  kRestoreWithoutGate,
  kOrphansAtEstimate,  // orphans settle at the likely cost, not at what they reserved
  kSameIdAfterWipe,    // the instance as the identity: a wiped disk starts again under it
  kCloseAtJournal,     // after a power cut: closes at what the journal shows
  kFreedAtCommit,      // journals keep only what is not committed, not what no backup has
  kNoRecall,
};

struct Budget {
  BudgetTerms terms;
  AccountPolicy policy;
  int subjects = 0;     // of `each: user`; 0: one account
  Nanos limit_max = 0;  // the highest limit it ever had
  // Overshoot must be 0: leased, capped, with nothing beyond.
  bool exact() const {
    return policy.on_partition != v1::ON_PARTITION_OPEN && policy.on_overrun == v1::ON_OVERRUN_CAP;
  }
};

struct Faults {
  int64_t loss = 0, doubling = 0, late = 0;  // per mille of messages
  bool kills = false;                        // faults of processes, disks, clocks, links
  bool restores = false;
  enum class Only : uint8_t { kAll, kPowerCuts, kControlPlaneKills } only = Only::kAll;
  int64_t pause_us = 1'500'000;  // between two of them, about
};

// One call at the provider: the truth.
struct Call {
  int id = 0;
  std::string holder;
  std::vector<Key> keys;
  Nanos reserved = 0;        // with top-ups
  Nanos reserved_first = 0;  // as journalled
  Nanos upper = 0;
  Nanos actual = 0;
  bool billed = false;
};

// What the provider bills, and what it may yet bill for calls that run, by account.
struct Truth {
  struct Account {
    Nanos billed = 0;
    Nanos running = 0;                       // reserved by calls that the provider has not ended
    std::map<std::string, Nanos> by_holder;  // billed and running
    std::map<std::string, std::pair<Nanos, Nanos>> risk;  // by holder: now, at its highest
    Nanos open_allowance = 0;  // remainders that were heard before spending beyond the lease
    std::set<std::pair<std::string, int64_t>> open_episodes;
  };
  std::map<Key, Account> accounts;
  std::vector<Call> calls;
};

struct Figures {
  int64_t admitted = 0, refused = 0, waited = 0, falsely_refused = 0;
  int64_t faults = 0, kills = 0, power_cuts = 0, wipes = 0, retired = 0, restores = 0,
          partitions = 0, clock_steps = 0, edits = 0, tombstones = 0, freezes = 0, streams_lost = 0;
};

// Shared by everything in one simulated cluster.
struct World {
  explicit World(uint64_t seed_in) : seed(seed_in), random(seed_in) {}
  uint64_t seed;
  Random random;
  Schedule schedule;
  Naive naive = Naive::kNone;
  Faults faults;
  std::vector<Budget> budgets;
  Truth truth;
  Figures figures;
  std::vector<std::string> violations;
  std::set<Key> touched;  // accounts that this step may have changed
  bool touched_all = false;
  // Holders whose disk was lost while a restored control plane did not know what they had been
  // granted: an operator who retires them takes that risk.
  std::set<std::string> excused;
  int64_t base_wall_ms = 0;

  int64_t TrueWallMs() const { return base_wall_ms + schedule.now_us() / 1000; }
  const Budget& BudgetOf(const std::string& id) const;
  void Violation(const std::string& what);
};

}  // namespace spillway::simulation
