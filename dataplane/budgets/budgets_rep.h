#pragma once

#include <absl/container/inlined_vector.h>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dataplane/budgets/account_index.h"
#include "dataplane/budgets/budgets.h"
#include "dataplane/budgets/lease_holders.h"
#include "dataplane/budgets/local_keeper.h"

namespace spillway {

// What a Reservation is. Immutable but for `needs` and `amount`, which change under Rep::mutex.
struct Reservation::State {
  Budgets::Rep* budgets = nullptr;
  LeaseHolder* holder = nullptr;  // stays while a call of it holds a reservation
  absl::InlinedVector<Need, 4> needs;
  absl::InlinedVector<AccountBytes, 4> accounts;
  std::string holder_name;  // empty: the incarnation
  Nanos amount = 0;
  bool capped = false;
  bool upstream = false;
};

// The inside of Budgets: shared by the .cc files of this folder and nobody else. Everything below
// `mutex` is guarded by it.
struct Budgets::Rep {
  Rep(const BudgetsOptions& the_options, const Clock& the_clock);

  enum Refusal : uint8_t { kExhausted, kNoAnswer, kFrozen, kCutOff, kUnprovable, kTooMany };
  static constexpr size_t kRefusals = 6;
  static constexpr std::array<int64_t, 10> kWaitBucketsMs = {1,  2,   5,   10,  20,
                                                             50, 100, 250, 500, 1000};
  static constexpr size_t kWaitersMax = 4096;  // more are refused: each costs those before it time

  // One request that waits: in its coroutine's frame and, while it waits, in `waiters`.
  struct Waiter {
    uint64_t id = 0;
    const Attempt* attempt = nullptr;
    std::unique_ptr<Reservation::State> state;  // its needs; once `served`, reserved
    bool served = false;
    bool over = false;    // nothing more will come: its wait ends
    bool shrunk = false;  // `cap`: settled for less once
    int64_t begun_ns = 0;
    std::optional<Result<Admitted>> refused;  // decided otherwise
    std::function<void()> wake;               // posts to its loop
  };

  // budgets.cc; the mutex is not held.
  std::optional<Result<Admitted>> TryAdmit(const Attempt& attempt);
  void Settle(Reservation::State& state, Nanos cost, Nanos hold);
  void Void(Reservation::State& state);
  bool Extend(Reservation::State& state, Nanos more);
  int64_t TimeMs(int64_t now_ns) const { return holders.WindowTimeMs(now_ns, clock.WallMs()); }

  // budgets_wait.cc
  std::optional<Result<Admitted>> BeginWait(Waiter& waiter);
  // How much longer it waits before it is to look again; 0: no longer. Nanoseconds.
  int64_t WaitMore(const Waiter& waiter);
  Result<Admitted> EndWait(Waiter& waiter, int64_t waited_ns);
  void AbandonWait(Waiter& waiter);
  // Hands what was served to those who waited; mutex held, after anything that may serve.
  void Serve();
  // After news from the control plane, on disk: ends the waits that are in vain. `cap` requests
  // take what there is instead, also when they waited for half their time: before that the whole
  // amount may still come back from those it was recalled from. Mutex held.
  void Decide(int64_t now_ns);
  bool SettleForLess(Waiter& waiter, int64_t now_ns);
  // Under a new holder the waiters ask anew; mutex held.
  void WaitAnew(const std::vector<uint64_t>& ids, int64_t now_ns);

  // admission.cc; mutex held.
  std::optional<Result<Admitted>> Prepare(const Attempt& attempt, int64_t now_ns,
                                          Reservation::State& state);
  ReserveResult Reserve(const Attempt& attempt, int64_t now_ns, Reservation::State& state);
  Result<Admitted> Admit(const Attempt& attempt, int64_t now_ns,
                         std::unique_ptr<Reservation::State> state);
  bool KnownShort(const Reservation::State& state, size_t at) const;
  size_t Blamed(const ReserveResult& result, const Reservation::State& state) const;
  Result<Admitted> Refuse(const Attempt& attempt, const ReserveResult& result,
                          const Reservation::State& state, int64_t now_ns);
  void SetAmount(const Attempt& attempt, Nanos amount, Reservation::State& state) const;
  Nanos Affordable(const Attempt& attempt, const Reservation::State& state, bool with_remainder,
                   int64_t now_ns);
  OpenAccount& Open(const BudgetMatch& match, int64_t admitted_ms, int64_t now_ns,
                    OpenAccount& once);

  // Runs `on_holders(LeaseHolders&)` under the mutex, then wakes whom it served.
  template <typename OnHolders>
  auto WithHolders(OnHolders on_holders) {
    const std::lock_guard lock(mutex);
    struct Then {
      Rep& rep;
      ~Then() { rep.Serve(); }
    } const then{*this};
    return on_holders(holders);
  }

  const BudgetsOptions options;
  const Clock& clock;
  std::function<void()> wants_request;  // wakes the lease client; set before traffic, never waits

  mutable std::mutex mutex;
  LeaseHolders holders;
  AccountIndex index;
  std::optional<LocalKeeper> keeper;  // standalone
  std::map<uint64_t, Waiter*> waiters;
  uint64_t next_waiter = 1;
  int64_t pruned_ns = 0;
  std::vector<v1::Closed> left_behind;  // of holders that were dropped, final

  // Counters.
  Nanos reserved = 0;
  Nanos charged = 0;
  Nanos reported = 0;
  int64_t admitted = 0;
  int64_t admitted_open = 0;
  int64_t warned = 0;
  int64_t downgraded = 0;
  std::array<int64_t, kRefusals> refused{};
  std::array<int64_t, kWaitBucketsMs.size() + 1> waits{};
  int64_t waited_ns = 0;
};

}  // namespace spillway
