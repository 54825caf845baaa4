#include "tests/simulation/control_plane.h"

#include <algorithm>
#include <utility>

namespace spillway::simulation {
namespace {

constexpr int64_t kDeadUs = 20'000'000;

Key KeyOf(const LeaseAccountRow& row) { return {row.budget_id, row.subject, row.window_start_s}; }

}  // namespace

void ControlPlane::Begin(bool restored, bool stream_damaged) {
  process_ = std::make_unique<Process>();
  Process& now = *process_;
  ++life_;
  now.epoch = ++bus_.epoch;
  std::vector<BudgetTerms> terms;
  terms.reserve(world_.budgets.size());
  for (const Budget& budget : world_.budgets) terms.push_back(budget.terms);
  now.keeper.SetBudgets(terms);
  now.keeper.Load(disk_.keeper);
  for (const auto& [id, row] : disk_.holders) {
    now.keeper.Load(row);
    now.heard_us[id] = world_.schedule.now_us();
  }
  for (const auto& [key, row] : disk_.accounts) {
    now.keeper.Load(row);
    now.seen[key] = row;
  }
  now.keeper.Begin(now.epoch, world_.TrueWallMs() + wall_offset_ms_,
                   world_.schedule.now_us() * 1000);
  if (restored && world_.naive != Naive::kRestoreWithoutGate) {
    now.keeper.BeginRestore(stream_damaged);
    now.replaying = true;
  }
  now.replaying = now.replaying || (disk_.keeper.gated && !disk_.keeper.replayed);
  Collect();
  Flush();
  Beat(life_);
  StreamGrew();
  world_.touched_all = true;
}

void ControlPlane::Restore() {
  Kill();
  disk_ = *backup_;
  const bool damaged = disk_.ledger.stream_identity != bus_.stream_identity;
  Begin(true, damaged);
}

void ControlPlane::Advance() {
  process_->keeper.Advance(world_.TrueWallMs() + wall_offset_ms_, world_.schedule.now_us() * 1000);
}

void ControlPlane::BudgetsChanged() {
  if (!up()) return;
  Advance();
  for (const Budget& budget : world_.budgets) process_->keeper.SetBudget(budget.terms);
  Collect();
}

// --- Effects: one synced batch, then the messages.

void ControlPlane::Collect() {
  if (!process_->keeper.HasEffects()) return;
  LeaseEffects effects = process_->keeper.TakeEffects();
  for (const LeaseAccountRow& row : effects.accounts) {
    process_->seen[{KeyOf(row), row.holder}] = row;
    world_.touched.insert(KeyOf(row));
  }
  if (world_.naive == Naive::kSendUnsynced) Send(effects);
  process_->unsynced.push_back(std::move(effects));
  if (std::exchange(process_->flushing, true)) return;
  world_.schedule.In(world_.random.Between(200, 3'000), [this, life = life_] {
    if (up() && life == life_) Flush();
  });
}

void ControlPlane::Flush() {
  process_->flushing = false;
  for (const LeaseEffects& effects : std::exchange(process_->unsynced, {})) {
    Persist(effects);
    if (world_.naive != Naive::kSendUnsynced) Send(effects);
  }
}

// I2: g, r, p, final and T never decrease.
void ControlPlane::Persist(const LeaseEffects& effects) {
  for (const LeaseAccountRow& row : effects.dropped_accounts) {
    disk_.accounts.erase({KeyOf(row), row.holder});
    process_->seen.erase({KeyOf(row), row.holder});
  }
  for (const LeaseAccountRow& row : effects.accounts) {
    LeaseAccountRow& old = disk_.accounts[{KeyOf(row), row.holder}];
    if (row.granted < old.granted || row.returned < old.returned || row.reported < old.reported ||
        row.final.value_or(0) < old.final.value_or(0) || (old.final && !row.final)) {
      world_.Violation("I2: a figure of " + row.budget_id + " went back");
    }
    old = row;
  }
  for (const std::string& holder : effects.dropped_holders) disk_.holders.erase(holder);
  for (const LeaseHolderRow& row : effects.holders) disk_.holders[row.holder] = row;
  if (!effects.keeper) return;
  if (effects.keeper->time_ms < disk_.keeper.time_ms) world_.Violation("I2: T went back");
  disk_.keeper = *effects.keeper;
}

void ControlPlane::Send(const LeaseEffects& effects) {
  for (const LeaseEffects::Outgoing& out : effects.grants) {
    for (size_t i = 0; i < data_planes_.size(); ++i) {
      DataPlane* to = data_planes_[i];
      if (to->instance() != out.instance) continue;
      bus_.Send(static_cast<int>(i), [to, grant = out.grant] { to->OnGrant(grant); });
    }
  }
  if (world_.naive == Naive::kNoRecall) return;
  for (const v1::Recall& recall : effects.recalls) {
    for (size_t i = 0; i < data_planes_.size(); ++i) {
      DataPlane* to = data_planes_[i];
      bus_.Send(static_cast<int>(i), [to, recall] { to->OnRecall(recall); });
    }
  }
}

// --- Requests.

void ControlPlane::OnRequest(v1::LeaseRequest request) {
  if (!up()) return;
  Process& now = *process_;
  if (world_.naive == Naive::kReturnIsAChange) {
    for (v1::HolderAccount& told : *request.mutable_accounts()) {
      Nanos& sum = now.returned_sum[{simulation::KeyOf(told.account()), request.holder()}];
      sum += told.returned();
      told.set_returned(std::clamp<Nanos>(sum, 0, told.granted_seen()));
    }
  }
  Advance();
  Collect();
  now.heard_us[request.holder()] = world_.schedule.now_us();
  const auto outcome = now.keeper.OnRequest(request);
  if (outcome != LeaseKeeper::RequestOutcome::kAnswered) {
    world_.Violation("a request was not answered");
    return;
  }
  for (const v1::HolderAccount& told : request.accounts()) {
    world_.touched.insert(simulation::KeyOf(told.account()));
  }
  Collect();
  if (!now.unsynced.empty()) CheckGrants(request, now.unsynced.back());
}

// I1: whatever a grant added to the exposure, it stays within the limit.
void ControlPlane::CheckGrants(const v1::LeaseRequest& request, const LeaseEffects& effects) {
  for (const LeaseAccountRow& row : effects.accounts) {
    Nanos told_level = 0;
    for (const v1::HolderAccount& told : request.accounts()) {
      if (row.holder == request.holder() && simulation::KeyOf(told.account()) == KeyOf(row)) {
        told_level = told.granted_seen();
      }
    }
    const auto old = disk_.accounts.find({KeyOf(row), row.holder});
    LeaseAccountRow without = row;
    without.granted = std::max(old == disk_.accounts.end() ? 0 : old->second.granted, told_level);
    if (row.Exposure() <= without.Exposure()) continue;
    const LeaseKeeper& keeper = process_->keeper;
    const Budget& budget = world_.BudgetOf(row.budget_id);
    const Nanos exposure = budget.terms.window == WindowKind::kRolling
                               ? keeper.Figures(row.budget_id, row.subject).exposure
                               : keeper.Exposure(AccountOf(KeyOf(row)));
    if (exposure > budget.terms.limit) {
      world_.Violation("I1: a grant took the exposure of " + row.budget_id + " to " +
                       std::to_string(exposure) + " of " + std::to_string(budget.terms.limit));
    }
    if (GateCovers(KeyOf(row))) world_.Violation("a grant through a shut gate");
    if (row.window_start_s * 1000 > keeper.time_ms()) {
      world_.Violation("a grant for a window that has not begun");
    }
  }
}

// --- The ledger.

void ControlPlane::StreamGrew() {
  if (!up() || std::exchange(process_->consuming, true)) return;
  world_.schedule.In(world_.random.Between(200, 2'000), [this, life = life_] {
    if (up() && life == life_) Consume();
  });
}

// Some runs in one synced batch: records, high-water marks and accounts together.
void ControlPlane::Consume() {
  process_->consuming = false;
  Ledger& ledger = disk_.ledger;
  if (ledger.stream_identity != bus_.stream_identity) {
    ledger.stream_identity = bus_.stream_identity;
    ledger.position = 0;
  }
  Advance();
  const size_t end = std::min(bus_.stream.size(), ledger.position + 20);
  for (; ledger.position < end; ++ledger.position) {
    const ModelBus::Run& run = bus_.stream[ledger.position];
    Ledger::Seen& seen = ledger.seen[run.holder];
    for (const Entry& entry : run.entries) {
      if (entry.seq <= seen.upto || !seen.above.insert(entry.seq).second) continue;
      Apply(run, entry);
      while (seen.above.erase(seen.upto + 1) != 0) ++seen.upto;
    }
  }
  if (ledger.position < bus_.stream.size()) {
    StreamGrew();
  } else if (std::exchange(process_->replaying, false)) {
    process_->keeper.ReplayDone();
  }
  Collect();
  Flush();
}

void ControlPlane::Apply(const ModelBus::Run& run, const Entry& entry) {
  Ledger& ledger = disk_.ledger;
  LeaseKeeper& keeper = process_->keeper;
  switch (entry.kind) {
    case Entry::Kind::kHello:
      keeper.OnHolder(run.holder, run.instance);
      break;
    case Entry::Kind::kStarted:
      if (ledger.charges.contains(entry.call)) break;
      ledger.open[entry.call] = {run.holder, entry.keys, entry.nanos};
      if (ledger.retired.contains(run.holder)) {
        Charge(entry.call, run.holder, entry.keys, entry.nanos, false);
      }
      break;
    case Entry::Kind::kFinished:
      Charge(entry.call, run.holder, entry.keys, entry.nanos, true);
      break;
    case Entry::Kind::kAbandoned:
      Charge(entry.call, run.holder, entry.keys, entry.nanos, false);
      break;
    case Entry::Kind::kClosed: {
      v1::Closed closed;
      for (const auto& [key, nanos] : entry.charges) {
        v1::AccountCharge& charge = *closed.add_accounts();
        *charge.mutable_account() = AccountOf(key);
        charge.set_charged(nanos);
        world_.touched.insert(key);
      }
      keeper.OnClosed(run.holder, closed);
      break;
    }
    case Entry::Kind::kLevel:
      break;
  }
}

// Each attempt once per account, at its latest value; an estimate never replaces the truth.
void ControlPlane::Charge(int call, const std::string& holder, const std::vector<Key>& keys,
                          Nanos nanos, bool finished) {
  Ledger::Charge& known = disk_.ledger.charges[call];
  disk_.ledger.open.erase(call);
  if (known.finished && !finished) return;
  const Nanos delta = nanos - known.nanos;
  known = {.nanos = nanos, .finished = finished};
  for (const Key& key : keys) {
    process_->keeper.OnCharge(holder, AccountOf(key), delta);
    world_.touched.insert(key);
  }
}

// An operator's word that a holder is gone: it is granted nothing more, and its open calls settle
// at what they reserved.
void ControlPlane::Retire(const std::string& holder) {
  if (!up()) return;
  ++world_.figures.retired;
  Advance();
  process_->keeper.Tombstone(holder, true);
  Ledger& ledger = disk_.ledger;
  ledger.retired.insert(holder);
  std::vector<std::pair<int, Ledger::Open>> open;
  for (const auto& [call, started] : ledger.open) {
    if (started.holder == holder) open.emplace_back(call, started);
  }
  for (const auto& [call, started] : open) {
    Charge(call, holder, started.keys, started.reserved, false);
  }
  Collect();
  Flush();
}

// --- Time.

void ControlPlane::Beat(uint64_t life) {
  if (!up() || life != life_) return;
  Advance();
  Process& now = *process_;
  for (auto& [holder, heard_us] : now.heard_us) {
    if (world_.naive == Naive::kReclaimByTime && world_.schedule.now_us() - heard_us > 4'000'000) {
      v1::Closed closed;
      for (const auto& [key, row] : now.seen) {
        if (key.second != holder) continue;
        v1::AccountCharge& charge = *closed.add_accounts();
        *charge.mutable_account() = AccountOf(key.first);
        charge.set_charged(std::max(row.settled, row.reported));
      }
      now.keeper.OnClosed(holder, closed);
    }
    if (world_.schedule.now_us() - heard_us > kDeadUs) {
      now.keeper.Tombstone(holder, false);
      heard_us = INT64_MAX / 2;
    }
  }
  now.keeper.Prune(200);
  Collect();
  TellMarks();
  StreamGrew();
  world_.schedule.In(1'000'000, [this, life] { Beat(life); });
}

// committed_upto frees nothing that the last backup lacks.
void ControlPlane::TellMarks() {
  std::map<std::string, DataPlane::Mark> marks;
  for (const auto& [holder, seen] : disk_.ledger.seen) {
    DataPlane::Mark& mark = marks[holder];
    mark.committed = seen.upto;
    mark.kept_from = seen.upto;
    if (!world_.faults.restores || world_.naive == Naive::kFreedAtCommit) continue;
    mark.kept_from = 0;
    if (!backup_) continue;
    const auto backed = backup_->ledger.seen.find(holder);
    if (backed != backup_->ledger.seen.end()) mark.kept_from = backed->second.upto;
  }
  for (size_t i = 0; i < data_planes_.size(); ++i) {
    DataPlane* to = data_planes_[i];
    bus_.Send(static_cast<int>(i), [to, marks] { to->OnMarks(marks); });
  }
}

// --- For the invariants.

bool ControlPlane::GateCovers(const Key& key) const {
  if (!process_->keeper.gated()) return false;
  return std::get<2>(key) <= disk_.keeper.restored_at_ms / 1000;
}

Nanos ControlPlane::ExposureOf(const Key& key, const std::string& holder) const {
  const auto found = process_->seen.find({key, holder});
  return found == process_->seen.end() ? 0 : found->second.Exposure();
}

Nanos ControlPlane::ExposureOf(const Key& key,
                               const std::function<bool(const std::string&)>& counts) const {
  Nanos sum = 0;
  for (auto at = process_->seen.lower_bound({key, ""});
       at != process_->seen.end() && at->first.first == key; ++at) {
    if (counts(at->first.second)) sum += at->second.Exposure();
  }
  return sum;
}

}  // namespace spillway::simulation
