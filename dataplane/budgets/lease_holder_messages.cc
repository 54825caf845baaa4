// What LeaseHolder tells the control plane and hears from it.
#include <algorithm>
#include <utility>

#include "common/clock.h"
#include "dataplane/budgets/lease_holder.h"
#include "dataplane/budgets/lease_holder_rep.h"

namespace spillway {
namespace {

constexpr int64_t kMeasureMs = 100;
constexpr int64_t kRefreshNs = 1'000'000'000;
constexpr size_t kRefreshAccounts = 200;
constexpr size_t kTickAccounts = 20'000;

void Fill(const AccountKey& key, v1::Account& out) {
  out.set_budget_id(key.budget_id);
  out.set_subject(key.subject);
  out.set_window_start_s(key.window_start_s);
}

// About a second of demand.
Nanos TargetOf(const LeaseAccount& account) {
  return account.policy.frozen ? 0 : std::max(account.rate, account.demanded);
}

}  // namespace

void LeaseHolder::Rep::Changed(LeaseAccount& account) {
  account.dirty = true;
  account.changed_in = request_number + 1;
  if (account.queued) return;
  account.queued = true;
  dirty.push_back(account.slot);
}

void LeaseHolder::Rep::LevelChanged(LeaseAccount& account) {
  if (account.unrecorded) return;
  account.unrecorded = true;
  unrecorded.push_back(account.slot);
}

void LeaseHolder::Rep::GiveBack(LeaseAccount& account, Nanos amount) {
  account.returned += amount;
  LevelChanged(account);
}

// Smoothed over about a second, in whole nano-dollars per second.
void LeaseHolder::Rep::Measure(LeaseAccount& account, int64_t now_ns) {
  const int64_t elapsed_ms = (now_ns - account.measured_ns) / kNsPerMs;
  if (elapsed_ms < kMeasureMs) return;
  constexpr Nanos kDemandMax = 500'000'000'000'000;  // half a million dollars: nothing overflows
  const Nanos seen = std::min(account.demanded, kDemandMax) * 1000 / elapsed_ms;
  const int64_t weight = std::min<int64_t>(elapsed_ms, 1000);
  const Nanos change = (seen - account.rate) * weight / (1000 + weight);
  account.rate += change;
  if (change == 0 && seen < account.rate) --account.rate;  // down to nothing
  account.demanded = 0;
  account.measured_ns = now_ns;
}

// --- The request: whole figures, not changes, so that lost and doubled copies do no harm.

v1::LeaseRequest LeaseHolder::MakeRequest(int64_t now_ns) {
  Rep& rep = *rep_;
  v1::LeaseRequest out;
  out.set_instance(rep.instance);
  out.set_holder(rep.id);
  out.set_epoch(rep.epoch);
  out.set_number(++rep.request_number);
  rep.AddWaiters(now_ns, out);
  rep.AddDirty(now_ns, out);
  rep.Refresh(now_ns, out);
  int64_t untold = rep.unanswered;
  for (const v1::HolderAccount& listed : out.accounts()) {
    untold -= static_cast<int64_t>(rep.Find(ViewOf(listed.account()))->answered_epoch != rep.epoch);
  }
  out.set_whole(rep.epoch != 0 && untold == 0);
  rep.wants_request = false;
  return out;
}

void LeaseHolder::Rep::AddAccount(LeaseAccount& account, int64_t now_ns, v1::LeaseRequest& out) {
  if (account.listed_in == request_number) return;
  account.listed_in = request_number;
  Measure(account, now_ns);
  v1::HolderAccount& listed = *out.add_accounts();
  Fill(account.key, *listed.mutable_account());
  listed.set_granted_seen(account.heard);
  listed.set_returned(account.returned_recorded);
  if (account.returned_told != account.returned_recorded) {
    account.returned_told = account.returned_recorded;
    account.returned_told_in = request_number;
  }
  listed.set_charged(account.charged);
  listed.set_reserved(account.reserved);
  listed.set_target(TargetOf(account));
  if (account.policy.on_overrun != v1::ON_OVERRUN_CAP) listed.set_overrun(account.at_risk);
}

void LeaseHolder::Rep::AddWaiters(int64_t now_ns, v1::LeaseRequest& out) {
  for (LeaseWaiter& waiter : waiters) {
    if (out.waiting_size() >= options.waiting_per_request_max) return;
    if (waiter.told_in == 0) waiter.told_in = request_number;
    v1::Waiting waiting;
    for (const Need& need : waiter.needs) {
      LeaseAccount* account = At(need.account);
      if (account == nullptr || !need.enforce) continue;
      AddAccount(*account, now_ns, out);
      v1::Need& told = *waiting.add_needs();
      Fill(account->key, *told.mutable_account());
      told.set_nanos(need.nanos);
    }
    if (waiting.needs_size() > 0) *out.add_waiting() = std::move(waiting);
  }
}

// Those that changed since the control plane last answered for them, longest untold first. They
// stay listed until it does.
void LeaseHolder::Rep::AddDirty(int64_t now_ns, v1::LeaseRequest& out) {
  for (size_t left = dirty.size();
       left > 0 && out.accounts_size() < options.accounts_per_request_max; --left) {
    const uint32_t slot = dirty.front();
    dirty.pop_front();
    LeaseAccount& account = accounts[slot];
    if (!account.dirty) {
      account.queued = false;
      continue;
    }
    dirty.push_back(slot);
    AddAccount(account, now_ns, out);
  }
}

// Quiet accounts, a few each second, for the remainder that open mode goes by.
void LeaseHolder::Rep::Refresh(int64_t now_ns, v1::LeaseRequest& out) {
  if (now_ns - refreshed_ns < kRefreshNs || accounts.empty()) return;
  refreshed_ns = now_ns;
  for (size_t i = std::min(kRefreshAccounts, accounts.size());
       i > 0 && out.accounts_size() < options.accounts_per_request_max; --i) {
    refresh_cursor = (refresh_cursor + 1) % accounts.size();
    LeaseAccount& account = accounts[refresh_cursor];
    if (account.live && account.window.end_s > window_time_ms / 1000) {
      AddAccount(account, now_ns, out);
    }
  }
}

// --- Answers.

// A higher epoch: a control plane that may know nothing of what was granted (a restore). Everything
// is told anew.
void LeaseHolder::Rep::Adopt(int64_t new_epoch) {
  epoch = new_epoch;
  adopted_in = request_number + 1;
  unanswered = 0;
  for (LeaseAccount& account : accounts) {
    if (!account.live) continue;
    ++unanswered;
    Changed(account);
  }
  wants_request = true;
}

// True when the level rose. The level is a maximum: lost, doubled and late copies do no harm.
bool LeaseHolder::Rep::OnGranted(const v1::GrantedAccount& granted, const v1::LeaseGrant& grant) {
  LeaseAccount* account = Find(ViewOf(granted.account()));
  // One that was never opened here, or forgotten: spent and told long ago.
  if (account == nullptr) return false;
  account->heard_of = true;
  if (grant.control_plane_time_ms() >= account->remainder_time_ms) {
    account->remainder_time_ms = grant.control_plane_time_ms();
    account->remainder = granted.remainder();
    account->elsewhere = granted.elsewhere();
    account->closed = granted.closed();
  }
  if (grant.answers() >= account->returned_told_in)
    account->returned_heard = account->returned_told;
  if (grant.answers() >= account->changed_in) account->dirty = false;
  if (grant.answers() >= adopted_in && account->answered_epoch != epoch) {
    account->answered_epoch = epoch;
    --unanswered;
  }
  if (granted.granted() <= account->heard) return false;
  account->heard = granted.granted();
  LevelChanged(*account);
  return true;
}

LeaseHolder::GrantOutcome LeaseHolder::OnGrant(const v1::LeaseGrant& grant, int64_t now_ns) {
  Rep& rep = *rep_;
  GrantOutcome outcome;
  if (grant.holder() != rep.id || grant.epoch() < rep.epoch || grant.epoch() <= 0) {
    outcome.stale = true;
    return outcome;
  }
  rep.contact_ns = now_ns;
  if (grant.epoch() > rep.epoch) {
    outcome.new_epoch = true;
    rep.Adopt(grant.epoch());
  }
  outcome.tombstoned = grant.tombstoned();
  bool raised = false;
  for (const v1::GrantedAccount& granted : grant.accounts()) {
    raised = rep.OnGranted(granted, grant) || raised;
  }
  // Many accounts are told in several requests, each sent when the one before was answered.
  if (rep.unanswered > 0) rep.wants_request = true;
  if (!raised) rep.ServeWaiters(Rep::Turn::kAny, now_ns);
  rep.NoteAnswers(grant, now_ns);
  return outcome;
}

void LeaseHolder::Rep::NoteAnswers(const v1::LeaseGrant& grant, int64_t now_ns) {
  for (LeaseWaiter& waiter : waiters)
    if (waiter.told_in != 0 && grant.answers() >= waiter.told_in) waiter.answer_here = true;
  if (unrecorded.empty() && pending.empty()) SettleAnswers(now_ns);
}

// An answer counts when what it granted can be spent: until then it looks as if too little came.
void LeaseHolder::Rep::SettleAnswers(int64_t now_ns) {
  for (LeaseWaiter& waiter : waiters)
    if (waiter.answer_here && waiter.answered_ns < 0) waiter.answered_ns = now_ns;
}

void LeaseHolder::OnRecall(const v1::Recall& recall) {
  if (recall.epoch() < rep_->epoch || recall.holder() == rep_->id) return;
  for (const v1::Account& named : recall.accounts()) {
    LeaseAccount* account = rep_->Find(ViewOf(named));
    if (account != nullptr && account->Free() > 0) rep_->GiveBack(*account, account->Free());
  }
}

// --- Levels, on disk before they count.

LeaseHolder::Levels LeaseHolder::TakeLevels() {
  Rep& rep = *rep_;
  Levels out{.ticket = rep.next_ticket++, .levels = {}};
  Rep::Pending pending{.ticket = out.ticket, .levels = {}};
  for (const uint32_t slot : std::exchange(rep.unrecorded, {})) {
    LeaseAccount& account = rep.accounts[slot];
    account.unrecorded = false;
    const AccountHandle handle{.slot = slot, .generation = account.generation};
    out.levels.push_back({.account = handle,
                          .key = account.key,
                          .granted = account.heard,
                          .returned = account.returned});
    pending.levels.push_back(
        {.account = handle, .granted = account.heard, .returned = account.returned});
  }
  rep.pending.push_back(std::move(pending));
  return out;
}

void LeaseHolder::Recorded(uint64_t ticket, int64_t now_ns) {
  Rep& rep = *rep_;
  while (!rep.pending.empty() && rep.pending.front().ticket <= ticket) {
    for (const Rep::PendingLevel& level : rep.pending.front().levels) {
      LeaseAccount* account = rep.At(level.account);
      if (account == nullptr) continue;
      account->granted = std::max(account->granted, level.granted);
      if (level.returned <= account->returned_recorded) continue;
      account->returned_recorded = level.returned;
      rep.Changed(*account);
      rep.wants_request = true;
    }
    rep.pending.pop_front();
  }
  rep.ServeWaiters(Rep::Turn::kAny, now_ns);
  if (rep.unrecorded.empty() && rep.pending.empty()) rep.SettleAnswers(now_ns);
}

// --- Idle money goes back.

void LeaseHolder::Tick(int64_t now_ns, int64_t window_time_ms) {
  Rep& rep = *rep_;
  rep.window_time_ms = window_time_ms;
  for (size_t left = std::min(kTickAccounts, rep.accounts.size()); left > 0; --left) {
    rep.tick_cursor = (rep.tick_cursor + 1) % rep.accounts.size();
    LeaseAccount& account = rep.accounts[rep.tick_cursor];
    if (account.live) rep.Upkeep(account, now_ns);
  }
}

void LeaseHolder::Rep::Upkeep(LeaseAccount& account, int64_t now_ns) {
  if (Forgettable(account, now_ns)) {
    Forget(account);
    return;
  }
  Measure(account, now_ns);
  const Nanos free = account.Free();
  if (free <= 0) return;
  const bool over = account.window.end_s <= window_time_ms / 1000;
  const bool idle = account.calls == 0 && now_ns - account.used_ns >= options.idle_ns;
  if (over || idle) {
    account.rate = account.demanded = 0;  // else it would be stocked again at once
    GiveBack(account, free);
  } else if (const Nanos target = TargetOf(account); !options.alone && free / 8 > target) {
    GiveBack(account, free - 2 * target);
  }
}

void LeaseHolder::ReturnAll() {
  for (LeaseAccount& account : rep_->accounts) {
    if (account.live && account.Free() > 0) rep_->GiveBack(account, account.Free());
  }
}

// Out of contact, what was heard of an earlier window may be all that is known of the next one.
bool LeaseHolder::Rep::Forgettable(const LeaseAccount& account, int64_t now_ns) const {
  const AccountPolicy& policy = account.policy;
  const int64_t over_s = options.alone
                             ? CountsUntil(policy.window, policy.rolling_hours, account.window)
                             : account.window.end_s;
  if (over_s > window_time_ms / 1000 - options.forget_after_s || !InContact(now_ns)) return false;
  return account.calls == 0 && account.wanted == 0 && account.Free() <= 0 && !account.dirty &&
         !account.queued && !account.unrecorded && account.heard == account.granted &&
         account.returned == account.returned_recorded && account.answered_epoch == epoch;
}

void LeaseHolder::Rep::Forget(LeaseAccount& account) {
  forgotten_before_s = std::max(forgotten_before_s, account.window.end_s);
  index.erase(account.key);
  vacant.push_back(account.slot);
  account.live = false;
}

// --- For people, and for the end.

AccountFigures LeaseHolder::Rep::FigureOf(const LeaseAccount& account) const {
  AccountFigures out{.key = account.key,
                     .granted = account.granted,
                     .returned = account.returned,
                     .charged = account.charged,
                     .reserved = account.reserved,
                     .calls = account.calls,
                     .remainder = account.remainder,
                     .returning = account.returned - account.returned_heard,
                     .heard = account.heard_of,
                     .closed = account.closed,
                     .demand_per_s = account.rate};
  if (account.policy.on_overrun != v1::ON_OVERRUN_CAP) out.overshoot_bound += account.at_risk;
  const bool open = account.policy.on_partition == v1::ON_PARTITION_OPEN ||
                    account.policy.on_partition == v1::ON_PARTITION_UNSPECIFIED;
  if (open && account.heard_of) out.overshoot_bound += std::max<Nanos>(0, account.remainder);
  if (open && !account.heard_of && account.policy.open_unheard) {
    out.overshoot_bound += account.policy.limit;
  }
  return out;
}

AccountFigures LeaseHolder::FigureOf(AccountHandle handle) const {
  const LeaseAccount* account = rep_->At(handle);
  return account == nullptr ? AccountFigures{} : rep_->FigureOf(*account);
}

std::vector<AccountFigures> LeaseHolder::Figures() const {
  std::vector<AccountFigures> out;
  out.reserve(rep_->index.size());
  for (const LeaseAccount& account : rep_->accounts) {
    if (account.live) out.push_back(rep_->FigureOf(account));
  }
  return out;
}

std::vector<v1::AccountCharge> LeaseHolder::Closing() const {
  std::vector<v1::AccountCharge> out;
  for (const LeaseAccount& account : rep_->accounts) {
    if (!account.live || account.charged == 0) continue;
    v1::AccountCharge& charge = out.emplace_back();
    Fill(account.key, *charge.mutable_account());
    charge.set_charged(account.charged);
  }
  return out;
}

}  // namespace spillway
