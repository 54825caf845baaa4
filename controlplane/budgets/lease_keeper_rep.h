#pragma once

#include <algorithm>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "controlplane/budgets/lease_accounts.h"
#include "controlplane/budgets/lease_keeper.h"

namespace spillway {

// The inside of LeaseKeeper: shared by its .cc files and nobody else.

struct LeaseKeeper::Rep {
  // One account of a request.
  struct Line {
    LeasePool* pool;
    int64_t window_start_s;
    LeaseWindow* window;
    LeaseEntry* entry;
    Nanos credit = 0;
    Nanos target = 0;
    Nanos needed = 0;      // scratch: by the waiting vector at hand
    bool open = false;     // may be granted from
    bool stocked = false;  // stock may be given: its window is not over
    bool lacking = false;
    Nanos Deficit() const { return std::max<Nanos>(0, SaturatingSum(needed, -credit)); }
  };
  struct Serving {
    KnownHolder* holder;
    std::vector<Line> lines;
    boost::unordered_flat_map<LeaseEntry*, size_t> by_entry;
    // Accounts of budgets that nobody knows: budget id, subject, start. They point into the
    // request.
    std::set<std::tuple<std::string_view, std::string_view, int64_t>> unknown;
    bool lacking = false;
    bool given = false;
  };

  KnownBudget& BudgetOf(std::string_view id);
  // Configured, or with accounts from when it was. Accounts of others are not taken: whoever has a
  // data plane's credentials could make up any number of them.
  bool Knows(std::string_view budget_id) const;
  LeasePool& PoolOf(std::string_view budget_id, std::string_view subject);
  const LeasePool* FindPool(std::string_view budget_id, std::string_view subject) const;
  KnownHolder& HolderOf(std::string_view id);
  LeaseWindow& WindowOf(LeasePool& pool, int64_t start_s);
  LeaseEntry& EntryOf(LeasePool& pool, int64_t start_s, KnownHolder& holder);
  void OnRoster(KnownHolder& holder, std::string_view instance);
  void Touch(KnownHolder& holder);
  void Touch(LeasePool& pool, int64_t start_s, KnownHolder& holder, LeaseEntry& entry);

  // Changes an entry by `change(entry)` and keeps the sums, the dirty list and the releases.
  template <typename Change>
  void Update(LeasePool& pool, int64_t start_s, KnownHolder& holder, const Change& change);
  void Moved(LeasePool& pool, int64_t start_s, LeaseWindow& window, const LeaseEntry& before,
             const LeaseEntry& after);

  Nanos LimitOf(const KnownBudget& budget) const;
  Nanos ExposureOf(const LeasePool& pool, int64_t start_s) const;
  Nanos RollingExposure(const LeasePool& pool) const;
  NanosSum RollingSum(const LeasePool& pool, int64_t bucket_s) const;
  Nanos RemainderOf(const LeasePool& pool, int64_t start_s) const;
  Nanos RecallableOf(const LeasePool& pool, int64_t start_s, const KnownHolder* but) const;
  Nanos ElsewhereOf(const LeasePool& pool, int64_t start_s, const KnownHolder* but) const;
  void CheckWindow(const LeasePool& pool, int64_t start_s, LeaseWindow& window) const;
  bool GateShut(const KnownBudget& budget, int64_t start_s) const;
  bool Excused(const KnownHolder& holder) const;
  void CheckGate();
  int64_t FleetSize();

  bool TakeFigures(const v1::LeaseRequest& request, KnownHolder& holder);
  Serving Prepare(const v1::LeaseRequest& request, KnownHolder& holder);
  Line* LineOf(Serving& serving, const v1::Account& account);
  void Classify(Line& line) const;
  void ServeWaiting(Serving& serving, const v1::Waiting& waiting);
  void Give(Serving& serving, Line& line, Nanos amount);
  void Stock(Serving& serving);
  void Answer(const Serving& serving, const v1::LeaseRequest& request);
  void Recall(const Serving& serving);
  void RecallExcess(KnownBudget& budget);
  void NoteRaise(KnownBudget& budget);
  void EndRaises();
  void Keep(Serving& serving, const v1::LeaseRequest& request);
  void RetryReleased();
  void Retry(KnownHolder& holder);
  void DropPending(KnownHolder& holder);
  bool PruneWindow(LeasePool& pool, int64_t start_s, LeaseWindow& window);

  WindowSpan CurrentWindow(const BudgetTerms& terms) const;
  LeaseAccountFigures FiguresOf(const LeasePool& pool, const WindowSpan& window) const;
  int64_t CurrentStart(const KnownBudget& budget) const;

  LeaseKeeperOptions options;
  LeaseKeeperRow row;
  bool row_dirty = false;
  int64_t epoch = 0;
  int64_t time_us = 0;  // T
  int64_t monotonic_ns = -1;
  uint64_t next_order = 1;
  int64_t raise_ends_ms = INT64_MAX;  // of all budgets, the first
  int64_t unknown_accounts = 0;
  int64_t fleet = 1;
  int64_t fleet_counted_ms = INT64_MIN / 2;
  std::map<std::string, KnownBudget, std::less<>> budgets;
  std::map<std::string, KnownHolder, std::less<>> holders;

  struct Dirty {
    LeasePool* pool;
    int64_t start_s;
    KnownHolder* holder;
  };
  std::vector<Dirty> dirty;
  std::vector<KnownHolder*> dirty_holders;
  std::vector<LeasePool*> released;
  LeaseEffects effects;  // messages, and rows to delete
  std::pair<std::string, std::string> prune_after;

  int64_t TimeMs() const { return time_us / 1000; }
};

template <typename Change>
void LeaseKeeper::Rep::Update(LeasePool& pool, int64_t start_s, KnownHolder& holder,
                              const Change& change) {
  LeaseEntry& entry = EntryOf(pool, start_s, holder);
  const LeaseEntry before = entry;
  change(entry);
  Moved(pool, start_s, pool.windows.find(start_s)->second, before, entry);
  const bool changed = before.granted != entry.granted || before.returned != entry.returned ||
                       before.settled != entry.settled || before.reported != entry.reported ||
                       before.final != entry.final;
  if (changed) Touch(pool, start_s, holder, entry);
}

}  // namespace spillway
