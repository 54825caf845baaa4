// A lease request: figures by maximum, then grants to those that wait, then stock.
#include <algorithm>
#include <utility>

#include "controlplane/budgets/lease_keeper_rep.h"

namespace spillway {
namespace {

constexpr Nanos kFigureMax = Nanos{1} << 60;
constexpr size_t kNameMax = 512;
constexpr int kNeedsMax = 64;      // of one request
constexpr int kRecallMax = 1'000;  // accounts of one recall

bool Sane(Nanos value) { return value >= 0 && value <= kFigureMax; }

bool Sane(const v1::HolderAccount& told) {
  return !told.account().budget_id().empty() && told.account().budget_id().size() <= kNameMax &&
         told.account().subject().size() <= kNameMax && Sane(told.granted_seen()) &&
         Sane(told.returned()) && told.returned() <= told.granted_seen() && Sane(told.charged()) &&
         Sane(told.reserved()) && Sane(told.target());
}

}  // namespace

LeaseKeeper::RequestOutcome LeaseKeeper::OnRequest(const v1::LeaseRequest& request) {
  Rep& rep = *rep_;
  if (request.epoch() > rep.epoch) return RequestOutcome::kHigherEpoch;
  if (request.holder().empty() || request.holder().size() > 64 || request.instance().size() > 64 ||
      request.holder() == kSeedHolder) {
    return RequestOutcome::kInvalid;
  }
  KnownHolder& holder = rep.HolderOf(request.holder());
  // Its id is no secret: nobody else may give back what it holds.
  if (!holder.row.instance.empty() && holder.row.instance != request.instance())
    return RequestOutcome::kInvalid;
  rep.OnRoster(holder, request.instance());
  holder.heard_ms = rep.TimeMs();
  const bool newest = request.number() >= holder.last_number;
  holder.last_number = std::max(holder.last_number, request.number());
  if (newest) rep.DropPending(holder);
  const bool all_taken = rep.TakeFigures(request, holder);
  const bool reconciles = request.whole() && all_taken && request.epoch() == rep.epoch;
  if (reconciles && std::exchange(holder.row.reconciled_epoch, rep.epoch) != rep.epoch) {
    rep.Touch(holder);
    rep.CheckGate();
  }
  // Those that waited before this request take what it gave back.
  rep.RetryReleased();
  Rep::Serving serving = rep.Prepare(request, holder);
  // An overtaken copy is answered with the levels as they are: what it says of its needs is old.
  if (newest) {
    int served = 0;
    for (const v1::Waiting& waiting : request.waiting()) {
      if (++served > rep.options.waiting_per_request_max) break;
      rep.ServeWaiting(serving, waiting);
    }
    rep.Stock(serving);
  }
  rep.Answer(serving, request);
  if (serving.lacking) {
    rep.Recall(serving);
    rep.Keep(serving, request);
  }
  return RequestOutcome::kAnswered;
}

// g, r, p = max(own, reported g, r, c). False when an account was refused. One of a budget that
// nobody knows is not: nothing was granted from it that could count.
bool LeaseKeeper::Rep::TakeFigures(const v1::LeaseRequest& request, KnownHolder& holder) {
  bool all = request.accounts_size() <= options.accounts_per_request_max;
  int taken = 0;
  for (const v1::HolderAccount& told : request.accounts()) {
    if (!Sane(told) || ++taken > options.accounts_per_request_max) {
      all = false;
      continue;
    }
    if (!Knows(told.account().budget_id())) {
      ++unknown_accounts;
      continue;
    }
    LeasePool& pool = PoolOf(told.account().budget_id(), told.account().subject());
    Update(pool, told.account().window_start_s(), holder, [&](LeaseEntry& entry) {
      entry.granted = std::max(entry.granted, told.granted_seen());
      entry.returned = std::max(entry.returned, told.returned());
      entry.reported = std::max(entry.reported, told.charged());
      if (request.number() >= holder.last_number) entry.reserved = told.reserved();
    });
  }
  return all;
}

LeaseKeeper::Rep::Serving LeaseKeeper::Rep::Prepare(const v1::LeaseRequest& request,
                                                    KnownHolder& holder) {
  Serving serving{.holder = &holder, .lines = {}, .by_entry = {}, .unknown = {}};
  int taken = 0;
  for (const v1::HolderAccount& told : request.accounts()) {
    if (!Sane(told) || ++taken > options.accounts_per_request_max) continue;
    Line* line = LineOf(serving, told.account());
    if (line == nullptr) continue;
    line->credit = line->entry->Base() - told.charged() - told.reserved();
    line->target = told.target();
  }
  return serving;
}

// nullptr: nobody knows its budget; it is only answered. Valid until the next.
LeaseKeeper::Rep::Line* LeaseKeeper::Rep::LineOf(Serving& serving, const v1::Account& account) {
  if (!Knows(account.budget_id())) {
    serving.unknown.emplace(account.budget_id(), account.subject(), account.window_start_s());
    return nullptr;
  }
  LeasePool& pool = PoolOf(account.budget_id(), account.subject());
  LeaseEntry& entry = EntryOf(pool, account.window_start_s(), *serving.holder);
  const auto [found, fresh] = serving.by_entry.try_emplace(&entry, serving.lines.size());
  if (fresh) {
    Line& line =
        serving.lines.emplace_back(Line{.pool = &pool,
                                        .window_start_s = account.window_start_s(),
                                        .window = &WindowOf(pool, account.window_start_s()),
                                        .entry = &entry});
    line.credit = entry.Base() - entry.reported - entry.reserved;
    Classify(line);
    // g = r + base: what was spent beyond the level is covered, and exposure stays what it is.
    if (line.open && serving.holder->MayBeGranted()) Give(serving, line, 0);
  }
  return &serving.lines[found->second];
}

// No grant if h closed or tombstoned (ServeWaiting, Stock), w not begun, budget frozen, or gate(w)
// shut. A window that is over is served for a moment, for those that wait in it, and never stocked.
void LeaseKeeper::Rep::Classify(Line& line) const {
  const KnownBudget& budget = *line.pool->budget;
  const WindowSpan& span = line.window->span;
  const int64_t now_ms = TimeMs();
  line.open = budget.known && line.window->valid && !budget.terms.frozen &&
              span.start_s <= now_ms / 1000 &&
              span.end_s > (now_ms - options.late_window_ms) / 1000 &&
              !GateShut(budget, line.window_start_s);
  line.stocked = line.open && span.end_s > now_ms / 1000;
}

void LeaseKeeper::Rep::Give(Serving& serving, Line& line, Nanos amount) {
  const Nanos level =
      SaturatingSum(SaturatingSum(line.entry->returned, line.entry->Base()), amount);
  if (line.entry->granted == level) return;
  Update(*line.pool, line.window_start_s, *serving.holder,
         [&](LeaseEntry& entry) { entry.granted = level; });
  line.credit += amount;
  if (amount > 0) serving.given = true;
}

// One waiting vector: all its deficits fit what remains, or nothing is given and those that do not
// fit are marked lacking.
void LeaseKeeper::Rep::ServeWaiting(Serving& serving, const v1::Waiting& waiting) {
  if (!serving.holder->MayBeGranted() || waiting.needs_size() > kNeedsMax) return;
  std::vector<size_t> touched;
  for (const v1::Need& need : waiting.needs()) {
    if (!Sane(need.nanos()) || need.account().budget_id().empty() ||
        need.account().budget_id().size() > kNameMax ||
        need.account().subject().size() > kNameMax) {
      return;
    }
    if (Line* line = LineOf(serving, need.account())) line->needed = 0;
  }
  bool fits = true;
  for (const v1::Need& need : waiting.needs()) {
    Line* line = LineOf(serving, need.account());
    if (line == nullptr) {
      fits = false;
      continue;
    }
    const auto at = static_cast<size_t>(line - serving.lines.data());
    if (std::ranges::find(touched, at) == touched.end()) touched.push_back(at);
    line->needed = SaturatingSum(line->needed, need.nanos());
  }
  boost::unordered_flat_map<const LeasePool*, Nanos>
      taken;  // two buckets of a rolling one share a rest
  for (const size_t i : touched) {
    Line& line = serving.lines[i];
    const Nanos deficit = line.Deficit();
    if (deficit == 0) continue;
    if (!line.open) {
      fits = false;
      continue;
    }
    Nanos& of_pool = taken[line.pool];
    of_pool = SaturatingSum(of_pool, deficit);
    if (of_pool <= RemainderOf(*line.pool, line.window_start_s)) continue;
    fits = false;
    line.lacking = true;
    serving.lacking = true;
    line.pool->scarce_until_ms = TimeMs() + options.scarce_ms;
  }
  if (!fits) return;
  for (const size_t i : touched) {
    Line& line = serving.lines[i];
    const Nanos deficit = line.Deficit();
    if (deficit > 0) Give(serving, line, deficit);
    line.credit -= line.needed;
  }
}

// Stock up min(target - credit, rem / 2N), only if neither lacking nor scarce.
void LeaseKeeper::Rep::Stock(Serving& serving) {
  if (!serving.holder->MayBeGranted()) return;
  const int64_t shares = 2 * FleetSize();
  for (Line& line : serving.lines) {
    if (!line.stocked || line.lacking || line.pool->scarce_until_ms > TimeMs()) continue;
    const Nanos rest = RemainderOf(*line.pool, line.window_start_s);
    const Nanos stock = std::min(line.target - line.credit, rest / shares);
    if (stock > 0) Give(serving, line, stock);
  }
}

// The new levels: absolute, so that a lost answer is made good by the next.
void LeaseKeeper::Rep::Answer(const Serving& serving, const v1::LeaseRequest& request) {
  const KnownHolder& holder = *serving.holder;
  v1::LeaseGrant grant;
  grant.set_holder(holder.row.holder);
  grant.set_epoch(epoch);
  grant.set_control_plane_time_ms(TimeMs());
  grant.set_tombstoned(!holder.MayBeGranted());
  grant.set_fleet_size(FleetSize());
  grant.set_answers(request.number());
  for (const Line& line : serving.lines) {
    v1::GrantedAccount& granted = *grant.add_accounts();
    v1::Account& account = *granted.mutable_account();
    account.set_budget_id(line.pool->budget->terms.id);
    account.set_subject(line.pool->subject);
    account.set_window_start_s(line.window_start_s);
    granted.set_granted(line.entry->granted);
    granted.set_closed(!line.open);
    granted.set_remainder(line.open ? RemainderOf(*line.pool, line.window_start_s) : 0);
    if (line.lacking) {
      granted.set_elsewhere(ElsewhereOf(*line.pool, line.window_start_s, serving.holder));
    }
  }
  for (const auto& [budget_id, subject, start_s] : serving.unknown) {
    v1::GrantedAccount& refused = *grant.add_accounts();
    refused.mutable_account()->set_budget_id(std::string(budget_id));
    refused.mutable_account()->set_subject(std::string(subject));
    refused.mutable_account()->set_window_start_s(start_s);
    refused.set_closed(true);
  }
  effects.grants.push_back({.instance = holder.row.instance, .grant = std::move(grant)});
}

// Lacking: a recall to all others. Nothing idle elsewhere, or asked for a moment ago: none.
void LeaseKeeper::Rep::Recall(const Serving& serving) {
  v1::Recall recall;
  recall.set_epoch(epoch);
  recall.set_holder(serving.holder->row.holder);
  for (const Line& line : serving.lines) {
    if (!line.lacking || TimeMs() - line.pool->recalled_ms < options.recall_every_ms) continue;
    if (RecallableOf(*line.pool, line.window_start_s, serving.holder) <= 0) continue;
    line.pool->recalled_ms = TimeMs();
    v1::Account& account = *recall.add_accounts();
    account.set_budget_id(line.pool->budget->terms.id);
    account.set_subject(line.pool->subject);
    account.set_window_start_s(line.window_start_s);
  }
  if (recall.accounts_size() > 0) effects.recalls.push_back(std::move(recall));
}

// The limit fell below what is out: everybody gives back what is idle.
void LeaseKeeper::Rep::RecallExcess(KnownBudget& budget) {
  const bool rolling = budget.terms.window == WindowKind::kRolling;
  const int64_t current_s = CurrentStart(budget);
  v1::Recall recall;
  recall.set_epoch(epoch);
  for (auto& [subject, pool] : budget.pools) {
    if (RemainderOf(pool, current_s) >= 0) continue;
    for (const auto& [start_s, window] : pool.windows) {
      if (start_s != current_s && !rolling) continue;
      if (RecallableOf(pool, start_s, nullptr) <= 0) continue;
      pool.recalled_ms = TimeMs();
      v1::Account& account = *recall.add_accounts();
      account.set_budget_id(budget.terms.id);
      account.set_subject(subject);
      account.set_window_start_s(start_s);
      if (recall.accounts_size() == kRecallMax) {
        effects.recalls.push_back(recall);
        recall.clear_accounts();
      }
    }
  }
  if (recall.accounts_size() > 0) effects.recalls.push_back(std::move(recall));
}

// --- Retry on any release.

void LeaseKeeper::Rep::Keep(Serving& serving, const v1::LeaseRequest& request) {
  KnownHolder& holder = *serving.holder;
  holder.pending = request;
  holder.pending_ms = TimeMs();
  holder.pending_order = next_order++;
  for (const Line& line : serving.lines) {
    if (line.lacking && line.pool->lacking.insert(&holder).second)
      holder.lacks.push_back(line.pool);
  }
}

void LeaseKeeper::Rep::DropPending(KnownHolder& holder) {
  if (!holder.pending) return;
  for (LeasePool* pool : std::exchange(holder.lacks, {})) pool->lacking.erase(&holder);
  holder.pending.reset();
}

void LeaseKeeper::Rep::RetryReleased() {
  if (released.empty()) return;
  std::vector<KnownHolder*> waiting;
  for (LeasePool* pool : std::exchange(released, {})) {
    pool->released = false;
    waiting.insert(waiting.end(), pool->lacking.begin(), pool->lacking.end());
  }
  std::ranges::sort(waiting, {}, &KnownHolder::pending_order);
  const auto [first, last] = std::ranges::unique(waiting);
  waiting.erase(first, last);
  for (KnownHolder* holder : waiting) Retry(*holder);
}

void LeaseKeeper::Rep::Retry(KnownHolder& holder) {
  if (!holder.pending) return;
  if (TimeMs() - holder.pending_ms > options.pending_ms || !holder.MayBeGranted()) {
    DropPending(holder);
    return;
  }
  const v1::LeaseRequest request = *holder.pending;
  Serving serving = Prepare(request, holder);
  for (const v1::Waiting& waiting : request.waiting()) ServeWaiting(serving, waiting);
  if (serving.given) Answer(serving, request);
  if (!serving.lacking) DropPending(holder);
}

}  // namespace spillway
