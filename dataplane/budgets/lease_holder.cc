#include "dataplane/budgets/lease_holder.h"

#include <algorithm>
#include <utility>

#include "dataplane/budgets/lease_holder_rep.h"

namespace spillway {

using Turn = LeaseHolder::Rep::Turn;

namespace {
constexpr int64_t kBucketS = 3600;  // of a rolling window
}  // namespace

LeaseHolder::LeaseHolder(std::string id, std::string instance, const LeaseOptions& options,
                         int64_t now_ns)
    : rep_(std::make_unique<Rep>()) {
  rep_->options = options;
  rep_->id = std::move(id);
  rep_->instance = std::move(instance);
  rep_->contact_ns = now_ns;  // a start is given as long as a silence before it counts as cut off
  rep_->wants_request = true;
}
LeaseHolder::~LeaseHolder() = default;

const std::string& LeaseHolder::id() const { return rep_->id; }
int64_t LeaseHolder::epoch() const { return rep_->epoch; }
bool LeaseHolder::InContact(int64_t now_ns) const { return rep_->InContact(now_ns); }
int64_t LeaseHolder::contact_ns() const { return rep_->contact_ns; }
int64_t LeaseHolder::contact_lost_ns() const { return rep_->options.contact_lost_ns; }
void LeaseHolder::OnFirstContact(int64_t now_ns) {
  if (rep_->epoch == 0) rep_->contact_ns = now_ns;
}
int64_t LeaseHolder::calls() const { return rep_->calls; }
size_t LeaseHolder::account_count() const { return rep_->index.size(); }
size_t LeaseHolder::waiting() const { return rep_->waiters.size(); }
bool LeaseHolder::WantsRequest() const { return rep_->wants_request; }
bool LeaseHolder::HasLevels() const { return !rep_->unrecorded.empty(); }
bool LeaseHolder::Holds(AccountHandle handle) const { return rep_->At(handle) != nullptr; }

LeaseAccount* LeaseHolder::Rep::At(AccountHandle handle) {
  return const_cast<LeaseAccount*>(std::as_const(*this).At(handle));
}

const LeaseAccount* LeaseHolder::Rep::At(AccountHandle handle) const {
  if (handle.slot >= accounts.size()) return nullptr;
  const LeaseAccount& account = accounts[handle.slot];
  return account.live && account.generation == handle.generation ? &account : nullptr;
}

LeaseAccount* LeaseHolder::Rep::Find(const AccountKeyView& key) {
  const auto found = index.find(key);
  return found == index.end() ? nullptr : &accounts[found->second];
}

// The last one, or the latest of the same budget and subject that counts in the same window.
const LeaseAccount* LeaseHolder::Rep::EarlierBucket(const LeaseAccount& account) {
  const int64_t last_s = account.window.start_s - kBucketS;
  const int64_t counts_from_s = RollingFrom(account.window.start_s, account.policy.rolling_hours);
  const int64_t oldest_s = std::max(std::min(last_s, counts_from_s), rolling_since_s);
  for (int64_t at_s = last_s; at_s >= oldest_s && at_s + kBucketS > forgotten_before_s;
       at_s -= kBucketS) {
    const LeaseAccount* found = Find({account.key.budget_id, account.key.subject, at_s});
    if (found != nullptr) return found;
  }
  return nullptr;
}

AccountHandle LeaseHolder::Open(std::string_view budget_id, std::string_view subject,
                                const WindowSpan& window, const AccountPolicy& policy) {
  Rep& rep = *rep_;
  const AccountKeyView key{budget_id, subject, window.start_s};
  if (const auto found = rep.index.find(key); found != rep.index.end()) {
    LeaseAccount& account = rep.accounts[found->second];
    account.policy = policy;
    return {.slot = found->second, .generation = account.generation};
  }
  // One that was forgotten must not come back: a late copy of an old grant would be spent twice.
  if (window.end_s <= rep.forgotten_before_s) return {};
  if (rep.index.size() >= static_cast<size_t>(rep.options.accounts_max)) return {};
  if (rep.vacant.empty()) {
    rep.vacant.push_back(static_cast<uint32_t>(rep.accounts.size()));
    rep.accounts.emplace_back();
  }
  const uint32_t slot = rep.vacant.back();
  rep.vacant.pop_back();
  LeaseAccount& account = rep.accounts[slot];
  const uint32_t generation = account.generation + 1;
  account = LeaseAccount{};
  account.key = {std::string(budget_id), std::string(subject), window.start_s};
  account.window = window;
  account.policy = policy;
  account.slot = slot;
  account.generation = generation;
  account.live = true;
  account.answered_epoch = rep.epoch;
  if (policy.window == WindowKind::kRolling && !rep.options.alone) {
    // The remainder that was heard is of the whole window, which goes on in this bucket.
    const LeaseAccount* last = rep.EarlierBucket(account);
    if (last != nullptr && last->heard_of) {
      account.heard_of = true;
      account.remainder = std::max<Nanos>(0, last->remainder + std::min<Nanos>(0, last->Free()));
    }
    rep.rolling_since_s = std::min(rep.rolling_since_s, window.start_s);
  }
  rep.index.emplace(account.key, slot);
  return {.slot = slot, .generation = generation};
}

AccountHandle LeaseHolder::Find(std::string_view budget_id, std::string_view subject,
                                int64_t window_start_s) const {
  const LeaseAccount* found = rep_->Find({budget_id, subject, window_start_s});
  if (found == nullptr) return {};
  return {.slot = found->slot, .generation = found->generation};
}

namespace {

ReserveResult Admit(bool open) {
  return {.outcome = ReserveOutcome::kAdmitted, .reason = ReserveReason::kNone, .open = open};
}
ReserveResult Short() {
  return {.outcome = ReserveOutcome::kShort, .reason = ReserveReason::kExhausted};
}
ReserveResult Refuse(ReserveReason reason) {
  return {.outcome = ReserveOutcome::kRefused, .reason = reason};
}

// Out of contact, by on_partition. `open` spends up to the last heard remainder beyond what was
// granted; heard nothing: the whole limit only if the budget says so. `free` may be negative: that
// was spent beyond already.
ReserveResult CheckCutOff(const LeaseAccount& account, Nanos free, Nanos nanos) {
  const AccountPolicy& policy = account.policy;
  if (policy.on_partition == v1::ON_PARTITION_CLOSED) return Refuse(ReserveReason::kCutOff);
  if (free >= nanos) return Admit(false);
  if (policy.on_partition == v1::ON_PARTITION_LEASED) return Refuse(ReserveReason::kCutOff);
  if (account.heard_of) {
    return free + std::max<Nanos>(0, account.remainder) >= nanos ? Admit(true)
                                                                 : Refuse(ReserveReason::kCutOff);
  }
  return policy.open_unheard && free + policy.limit >= nanos ? Admit(true)
                                                             : Refuse(ReserveReason::kCutOff);
}

Nanos AsideFor(const LeaseAccount& account, Turn turn) {
  if (turn == Turn::kBehindWaiters) return account.wanted;
  return turn == Turn::kBehindSetAside ? account.set_aside : 0;
}

ReserveResult CheckOne(const LeaseAccount& account, Nanos nanos, Turn turn, bool contact) {
  if (account.policy.frozen) return Refuse(ReserveReason::kFrozen);
  if (nanos <= 0) return Admit(false);
  // Cut off, nothing will come for those that wait: no turns.
  if (!contact) return CheckCutOff(account, account.Free(), nanos);
  if (account.Free() - AsideFor(account, turn) >= nanos) return Admit(false);
  return nanos > account.policy.limit ? Refuse(ReserveReason::kNeverFits) : Short();
}

// What earlier needs of the same vector take of the same account.
Nanos EarlierNeeds(std::span<const Need> needs, size_t upto) {
  Nanos sum = 0;
  for (size_t i = 0; i < upto; ++i) {
    if (needs[i].account == needs[upto].account) sum += needs[i].nanos;
  }
  return sum;
}

}  // namespace

// DP ADMIT: reserve in all budgets or none. A refusal outweighs a shortage: waiting would be in
// vain.
ReserveResult LeaseHolder::Rep::Check(std::span<const Need> needs, Turn turn,
                                      int64_t now_ns) const {
  const bool contact = InContact(now_ns);
  ReserveResult all = Admit(false);
  for (size_t i = 0; i < needs.size(); ++i) {
    const LeaseAccount* account = At(needs[i].account);
    ReserveResult one = Admit(false);
    if (account == nullptr) {
      one = Refuse(ReserveReason::kForgotten);
    } else if (needs[i].enforce) {
      one = CheckOne(*account, needs[i].nanos + EarlierNeeds(needs, i), turn, contact);
    }
    if (one.admitted()) {
      all.open = all.open || one.open;
      continue;
    }
    if (!all.admitted() && one.outcome == ReserveOutcome::kShort) continue;
    one.need = static_cast<int>(i);
    if (one.outcome == ReserveOutcome::kRefused) return one;
    all = one;
  }
  return all;
}

void LeaseHolder::Rep::Take(std::span<const Need> needs, int64_t now_ns) {
  for (const Need& need : needs) {
    LeaseAccount& account = *At(need.account);
    account.reserved += need.nanos;
    account.at_risk += std::max<Nanos>(0, need.upper_nanos - need.nanos);
    account.demanded += need.nanos;
    account.used_ns = now_ns;
    ++account.calls;
    Changed(account);
  }
  ++calls;
}

void LeaseHolder::Rep::Release(std::span<const Need> needs) {
  for (const Need& need : needs) {
    LeaseAccount* account = At(need.account);
    if (account == nullptr) continue;
    account->reserved -= need.nanos;
    account->at_risk -= std::max<Nanos>(0, need.upper_nanos - need.nanos);
    --account->calls;
    Changed(*account);
  }
  --calls;
}

ReserveResult LeaseHolder::Reserve(std::span<const Need> needs, int64_t now_ns) {
  const ReserveResult result = rep_->Check(needs, Turn::kBehindWaiters, now_ns);
  if (result.admitted()) rep_->Take(needs, now_ns);
  return result;
}

ReserveResult LeaseHolder::Extend(std::span<Need> needs, Nanos more, int64_t now_ns) {
  ReserveResult all = Admit(false);
  const bool contact = rep_->InContact(now_ns);
  for (size_t i = 0; i < needs.size(); ++i) {
    const LeaseAccount* account = rep_->At(needs[i].account);
    if (account == nullptr) return Refuse(ReserveReason::kForgotten);
    if (!needs[i].enforce) continue;
    ReserveResult one = CheckOne(*account, more, Turn::kAny, contact);
    one.need = static_cast<int>(i);
    if (!one.admitted()) return one;
    all.open = all.open || one.open;
  }
  for (Need& need : needs) {
    LeaseAccount& account = *rep_->At(need.account);
    account.at_risk -= std::max<Nanos>(0, need.upper_nanos - need.nanos);
    need.nanos += more;
    account.at_risk += std::max<Nanos>(0, need.upper_nanos - need.nanos);
    account.reserved += more;
    account.demanded += more;
    account.used_ns = now_ns;
    rep_->Changed(account);
  }
  return all;
}

void LeaseHolder::Settle(std::span<const Need> needs, Nanos charge, int64_t now_ns) {
  bool freed = false;
  for (const Need& need : needs) {
    if (LeaseAccount* account = rep_->At(need.account)) account->charged += charge;
    freed = freed || charge < need.nanos;
  }
  rep_->Release(needs);
  // Often nothing came free, and those that wait may be many.
  if (freed) rep_->ServeWaiters(Turn::kBehindSetAside, now_ns);
}

void LeaseHolder::Void(std::span<const Need> needs, int64_t now_ns) {
  rep_->Release(needs);
  rep_->ServeWaiters(Turn::kBehindSetAside, now_ns);
}

void LeaseHolder::Correct(AccountHandle account, Nanos delta) {
  LeaseAccount* found = rep_->At(account);
  if (found == nullptr) return;
  found->charged = std::max<Nanos>(0, found->charged + delta);
  rep_->Changed(*found);
}

// --- Those that wait.

void LeaseHolder::Wait(uint64_t waiter, std::span<const Need> needs) {
  for (const Need& need : needs) {
    if (LeaseAccount* account = rep_->At(need.account)) account->wanted += need.nanos;
  }
  rep_->waiters.push_back({.id = waiter, .needs = {needs.begin(), needs.end()}});
  rep_->wants_request = true;
}

void LeaseHolder::Rep::Unwant(const LeaseWaiter& waiter) {
  for (const Need& need : waiter.needs) {
    if (LeaseAccount* account = At(need.account)) account->wanted -= need.nanos;
  }
}

// In order, all or nothing. Money that came free here goes to the first that it fits behind what
// those before it need (kBehindSetAside): a large need is not starved by small ones. After a grant
// (kAny) the control plane has decided who is served, and whoever fits is.
void LeaseHolder::Rep::ServeWaiters(Turn turn, int64_t now_ns) {
  if (waiters.empty()) return;
  for (const LeaseWaiter& waiter : waiters) {
    for (const Need& need : waiter.needs) {
      if (LeaseAccount* account = At(need.account)) account->set_aside = 0;
    }
  }
  std::erase_if(waiters, [&](const LeaseWaiter& waiter) {
    if (Check(waiter.needs, turn, now_ns).admitted()) {
      Unwant(waiter);
      Take(waiter.needs, now_ns);
      served.push_back(waiter.id);
      return true;
    }
    for (const Need& need : waiter.needs) {
      if (LeaseAccount* account = At(need.account)) account->set_aside += need.nanos;
    }
    return false;
  });
}

std::vector<uint64_t> LeaseHolder::TakeServed() { return std::exchange(rep_->served, {}); }

ReserveResult LeaseHolder::GiveUp(uint64_t waiter, int64_t now_ns) {
  Rep& rep = *rep_;
  if (std::erase(rep.served, waiter) != 0) return Admit(false);
  const auto found = std::ranges::find(rep.waiters, waiter, &LeaseWaiter::id);
  if (found == rep.waiters.end()) return Refuse(ReserveReason::kForgotten);
  const LeaseWaiter mine = std::move(*found);
  rep.waiters.erase(found);
  rep.Unwant(mine);
  ReserveResult result = rep.Check(mine.needs, Turn::kAny, now_ns);
  if (result.admitted()) {
    rep.Take(mine.needs, now_ns);
    return result;
  }
  result.outcome = ReserveOutcome::kRefused;
  rep.ServeWaiters(Turn::kBehindSetAside, now_ns);
  return result;
}

bool LeaseHolder::Cancel(uint64_t waiter, int64_t now_ns) {
  Rep& rep = *rep_;
  const auto found = std::ranges::find(rep.waiters, waiter, &LeaseWaiter::id);
  if (found == rep.waiters.end()) {
    std::erase(rep.served, waiter);
    return false;
  }
  rep.Unwant(*found);
  rep.waiters.erase(found);
  rep.ServeWaiters(Turn::kBehindSetAside, now_ns);
  return true;
}

// Closed is no answer: it may open at any moment (a window that is about to begin, a budget that is
// being counted).
bool LeaseHolder::Rep::OutOfReach(const LeaseWaiter& waiter) const {
  for (size_t i = 0; i < waiter.needs.size(); ++i) {
    const Need& need = waiter.needs[i];
    const LeaseAccount* account = At(need.account);
    if (account == nullptr || account->policy.frozen) return true;
    if (!need.enforce || account->closed || !account->heard_of) continue;
    if (need.nanos + EarlierNeeds(waiter.needs, i) > account->InReach()) return true;
  }
  return false;
}

std::vector<LeaseHolder::Answered> LeaseHolder::AnsweredWaiters() const {
  std::vector<Answered> out;
  for (const LeaseWaiter& waiter : rep_->waiters) {
    if (waiter.answered_ns < 0) continue;
    out.push_back({.waiter = waiter.id,
                   .answered_ns = waiter.answered_ns,
                   .out_of_reach = rep_->OutOfReach(waiter)});
  }
  return out;
}

int64_t LeaseHolder::AnsweredNs(uint64_t waiter) const {
  const auto found = std::ranges::find(rep_->waiters, waiter, &LeaseWaiter::id);
  return found == rep_->waiters.end() ? -1 : found->answered_ns;
}

std::vector<uint64_t> LeaseHolder::DropWaiters() {
  std::vector<uint64_t> dropped;
  for (const LeaseWaiter& waiter : rep_->waiters) {
    rep_->Unwant(waiter);
    dropped.push_back(waiter.id);
  }
  rep_->waiters.clear();
  return dropped;
}

}  // namespace spillway
