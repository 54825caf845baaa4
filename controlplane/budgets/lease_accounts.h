#pragma once

#include <boost/unordered/unordered_flat_set.hpp>
#include <boost/unordered/unordered_node_map.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "controlplane/budgets/lease_rows.h"
#include "controlplane/budgets/nanos_sum.h"

namespace spillway {

// What LeaseKeeper holds in memory, by holder and by budget: its own, shared by its .cc files.

struct LeasePool;
struct LeaseWindow;

struct KnownHolder {
  LeaseHolderRow row;
  bool on_roster = false;  // false: only known from accounts (what was seeded)
  bool dirty = false;
  int64_t heard_ms = 0;
  int64_t closed_ms = 0;
  int64_t last_number = 0;
  // The last request with waiters that lacked something, tried again when money comes free.
  std::optional<v1::LeaseRequest> pending;
  int64_t pending_ms = 0;
  uint64_t pending_order = 0;
  std::vector<LeasePool*> lacks;  // the pools that list it as lacking
  boost::unordered_flat_set<std::pair<LeasePool*, int64_t>> accounts;

  bool MayBeGranted() const { return !row.closed && !row.tombstoned; }
};

// A[b, w, h]
struct LeaseEntry {
  Nanos granted = 0;
  Nanos returned = 0;
  Nanos settled = 0;
  Nanos reported = 0;
  std::optional<Nanos> final;
  Nanos reserved = 0;  // as last reported; not stored
  bool dirty = false;

  Nanos Base() const;      // max(g - r, s, p)
  Nanos Exposure() const;  // x
};

// (b, w) of one subject
struct LeaseWindow {
  WindowSpan span;
  int checked_version = 0;  // of the budget's terms, by which `valid` was found
  bool valid = false;       // the start is one of this budget's windows
  NanosSum exposure;        // X, kept current
  NanosSum settled;
  boost::unordered_node_map<KnownHolder*, LeaseEntry> entries;
};

struct KnownBudget;

// All windows of one budget and subject.
struct LeasePool {
  KnownBudget* budget = nullptr;
  std::string subject;
  std::map<int64_t, LeaseWindow> windows;
  int64_t scarce_until_ms = 0;
  int64_t recalled_ms = INT64_MIN / 2;
  bool released = false;
  boost::unordered_flat_set<KnownHolder*> lacking;
  // Rolling: what counts while the bucket at rolling_bucket_s is current. Stale: to be summed
  // again.
  mutable bool rolling_stale = true;
  mutable int64_t rolling_bucket_s = 0;
  mutable NanosSum rolling_exposure;
};

struct KnownBudget {
  BudgetTerms terms;
  bool known = false;   // false: not in the configuration (any more)
  bool raised = false;  // its raise has not been seen to end
  int version = 1;
  std::map<std::string, LeasePool, std::less<>> pools;
};

}  // namespace spillway
