// Waiting for the control plane: the coroutine, and who wakes it.
#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <utility>

#include "dataplane/budgets/budgets_rep.h"

namespace spillway {
namespace {

using WaitTimer = boost::asio::basic_waitable_timer<
    std::chrono::steady_clock, boost::asio::wait_traits<std::chrono::steady_clock>, LoopExecutor>;

// What a wake-up that is still on its way to the loop may find gone. Loop thread only; shared
// between the frame and posted functions.
struct Signal {
  WaitTimer* timer = nullptr;
  bool fired = false;
  void Fire() {
    fired = true;
    if (timer != nullptr) timer->cancel();
  }
};

}  // namespace

Task<Result<Admitted>> Budgets::Admit(Loop& loop, Attempt attempt) {
  if (attempt.matches.empty()) co_return Admitted{};
  Rep& rep = *rep_;
  // The loop owns the timer's wait, so it can drop this frame; a bare callback would keep it.
  WaitTimer timer(loop.io);
  const auto signal = std::make_shared<Signal>();
  signal->timer = &timer;
  Rep::Waiter waiter{.attempt = &attempt, .wake = [&io = loop.io, signal] {
                       boost::asio::post(io, [signal] { signal->Fire(); });
                     }};
  struct Leave {
    Rep& rep;
    Rep::Waiter& waiter;
    Signal& signal;
    ~Leave() {
      signal.timer = nullptr;
      rep.AbandonWait(waiter);
    }
  } const leave{rep, waiter, *signal};
  if (auto decided = rep.BeginWait(waiter)) co_return *std::move(decided);
  const int64_t begun_ns = rep.clock.MonotonicNs();
  if (rep.wants_request) rep.wants_request();
  while (!signal->fired) {
    const int64_t left_ns = rep.WaitMore(waiter);
    if (left_ns <= 0) break;
    timer.expires_after(std::chrono::nanoseconds(left_ns));
    co_await timer.async_wait(boost::asio::as_tuple(boost::asio::deferred));
  }
  co_return rep.EndWait(waiter, rep.clock.MonotonicNs() - begun_ns);
}

std::optional<Result<Admitted>> Budgets::Rep::BeginWait(Waiter& waiter) {
  waiter.state = std::make_unique<Reservation::State>();
  const int64_t now_ns = clock.MonotonicNs();
  const std::lock_guard lock(mutex);
  if (auto decided = Prepare(*waiter.attempt, now_ns, *waiter.state)) return decided;
  const ReserveResult result = Reserve(*waiter.attempt, now_ns, *waiter.state);
  if (result.admitted()) return Admit(*waiter.attempt, now_ns, std::move(waiter.state));
  if (result.outcome != ReserveOutcome::kShort)
    return Refuse(*waiter.attempt, result, *waiter.state, now_ns);
  if (waiters.size() >= kWaitersMax) return Refuse(*waiter.attempt, result, *waiter.state, now_ns);
  waiter.id = next_waiter++;
  waiter.begun_ns = now_ns;
  waiters.emplace(waiter.id, &waiter);
  waiter.state->holder->Wait(waiter.id, waiter.state->needs);
  return std::nullopt;
}

// In steps of lease_wait, so that a contact that is lost meanwhile is noticed.
int64_t Budgets::Rep::WaitMore(const Waiter& waiter) {
  const int64_t now_ns = clock.MonotonicNs();
  const int64_t step_ns = options.lease_wait_ms * 1'000'000;
  const std::lock_guard lock(mutex);
  if (waiter.served || waiter.over || waiter.refused) return 0;
  const LeaseHolder& holder = *waiter.state->holder;
  if (!holder.InContact(now_ns)) return 0;
  const int64_t answered_ns = holder.AnsweredNs(waiter.id);
  int64_t end_ns =
      answered_ns >= 0 ? answered_ns + step_ns : waiter.begun_ns + holder.contact_lost_ns();
  if (waiter.attempt->deadline_ns != 0) end_ns = std::min(end_ns, waiter.attempt->deadline_ns);
  return std::clamp<int64_t>(end_ns - now_ns, 0, step_ns);
}

Result<Admitted> Budgets::Rep::EndWait(Waiter& waiter, int64_t waited) {
  const int64_t now_ns = clock.MonotonicNs();
  const std::lock_guard lock(mutex);
  size_t bucket = 0;
  while (bucket < kWaitBucketsMs.size() && waited > kWaitBucketsMs[bucket] * 1'000'000) ++bucket;
  ++waits[bucket];
  waited_ns += waited;
  waiters.erase(waiter.id);
  if (waiter.refused) {
    waiter.state.reset();
    return *std::exchange(waiter.refused, std::nullopt);
  }
  if (waiter.served) return Admit(*waiter.attempt, now_ns, std::move(waiter.state));
  const Attempt& attempt = *waiter.attempt;
  LeaseHolder& holder = *waiter.state->holder;
  const bool contact = holder.InContact(now_ns);
  // A call is cut short only when it is known that there is no more.
  const bool known = !contact || holder.AnsweredNs(waiter.id) >= 0;
  ReserveResult result = holder.GiveUp(waiter.id, now_ns);
  if (!result.admitted() && waiter.state->capped && known) {
    if (const Nanos most = Affordable(attempt, *waiter.state, false, now_ns); most > 0) {
      SetAmount(attempt, most, *waiter.state);
      const ReserveResult less = holder.Reserve(waiter.state->needs, now_ns);
      if (less.admitted()) result = less;
    }
  }
  Serve();
  if (result.admitted()) return Admit(attempt, now_ns, std::move(waiter.state));
  Result<Admitted> refused_now = Refuse(attempt, result, *waiter.state, now_ns);
  waiter.state.reset();
  return refused_now;
}

// The frame is gone, or done: whatever it still has a hand on is given back.
void Budgets::Rep::AbandonWait(Waiter& waiter) {
  if (waiter.state == nullptr || waiter.id == 0) return;
  const int64_t now_ns = clock.MonotonicNs();
  const std::lock_guard lock(mutex);
  waiters.erase(waiter.id);
  LeaseHolder& holder = *waiter.state->holder;
  if (!waiter.refused && (waiter.served || !holder.Cancel(waiter.id, now_ns)))
    holder.Void(waiter.state->needs, now_ns);
  Serve();
}

void Budgets::Rep::Serve() {
  if (waiters.empty()) return;
  for (LeaseHolder* holder : holders.All()) {
    for (const uint64_t id : holder->TakeServed()) {
      const auto found = waiters.find(id);
      if (found == waiters.end()) continue;
      found->second->served = true;
      found->second->wake();
      // Stays findable: its frame may be dropped before it is resumed.
    }
  }
}

void Budgets::Rep::Decide(int64_t now_ns) {
  Serve();
  const int64_t patience_ns = options.lease_wait_ms * 1'000'000 / 2;
  for (const LeaseHolder::Answered& answered : holders.current().AnsweredWaiters()) {
    const auto found = waiters.find(answered.waiter);
    if (found == waiters.end()) continue;
    Waiter& waiter = *found->second;
    if (waiter.served || waiter.over || waiter.refused) continue;
    const bool late = now_ns - answered.answered_ns >= patience_ns;
    const bool less = waiter.state->capped && (answered.out_of_reach || late);
    if (less && SettleForLess(waiter, now_ns)) continue;
    if (!answered.out_of_reach) continue;
    waiter.over = true;
    waiter.wake();
  }
}

// Asks for what the control plane says is left. False: that was tried, or is not worth a call.
bool Budgets::Rep::SettleForLess(Waiter& waiter, int64_t now_ns) {
  Reservation::State& state = *waiter.state;
  const Nanos most = waiter.shrunk ? 0 : Affordable(*waiter.attempt, state, true, now_ns);
  if (most == 0 || most >= state.amount) return false;
  waiter.shrunk = true;
  // False: served already, by what another one gave up.
  if (state.holder->Cancel(waiter.id, now_ns)) {
    SetAmount(*waiter.attempt, most, state);
    if (!state.holder->Reserve(state.needs, now_ns).admitted()) {
      state.holder->Wait(waiter.id, state.needs);
      return true;
    }
  }
  waiter.served = true;
  waiter.wake();
  return true;
}

void Budgets::Rep::WaitAnew(const std::vector<uint64_t>& ids, int64_t now_ns) {
  for (const uint64_t id : ids) {
    const auto found = waiters.find(id);
    if (found == waiters.end()) continue;
    Waiter& waiter = *found->second;
    auto state = std::make_unique<Reservation::State>();
    auto decided = Prepare(*waiter.attempt, now_ns, *state);
    waiter.state = std::move(state);
    if (decided) {
      waiter.refused = std::move(decided);
      waiter.wake();
    } else if (waiter.state->holder->Reserve(waiter.state->needs, now_ns).admitted()) {
      waiter.served = true;
      waiter.wake();
    } else {
      waiter.state->holder->Wait(id, waiter.state->needs);
    }
  }
}

}  // namespace spillway
