// What must hold of leases, looked at from outside. I3: no more is spent and free than the control
// plane counts on. I4: each call is in the ledger exactly once. I5: what fits is served. I1 (grants
// stay within the limit) and I2 (figures never go back) stand in control_plane.cc.
#include <algorithm>
#include <map>
#include <set>

#include "tests/simulation/cluster.h"

namespace spillway::simulation {
namespace {

bool AnyHolder(const std::string&) { return true; }

std::string Text(const Key& key) {
  const auto& [budget, subject, start] = key;
  return budget + "/" + subject + "@" + std::to_string(start);
}

}  // namespace

Nanos Cluster::ExcusedOf(const Truth::Account& truth) const {
  Nanos sum = 0;
  for (const std::string& holder : world_.excused) {
    const auto found = truth.by_holder.find(holder);
    if (found != truth.by_holder.end()) sum += found->second;
  }
  return sum;
}

void Cluster::Check(bool all) {
  if (all) {
    for (const auto& [key, account] : world_.truth.accounts) CheckKey(key);
    return;
  }
  for (const Key& key : world_.touched) CheckKey(key);
}

void Cluster::CheckKey(const Key& key) {
  const auto found = world_.truth.accounts.find(key);
  if (found == world_.truth.accounts.end()) return;
  const Truth::Account& truth = found->second;
  const Budget& budget = world_.BudgetOf(std::get<0>(key));
  if (budget.exact()) {
    CheckExact(key, truth);
    return;
  }
  // The printed bound: calls in flight of each holder, and what was heard to remain.
  Nanos bound = budget.limit_max + truth.open_allowance;
  for (const auto& [holder, risk] : truth.risk) bound += risk.second;
  if (truth.billed > bound) {
    world_.Violation("the bound of " + Text(key) + ": billed " + std::to_string(truth.billed) +
                     ", at most " + std::to_string(bound));
  }
}

// I3: billed by the provider + reserved in flight + live free <= the exposure.
void Cluster::CheckExact(const Key& key, const Truth::Account& truth) {
  if (truth.billed - ExcusedOf(truth) > world_.BudgetOf(std::get<0>(key)).limit_max) {
    world_.Violation("overshoot of " + Text(key) + ": billed " + std::to_string(truth.billed));
  }
  CheckRolling(key);
  const LeaseKeeper* keeper = control_->keeper();
  if (keeper == nullptr || control_->GateCovers(key)) return;
  // Long over and dropped: nothing is granted for it any more.
  if (std::get<2>(key) != 0 && std::get<2>(key) <= keeper->time_ms() / 1000 - 3 * 3600) return;
  // Of each holder by itself, which is stronger than the sum.
  for (const auto& [holder, spent] : truth.by_holder) CheckHolder(key, holder, spent);
  for (const auto& plane : data_planes_) {
    for (const std::string& holder : plane->LiveHolders()) {
      if (!truth.by_holder.contains(holder)) CheckHolder(key, holder, 0);
    }
  }
  if (keeper->Exposure(AccountOf(key)) != control_->ExposureOf(key, AnyHolder)) {
    world_.Violation("the sums of " + Text(key) + " are not the sum of their parts");
  }
}

void Cluster::CheckHolder(const Key& key, const std::string& holder, Nanos spent) {
  if (world_.excused.contains(holder)) return;
  Nanos with_free = spent;
  for (const auto& plane : data_planes_) with_free += plane->Free(key, holder);
  const Nanos exposure = control_->ExposureOf(key, holder);
  if (with_free > exposure) {
    world_.Violation("I3 of " + Text(key) + " at " + holder + ": billed and running " +
                     std::to_string(spent) + ", with what is free " + std::to_string(with_free) +
                     ", exposure " + std::to_string(exposure));
  }
}

// Every window of N buckets that this one is part of.
void Cluster::CheckRolling(const Key& key) {
  const auto& [id, subject, start_s] = key;
  const Budget& budget = world_.BudgetOf(id);
  if (budget.terms.window != WindowKind::kRolling) return;
  const int64_t hours = budget.terms.rolling_hours;
  for (int64_t last = 0; last < hours; ++last) {
    Nanos billed = 0;
    for (int64_t back = 0; back < hours; ++back) {
      const auto found = world_.truth.accounts.find({id, subject, start_s + (last - back) * 3600});
      if (found == world_.truth.accounts.end()) continue;
      billed += found->second.billed - ExcusedOf(found->second);
    }
    if (billed > budget.limit_max) {
      world_.Violation("overshoot of " + Text(key) + " over its window: billed " +
                       std::to_string(billed));
    }
  }
}

// I4, and no call lost or counted twice: what the ledger must show of each call, by the records
// that survived.
void Cluster::CheckLedger() {
  struct Kept {
    bool started = false;
    bool ended = false;
    Nanos reserved = 0;
    Nanos charge = 0;
    bool finished = false;
  };
  std::map<int, Kept> kept;
  const auto take = [&](const Entry& entry) {
    Kept& call = kept[entry.call];
    if (entry.kind == Entry::Kind::kStarted) {
      call.started = true;
      call.reserved = entry.nanos;
    } else if (entry.kind == Entry::Kind::kFinished) {
      call.ended = call.finished = true;
      call.charge = entry.nanos;
    } else if (entry.kind == Entry::Kind::kAbandoned && !call.finished) {
      call.ended = true;
      call.charge = entry.nanos;
    }
  };
  for (const ModelBus::Run& run : bus_.stream) {
    for (const Entry& entry : run.entries) take(entry);
  }
  for (const auto& plane : data_planes_) {
    for (const Journal& journal : plane->journals()) {
      for (const Entry& entry : journal.entries) take(entry);
    }
    if (!plane->Quiet()) {
      for (const Journal& journal : plane->journals()) {
        if (journal.committed < static_cast<int64_t>(journal.entries.size())) {
          world_.Violation("records of " + journal.holder +
                           " never reached the ledger: " + std::to_string(journal.committed) +
                           " of " + std::to_string(journal.entries.size()));
        }
      }
    }
  }
  const Ledger& ledger = control_->ledger();
  for (const auto& [call, expected] : kept) {
    if (call < 0) continue;
    // Its records were on a disk and in a stream, and both are gone.
    const bool both_lost =
        world_.figures.streams_lost > 0 &&
        std::ranges::find(forsaken_, world_.truth.calls[call].holder) != forsaken_.end();
    if (both_lost) continue;
    const bool retired = ledger.retired.contains(world_.truth.calls[call].holder);
    const auto known = ledger.charges.find(call);
    const Nanos shown = known == ledger.charges.end() ? -1 : known->second.nanos;
    const Nanos wanted = expected.ended ? expected.charge : retired ? expected.reserved : -1;
    if (shown != wanted) {
      world_.Violation("call " + std::to_string(call) + ": the ledger shows " +
                       std::to_string(shown) + ", not " + std::to_string(wanted));
    }
  }
  for (const auto& [call, charge] : ledger.charges) {
    const bool known = kept.contains(call) || world_.figures.streams_lost > 0;
    if (!known) world_.Violation("a call in the ledger that never was");
  }
}

Key Cluster::CurrentKey(const Budget& budget, const std::string& subject) const {
  const int64_t time_ms = control_->keeper()->time_ms();
  const WindowSpan span =
      WindowAt(budget.terms.window, budget.terms.rolling_hours, budget.terms.time_zone, time_ms);
  return {budget.terms.id, subject, span.start_s};
}

// What a healthy cluster can still hand out: live holders count with what they spent, others with
// what they may have (their lease is in doubt until they close).
Nanos Cluster::Left(const Key& key) const {
  const auto& [id, subject, start_s] = key;
  const BudgetTerms& terms = world_.BudgetOf(id).terms;
  const int64_t from_s =
      terms.window == WindowKind::kRolling ? RollingFrom(start_s, terms.rolling_hours) : start_s;
  Nanos left = terms.limit;
  const auto dead = [&](const std::string& holder) {
    return std::ranges::none_of(data_planes_,
                                [&](const auto& plane) { return plane->IsLive(holder); });
  };
  for (int64_t at = start_s;; at -= 3600) {
    const Key bucket{id, subject, at};
    left -= control_->ExposureOf(bucket, dead);
    for (const auto& plane : data_planes_) left -= plane->Spent(bucket);
    if (at <= from_s) break;
  }
  return left;
}

bool Cluster::MoneyIsThere(const std::vector<Key>& keys, Nanos nanos) const {
  if (world_.faults.kills || !control_->up()) return false;
  return std::ranges::all_of(keys, [&](const Key& key) { return Left(key) >= nanos; });
}

// I5: everybody reachable, nobody in doubt: whoever's need fits is served, down to the last.
void Cluster::CheckNothingStarves() {
  for (const Budget& budget : world_.budgets) {
    for (int subject = 0; subject < std::max(1, budget.subjects); ++subject) {
      const std::string name = budget.subjects == 0 ? "" : "u" + std::to_string(subject);
      const Wish wish{.budgets = {{budget.terms.id, name}}, .likely = 9, .upper = 9, .actual = 9};
      for (int i = 0; i < 1'000 && world_.violations.empty(); ++i) {
        const Key key = CurrentKey(budget, name);
        if (control_->keeper()->Figures(budget.terms.id, name).gated) break;
        const Nanos left = Left(key);
        const bool admitted = Ask(i % data_planes(), wish);
        if (admitted) continue;
        // Buckets behind the window count while they are outstanding; nothing else is kept back.
        if (left >= 9 && CurrentKey(budget, name) == key) {
          world_.Violation("I5: refused with " + std::to_string(left) + " left of " + Text(key));
        }
        break;
      }
    }
  }
}

}  // namespace spillway::simulation
