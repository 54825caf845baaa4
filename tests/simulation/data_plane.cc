#include "tests/simulation/data_plane.h"

#include <algorithm>
#include <utility>

namespace spillway::simulation {
namespace {

constexpr int64_t kLeaseWaitUs = 50'000;

}  // namespace

DataPlane::DataPlane(World& world, ModelBus& bus, int index)
    : world_(world),
      bus_(bus),
      index_(index),
      instance_("dp" + std::to_string(index)),
      drift_ppm_(world.random.Between(-100, 100)) {}

int64_t DataPlane::NowNs() const {
  const int64_t us = world_.schedule.now_us();
  return us * 1000 + us / 1000 * drift_ppm_;
}

Journal& DataPlane::JournalOf(const std::string& holder) {
  return *std::ranges::find(disk_, holder, &Journal::holder);
}

// A new incarnation; its id is on disk before it is used.
Journal& DataPlane::NewJournal() {
  Journal& journal = disk_.emplace_back();
  const int number = std::exchange(reuse_id_, false) ? incarnations_ : ++incarnations_;
  journal.holder = instance_ + "-" + std::to_string(number);
  journal.Append({.kind = Entry::Kind::kHello});
  journal.synced = 1;
  return journal;
}

void DataPlane::Start() {
  const std::string holder = NewJournal().holder;
  process_ = std::make_unique<Process>(instance_, holder, NowNs());
  ++life_;
  for (Journal& journal : disk_) {
    if (!journal.closed && journal.holder != holder) Replay(journal);
  }
  Beat(life_);
  Pump();
}

// DP RESTART: the old one closes at charged + orphans at reserved, after power loss at the synced
// g - r where that is more.
void DataPlane::Replay(Journal& journal) {
  std::map<int, Entry> open;
  std::map<Key, Nanos> charges;
  std::map<Key, Nanos> levels;
  for (const Entry& entry : journal.entries) {
    if (entry.kind == Entry::Kind::kStarted) open[entry.call] = entry;
    if (entry.kind == Entry::Kind::kFinished || entry.kind == Entry::Kind::kAbandoned) {
      open.erase(entry.call);
      for (const Key& key : entry.keys) charges[key] += entry.nanos;
    }
    if (entry.kind == Entry::Kind::kLevel) levels[entry.keys[0]] = entry.granted - entry.returned;
  }
  for (const auto& [call, started] : open) {
    const Nanos nanos =
        world_.naive == Naive::kOrphansAtEstimate ? started.likely / 2 : started.nanos;
    for (const Key& key : started.keys) charges[key] += nanos;
    journal.Append(
        {.kind = Entry::Kind::kAbandoned, .call = call, .keys = started.keys, .nanos = nanos});
  }
  if (journal.cut && world_.naive != Naive::kCloseAtJournal) {
    for (const auto& [key, level] : levels) charges[key] = std::max(charges[key], level);
  }
  journal.Append({.kind = Entry::Kind::kClosed, .charges = charges});
  journal.closed = true;
}

void DataPlane::PowerCut() {
  Kill();
  for (Journal& journal : disk_) {
    const auto unsynced = static_cast<int64_t>(journal.entries.size() - journal.synced);
    if (unsynced == 0) continue;
    journal.entries.resize(journal.synced + world_.random.Below(unsynced));
    journal.closed = journal.entries.back().kind == Entry::Kind::kClosed;
    journal.synced = journal.entries.size();
    journal.cut = true;
  }
  for (Journal& journal : disk_) {
    if (!journal.closed) journal.cut = true;
  }
}

std::vector<std::string> DataPlane::Wipe() {
  Kill();
  std::vector<std::string> lost;
  for (const Journal& journal : disk_) {
    const bool in_stream = journal.closed && journal.shipped >= journal.entries.size();
    if (!in_stream) lost.push_back(journal.holder);
  }
  disk_.clear();
  reuse_id_ = world_.naive == Naive::kSameIdAfterWipe;
  return lost;
}

// --- Time.

void DataPlane::Beat(uint64_t life) {
  if (!up() || life != life_) return;
  process_->holders.Tick(NowNs(), WallMs());
  for (const Journal& journal : disk_) {
    const bool stuck = journal.shipped > static_cast<size_t>(journal.committed);
    if (stuck && world_.schedule.now_us() - progress_us_ > 3'000'000) {
      progress_us_ = world_.schedule.now_us();
      for (Journal& each : disk_) {
        const int64_t from = std::max(each.committed, each.freed);
        each.shipped = std::min(each.shipped, static_cast<size_t>(from));
      }
      break;
    }
  }
  SendRequests();
  Ship();
  Pump();
  world_.schedule.In(world_.random.Between(900'000, 1'100'000), [this, life] { Beat(life); });
}

// After anything happened: requests that are due at once, levels to be recorded.
void DataPlane::Pump() {
  Served();
  for (LeaseHolder* holder : process_->holders.Ended()) {
    Entry closed{.kind = Entry::Kind::kClosed};
    for (const v1::AccountCharge& charge : holder->Closing()) {
      closed.charges[KeyOf(charge.account())] = charge.charged();
    }
    Journal& journal = JournalOf(holder->id());
    journal.Append(std::move(closed));
    journal.closed = true;
    process_->holders.Drop(holder->id());
  }
  bool wants = false;
  bool waits = false;
  for (LeaseHolder* holder : process_->holders.All()) {
    wants = wants || holder->WantsRequest();
    waits = waits || holder->waiting() > 0;
  }
  if (wants) SendRequests();
  Sync();
  if (waits && !process_->resending) {
    process_->resending = true;
    world_.schedule.In(15'000, [this, life = life_] {
      if (!up() || life != life_) return;
      process_->resending = false;
      if (process_->holders.current().waiting() == 0) return;
      SendRequests();
      Pump();
    });
  }
}

void DataPlane::SendRequests() {
  for (LeaseHolder* holder : process_->holders.All()) {
    v1::LeaseRequest request = holder->MakeRequest(NowNs());
    if (world_.naive == Naive::kReturnIsAChange) {
      for (v1::HolderAccount& told : *request.mutable_accounts()) {
        Nanos& before = told_returned_[{holder->id(), KeyOf(told.account())}];
        told.set_returned(told.returned() - std::exchange(before, told.returned()));
      }
    }
    bus_.Send(index_, [this, request] { to_control(request); });
  }
}

// One flush at a time; it covers what was appended before it began.
void DataPlane::Sync() {
  if (process_->syncing) return;
  std::map<std::string, uint64_t> tickets;
  for (LeaseHolder* holder : process_->holders.All()) {
    if (!holder->HasLevels()) continue;
    const LeaseHolder::Levels taken = holder->TakeLevels();
    for (const AccountLevel& level : taken.levels) {
      JournalOf(holder->id())
          .Append({.kind = Entry::Kind::kLevel,
                   .keys = {KeyOf(level.key)},
                   .granted = level.granted,
                   .returned = level.returned});
    }
    tickets[holder->id()] = taken.ticket;
    if (world_.naive == Naive::kSpendUnrecorded) holder->Recorded(taken.ticket, NowNs());
  }
  std::map<std::string, size_t> upto;
  for (const Journal& journal : disk_) {
    if (journal.synced < journal.entries.size()) upto[journal.holder] = journal.entries.size();
  }
  if (upto.empty()) return;
  process_->syncing = true;
  world_.schedule.In(world_.random.Between(300, 4'000), [this, life = life_, tickets, upto] {
    if (!up() || life != life_) return;
    process_->syncing = false;
    for (const auto& [holder, entries] : upto) {
      Journal& journal = JournalOf(holder);
      journal.synced = std::max(journal.synced, entries);
    }
    for (const auto& [id, ticket] : tickets) {
      if (LeaseHolder* holder = process_->holders.Find(id)) holder->Recorded(ticket, NowNs());
    }
    Ship();
    Pump();
  });
}

// Ships only what is synced: a power cut must not take back what others have seen.
void DataPlane::Ship() {
  for (const Journal& journal : disk_) {
    if (journal.shipped >= journal.synced) continue;
    ModelBus::Run run{.holder = journal.holder, .instance = instance_, .entries = {}};
    const size_t end = std::min(journal.synced, journal.shipped + 64);
    for (size_t i = journal.shipped; i < end; ++i) run.entries.push_back(journal.entries[i]);
    bus_.Send(index_, [this, run, end, life = life_] {
      bus_.stream.push_back(run);
      stream_grew();
      bus_.Send(index_, [this, holder = run.holder, end, life] {
        if (!up() || life != life_) return;
        const auto found = std::ranges::find(disk_, holder, &Journal::holder);
        if (found != disk_.end()) found->shipped = std::max(found->shipped, end);
      });
    });
  }
}

// --- Messages.

void DataPlane::OnGrant(const v1::LeaseGrant& grant) {
  if (!up()) return;
  const LeaseHolder::GrantOutcome outcome = process_->holders.OnGrant(grant, NowNs());
  for (const v1::GrantedAccount& granted : grant.accounts()) {
    world_.touched.insert(KeyOf(granted.account()));
  }
  if (outcome.new_epoch) {
    for (Journal& journal : disk_) journal.shipped = static_cast<size_t>(journal.freed);
  }
  if (outcome.tombstoned) {
    ++world_.figures.tombstones;
    Served();
    const std::string fresh = NewJournal().holder;
    for (const uint64_t waiter : process_->holders.Replace(fresh, NowNs())) {
      const auto found = process_->waiting.find(waiter);
      const Waiting moved = std::move(found->second);
      process_->waiting.erase(found);
      Request(moved.wish, moved.done, true);
    }
  }
  Pump();
}

void DataPlane::OnRecall(const v1::Recall& recall) {
  if (!up()) return;
  process_->holders.OnRecall(recall);
  Pump();
}

void DataPlane::OnMarks(const std::map<std::string, Mark>& marks) {
  if (!up()) return;
  for (Journal& journal : disk_) {
    const auto found = marks.find(journal.holder);
    if (found == marks.end()) continue;
    if (found->second.committed != journal.committed) progress_us_ = world_.schedule.now_us();
    journal.committed = found->second.committed;
    journal.freed = std::max(journal.freed, found->second.kept_from);
  }
}

// --- Requests and calls.

void DataPlane::Request(const Wish& wish, const std::function<void(bool)>& done, bool again) {
  LeaseHolder& holder = process_->holders.current();
  const int64_t time_ms = process_->holders.WindowTimeMs(NowNs(), WallMs());
  std::vector<Need> needs;
  std::vector<Key> keys;
  bool capped = false;
  for (const auto& [id, subject] : wish.budgets) {
    capped = capped || world_.BudgetOf(id).policy.on_overrun == v1::ON_OVERRUN_CAP;
  }
  for (const auto& [id, subject] : wish.budgets) {
    const Budget& budget = world_.BudgetOf(id);
    const WindowSpan span =
        WindowAt(budget.terms.window, budget.terms.rolling_hours, budget.terms.time_zone, time_ms);
    needs.push_back({.account = holder.Open(id, subject, span, budget.policy),
                     .nanos = capped ? wish.upper : wish.likely,
                     .upper_nanos = wish.upper});
    keys.emplace_back(id, subject, span.start_s);
    world_.touched.insert(keys.back());
  }
  const ReserveResult result = holder.Reserve(needs, NowNs());
  if (result.admitted()) {
    StartCall(holder, needs, keys, wish, result.open);
    ++world_.figures.admitted;
    done(true);
  } else if (result.outcome == ReserveOutcome::kShort) {
    const uint64_t waiter = next_waiter_++;
    ++world_.figures.waited;
    holder.Wait(waiter, needs);
    process_->waiting[waiter] = {.wish = wish,
                                 .holder = &holder,
                                 .needs = needs,
                                 .keys = keys,
                                 .done = done,
                                 .money_was_there = money_is_there(keys, needs[0].nanos),
                                 .again = again};
    world_.schedule.In(kLeaseWaitUs, [this, waiter, life = life_] { Decide(waiter, life); });
  } else {
    ++world_.figures.refused;
    done(false);
  }
  Pump();
}

void DataPlane::Served() {
  for (LeaseHolder* holder : process_->holders.All()) {
    for (const uint64_t waiter : holder->TakeServed()) {
      const auto found = process_->waiting.find(waiter);
      const Waiting served = std::move(found->second);
      process_->waiting.erase(found);
      StartCall(*holder, served.needs, served.keys, served.wish, false);
      ++world_.figures.admitted;
      served.done(true);
    }
  }
}

// lease_wait is over.
void DataPlane::Decide(uint64_t waiter, uint64_t life) {
  if (!up() || life != life_) return;
  const auto found = process_->waiting.find(waiter);
  if (found == process_->waiting.end()) return;
  const Waiting waited = std::move(found->second);
  process_->waiting.erase(found);
  const ReserveResult result = waited.holder->GiveUp(waiter, NowNs());
  if (result.admitted()) {
    StartCall(*waited.holder, waited.needs, waited.keys, waited.wish, result.open);
    ++world_.figures.admitted;
  } else {
    ++world_.figures.refused;
    const bool is_there = money_is_there(waited.keys, waited.needs[0].nanos);
    if (waited.money_was_there && is_there) ++world_.figures.falsely_refused;
  }
  waited.done(result.admitted());
  Pump();
}

// started is journalled before the first byte goes upstream.
void DataPlane::StartCall(LeaseHolder& holder, const std::vector<Need>& needs,
                          const std::vector<Key>& keys, const Wish& wish, bool open) {
  const int id = static_cast<int>(world_.truth.calls.size());
  world_.truth.calls.push_back({.id = id,
                                .holder = holder.id(),
                                .keys = keys,
                                .reserved = needs[0].nanos,
                                .reserved_first = needs[0].nanos,
                                .upper = wish.upper,
                                .actual = std::min(wish.actual, wish.upper)});
  JournalOf(holder.id())
      .Append({.kind = Entry::Kind::kStarted,
               .call = id,
               .keys = keys,
               .nanos = needs[0].nanos,
               .likely = wish.likely});
  for (const Key& key : keys) {
    Truth::Account& account = world_.truth.accounts[key];
    account.running += needs[0].nanos;
    account.by_holder[holder.id()] += needs[0].nanos;
    auto& [risk, peak] = account.risk[holder.id()];
    risk += wish.upper - needs[0].nanos;
    peak = std::max(peak, risk);
    world_.touched.insert(key);
  }
  if (open) NoteOpen(holder, needs, keys);
  process_->active[id] = {.holder = &holder, .needs = needs};
  const bool slow = world_.random.PerMille(30);
  const int64_t lasts_us = world_.random.Between(2'000, slow ? 8'000'000 : 400'000);
  const bool finish = wish.upper > needs[0].nanos;
  if (finish && world_.random.PerMille(300)) {
    world_.schedule.In(lasts_us / 2, [this, id, life = life_] {
      if (up() && life == life_) Extend(id);
    });
  }
  world_.schedule.In(lasts_us, [this, id, life = life_] { EndCall(id, life); });
}

// The printed bound of `open`: the remainder that was heard, once per silence.
void DataPlane::NoteOpen(LeaseHolder& holder, const std::vector<Need>& needs,
                         const std::vector<Key>& keys) {
  for (size_t i = 0; i < needs.size(); ++i) {
    const AccountFigures figures = holder.FigureOf(needs[i].account);
    if (figures.free() >= 0) continue;
    Truth::Account& account = world_.truth.accounts[keys[i]];
    if (!account.open_episodes.insert({holder.id(), holder.contact_ns()}).second) continue;
    account.open_allowance += figures.heard ? std::max<Nanos>(0, figures.remainder)
                                            : world_.BudgetOf(std::get<0>(keys[i])).limit_max;
  }
}

void DataPlane::Extend(int call) {
  const auto found = process_->active.find(call);
  if (found == process_->active.end()) return;
  Active& active = found->second;
  const Nanos more = (active.needs[0].upper_nanos - active.needs[0].nanos) / 2;
  if (!active.holder->Extend(active.needs, more, NowNs()).admitted()) return;
  Call& truth = world_.truth.calls[call];
  truth.reserved += more;
  for (const Key& key : truth.keys) {
    world_.truth.accounts[key].running += more;
    world_.truth.accounts[key].by_holder[truth.holder] += more;
  }
  Pump();
}

// The provider ends it and bills it, whether this process still lives or not.
void DataPlane::EndCall(int id, uint64_t life) {
  Call& call = world_.truth.calls[id];
  call.billed = true;
  for (const Key& key : call.keys) {
    Truth::Account& account = world_.truth.accounts[key];
    account.running -= call.reserved;
    account.billed += call.actual;
    account.by_holder[call.holder] += call.actual - call.reserved;
    world_.touched.insert(key);
  }
  if (!up() || life != life_) return;
  const auto found = process_->active.find(id);
  const Active active = std::move(found->second);
  process_->active.erase(found);
  for (const Key& key : call.keys) {
    world_.truth.accounts[key].risk[active.holder->id()].first -= call.upper - call.reserved_first;
  }
  // A client that left: the truth is not known, what was reserved is held.
  const bool left = world_.random.PerMille(50) && call.actual <= active.needs[0].nanos;
  const Nanos charge = left ? active.needs[0].nanos : call.actual;
  JournalOf(active.holder->id())
      .Append({.kind = Entry::Kind::kFinished, .call = id, .keys = call.keys, .nanos = charge});
  active.holder->Settle(active.needs, charge, NowNs());
  Pump();
}

// --- For the invariants.

namespace {

template <typename Sum>
Nanos Over(LeaseHolders& holders, const Key& key, const std::string& only, const Sum& sum) {
  Nanos total = 0;
  const auto& [budget, subject, start] = key;
  for (LeaseHolder* holder : holders.All()) {
    if (!only.empty() && holder->id() != only) continue;
    total += sum(holder->FigureOf(holder->Find(budget, subject, start)));
  }
  return total;
}

}  // namespace

Nanos DataPlane::Free(const Key& key, const std::string& holder) const {
  if (!up()) return 0;
  return Over(process_->holders, key, holder,
              [](const AccountFigures& figures) { return std::max<Nanos>(0, figures.free()); });
}

Nanos DataPlane::Spent(const Key& key) const {
  if (!up()) return 0;
  return Over(process_->holders, key, "",
              [](const AccountFigures& figures) { return figures.charged + figures.reserved; });
}

bool DataPlane::IsLive(const std::string& holder) const {
  return up() && process_->holders.Find(holder) != nullptr;
}

std::vector<std::string> DataPlane::LiveHolders() const {
  std::vector<std::string> out;
  if (!up()) return out;
  for (const LeaseHolder* holder : process_->holders.All()) out.push_back(holder->id());
  return out;
}

bool DataPlane::Quiet() const {
  return std::ranges::all_of(disk_, [](const Journal& journal) {
    return journal.committed >= static_cast<int64_t>(journal.entries.size());
  });
}

}  // namespace spillway::simulation
