#include "dataplane/limits/table.h"

#include <absl/hash/hash.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

namespace spillway {
namespace {

// No value of a scope can be this.
constexpr std::string_view kShared{"\0shared", 7};
// After so many entries a visit of some is over, however few had a period running.
constexpr size_t kLookedAtMax = 2'000;
// A shard is searched for idle entries so often at most while subjects are too many.
constexpr int64_t kCrowdedSweepNs = int64_t{1'000} * kNsPerMs;

}  // namespace

// The locks of all shards a request touches, taken in their order in memory.
class LimitTable::Locks {
 public:
  Locks(LimitTable& table, const WantedList& wanted) {
    for (const Wanted& each : wanted) shards_.push_back(&table.ShardOf(each.key.hash));
    if (shards_.size() > 1) {
      std::ranges::sort(shards_);
      const auto doubles = std::ranges::unique(shards_);
      shards_.erase(doubles.begin(), doubles.end());
    }
    for (Shard* shard : shards_) shard->mutex.lock();
  }
  ~Locks() {
    for (Shard* shard : shards_) shard->mutex.unlock();
  }
  Locks(const Locks&) = delete;
  Locks& operator=(const Locks&) = delete;

 private:
  absl::InlinedVector<Shard*, 4> shards_;
};

LimitTable::LimitTable(const RateLimitOptions& options, const Clock& clock)
    : options_(options), clock_(clock), view_(std::make_shared<FleetView>()) {}

LimitTable::Key LimitTable::KeyOf(std::string_view limit, std::string_view subject) {
  return {.limit = limit, .subject = subject, .hash = absl::HashOf(limit, subject)};
}

LimitTable::Key LimitTable::KeyOf(const RateLimitMatch& match) {
  const bool fits = match.subject.size() <= kSubjectBytesMax;
  return KeyOf(match.limit->name, fits ? std::string_view(match.subject) : kShared);
}

LimitEntry& LimitTable::Make(const Key& key) {
  auto entry = std::make_unique<LimitEntry>(key.limit, key.subject, key.hash,
                                            births_.fetch_add(1, std::memory_order_relaxed) + 1);
  LimitEntry& made = *entry;
  ShardOf(key.hash).entries.insert(std::move(entry));
  entries_.fetch_add(1, std::memory_order_relaxed);
  strangers_.fetch_add(1, std::memory_order_relaxed);
  return made;
}

LimitEntry* LimitTable::FindOrMake(const Wanted& wanted, int64_t now_ns) {
  Shard& shard = ShardOf(wanted.key.hash);
  const auto at = shard.entries.find(wanted.key);
  if (at != shard.entries.end()) return at->get();
  const bool shared = wanted.key.subject.empty() || wanted.key.subject == kShared;
  const LimitCounts& counts = counts_.Of(wanted.key.limit);
  const auto too_many = [&] {
    return counts.subjects.load(std::memory_order_relaxed) >= options_.subjects_per_limit_max ||
           entries_.load(std::memory_order_relaxed) >= options_.subjects_max;
  };
  if (!shared && too_many()) {
    if (now_ns < shard.crowded_sweep_ns) return nullptr;
    shard.crowded_sweep_ns = now_ns + kCrowdedSweepNs;
    SweepShard(shard, now_ns);
    if (too_many()) return nullptr;
  }
  return &Make(wanted.key);
}

bool LimitTable::FindAll(WantedList& wanted, int64_t now_ns) {
  bool all = true;
  for (Wanted& each : wanted) {
    each.entry = FindOrMake(each, now_ns);
    if (each.entry != nullptr) {
      ++each.entry->pins;  // until all are found: making one may sweep its shard
      continue;
    }
    counts_.Of(each.key.limit).overflowed.fetch_add(1, std::memory_order_relaxed);
    each.key = KeyOf(each.match->limit->name, kShared);
    all = false;
  }
  for (const Wanted& each : wanted) {
    if (each.entry != nullptr) --each.entry->pins;
  }
  if (!all) return false;
  for (Wanted& each : wanted) {
    if (each.entry->spec != each.match->limit) Adopt(*each.entry, *each.match);
    Refresh(*each.entry, now_ns);
  }
  return true;
}

// A new entry, one that only peers used so far, or an edited limit.
void LimitTable::Adopt(LimitEntry& entry, const RateLimitMatch& match) {
  if (entry.spec == nullptr) {
    entry.counts = &counts_.Of(match.limit->name);
    entry.counts->subjects.fetch_add(1, std::memory_order_relaxed);
    strangers_.fetch_sub(1, std::memory_order_relaxed);
  }
  SeeFleet(entry);
  const std::lock_guard lock(view_mutex_);
  entry.SetSpec(match.limit, *view_);
}

void LimitTable::SeeFleet(LimitEntry& entry) {
  if (entry.generation == generation_.load(std::memory_order_acquire)) return;
  bool charged = false;
  {
    const std::lock_guard lock(view_mutex_);
    charged = entry.SeeFleet(*view_);
  }
  if (charged) MarkChanged(entry, /*urgent=*/true);
}

void LimitTable::Refresh(LimitEntry& entry, int64_t now_ns) {
  SeeFleet(entry);
  entry.Refresh(now_ns, round_.load(std::memory_order_relaxed));
}

LimitTable::Admission LimitTable::Admit(std::span<const RateLimitMatch> matches,
                                        const LimitAsk& ask, int64_t now_ns, As as) {
  WantedList wanted;
  for (const RateLimitMatch& match : matches)
    wanted.push_back({.match = &match, .key = KeyOf(match)});
  while (true) {
    const Locks locks(*this, wanted);
    if (FindAll(wanted, now_ns)) return Decide(wanted, ask, now_ns, as);
  }
}

LimitTable::Admission LimitTable::Decide(const WantedList& wanted, const LimitAsk& ask,
                                         int64_t now_ns, As as) {
  for (const Wanted& each : wanted) {
    const int64_t tokens = each.entry->TokensOf(ask);
    auto what = each.entry->Check(tokens);
    if (!what && as != As::kWaiting && each.entry->waiting > 0) what = LimitHeld::What::kRequests;
    if (!what) continue;
    Admission held = Hold(*each.entry, *what, tokens, now_ns, as);
    for (const Wanted& other : wanted) held.held.standings.Merge(other.entry->Standings(now_ns));
    return held;
  }
  Admission admission;
  admission.ticket.table_ = this;
  for (const Wanted& each : wanted) {
    const int64_t tokens = each.entry->TokensOf(ask);
    MarkChanged(*each.entry, each.entry->Take(tokens, now_ns));
    ++each.entry->pins;
    admission.ticket.Push({.entry = each.entry, .tokens = tokens});
    admission.ticket.standings_.Merge(each.entry->Standings(now_ns));
  }
  return admission;
}

LimitTable::Admission LimitTable::Hold(LimitEntry& entry, LimitHeld::What what, int64_t tokens,
                                       int64_t now_ns, As as) {
  entry.NoteHeld(what, tokens, now_ns);
  if (as != As::kNewcomer) {
    ++entry.pins;
    ++entry.waiting;
  }
  Admission admission;
  admission.held_by = &entry;
  admission.held = {.limit = std::string(entry.limit_name()),
                    .what = what,
                    .retry_after_ms = entry.RetryAfterMs(what, tokens, now_ns),
                    .standings = entry.Standings(now_ns)};
  return admission;
}

void LimitTable::Leave(LimitEntry& entry) {
  const std::lock_guard lock(ShardOf(entry.hash).mutex);
  --entry.pins;
  --entry.waiting;
}

LimitStandings LimitTable::Standings(std::span<const RateLimitMatch> matches, int64_t now_ns) {
  LimitStandings tightest;
  for (const RateLimitMatch& match : matches) {
    const Key key = KeyOf(match);
    Shard& shard = ShardOf(key.hash);
    const std::lock_guard lock(shard.mutex);
    const auto at = shard.entries.find(key);
    if (at != shard.entries.end() && (*at)->spec != nullptr) {
      Refresh(**at, now_ns);
      tightest.Merge((*at)->Standings(now_ns));
    } else {
      const auto whole = [](int64_t limit) {
        return LimitStanding{.limit = limit, .remaining = limit};
      };
      tightest.Merge(
          {.requests = whole(match.limit->requests), .tokens = whole(match.limit->tokens)});
    }
  }
  return tightest;
}

int64_t LimitTable::SetTokens(LimitEntry& entry, int64_t held, const LimitAsk& tokens) {
  bool pump = false;
  int64_t target = 0;
  {
    const std::lock_guard lock(ShardOf(entry.hash).mutex);
    target = entry.TokensOf(tokens);
    if (target == held) return held;
    const int64_t now_ns = entry.open ? 0 : clock_.MonotonicNs();
    MarkChanged(entry, entry.AdjustTokens(target - held, now_ns));
    pump = target < held && entry.waiting > 0;
  }
  if (pump) on_freed(&entry);
  return target;
}

void LimitTable::Release(LimitEntry& entry, bool give_back, int64_t held_tokens) {
  bool pump = false;
  {
    const std::lock_guard lock(ShardOf(entry.hash).mutex);
    MarkChanged(entry, entry.Release(give_back, held_tokens));
    --entry.pins;
    pump = entry.waiting > 0;
  }
  if (pump) on_freed(&entry);
}

void LimitTable::Enlist(LimitEntry& entry) {
  if (entry.dirty) return;
  entry.dirty = true;
  ShardOf(entry.hash).changed.push_back(&entry);
}

void LimitTable::MarkChanged(LimitEntry& entry, bool urgent) {
  if (!options_.cluster) return;
  Enlist(entry);
  if (urgent && !urgent_.load(std::memory_order_relaxed) && !urgent_.exchange(true)) Wake();
}

void LimitTable::Wake() {
  const std::lock_guard lock(urgent_mutex_);
  urgent_.store(true);
  urgent_wake_.notify_all();
}

bool LimitTable::AwaitUrgent(int64_t timeout_ns) {
  if (timeout_ns <= 0) return urgent_.exchange(false);
  std::unique_lock lock(urgent_mutex_);
  return urgent_wake_.wait_for(lock, std::chrono::nanoseconds(timeout_ns),
                               [this] { return urgent_.exchange(false); });
}

void LimitTable::SetView(std::shared_ptr<const FleetView> view) {
  const std::lock_guard lock(view_mutex_);
  if (view->generation <= view_->generation) return;
  view_ = std::move(view);
  generation_.store(view_->generation, std::memory_order_release);
}

bool LimitTable::VisitChanged(size_t max, int64_t now_ns,
                              const std::function<void(LimitEntry&)>& visit) {
  for (size_t i = 0; i < kShards; ++i) {
    Shard& shard = shards_[(changed_at_ + i) % kShards];
    const std::lock_guard lock(shard.mutex);
    const size_t count = std::min(max, shard.changed.size());
    for (size_t at = 0; at < count; ++at) {
      LimitEntry& entry = *shard.changed[at];
      entry.dirty = false;
      Refresh(entry, now_ns);
      visit(entry);
      if (entry.running_told == 0 || std::exchange(entry.unheard, true)) continue;
      shard.unheard.push_back(&entry);
    }
    shard.changed.erase(shard.changed.begin(),
                        shard.changed.begin() + static_cast<std::ptrdiff_t>(count));
    max -= count;
    if (!shard.changed.empty()) {
      changed_at_ = (changed_at_ + i) % kShards;
      return true;
    }
  }
  return false;
}

void LimitTable::MarkAllChanged() {
  for (Shard& shard : shards_) {
    const std::lock_guard lock(shard.mutex);
    for (const std::unique_ptr<LimitEntry>& entry : shard.entries) {
      if (entry->ConcernsPeers()) Enlist(*entry);
    }
  }
}

void LimitTable::VisitUnheard(size_t max, const HeardByAll& heard, int64_t now_ns,
                              const std::function<void(LimitEntry&)>& visit) {
  for (Shard& shard : shards_) {
    const std::lock_guard lock(shard.mutex);
    std::erase_if(shard.unheard, [&](LimitEntry* entry) {
      entry->unheard = entry->RunningUnheard(heard, now_ns);
      if (entry->unheard && max > 0 && entry->ToldLongAgo(now_ns)) {
        Refresh(*entry, now_ns);
        visit(*entry);
        --max;
      }
      return !entry->unheard;
    });
  }
}

void LimitTable::VisitSome(size_t max, int64_t now_ns,
                           const std::function<void(LimitEntry&)>& visit) {
  size_t looked_at = 0;
  for (size_t i = 0; i < kShards; ++i) {
    Shard& shard = shards_[some_shard_];
    const std::lock_guard lock(shard.mutex);
    auto at = shard.entries.begin();
    std::advance(at, std::min(some_at_, shard.entries.size()));
    for (; at != shard.entries.end(); ++at) {
      if (max == 0 || looked_at >= kLookedAtMax) return;
      ++some_at_;
      ++looked_at;
      LimitEntry& entry = **at;
      if (!entry.ConcernsPeers()) continue;
      Refresh(entry, now_ns);
      visit(entry);
      --max;
    }
    some_shard_ = (some_shard_ + 1) % kShards;
    some_at_ = 0;
  }
}

void LimitTable::Hear(std::string_view limit, std::string_view subject, const PeerReport& report,
                      int64_t now_ns) {
  const Key key = KeyOf(limit, subject);
  Shard& shard = ShardOf(key.hash);
  LimitEntry* entry = nullptr;
  bool pump = false;
  {
    const std::lock_guard lock(shard.mutex);
    const auto at = shard.entries.find(key);
    if (at != shard.entries.end()) {
      entry = at->get();
    } else {
      if (strangers_.load(std::memory_order_relaxed) >= options_.subjects_max / 2 ||
          entries_.load(std::memory_order_relaxed) >= options_.subjects_max)
        return;
      entry = &Make(key);
    }
    Refresh(*entry, now_ns);
    entry->Hear(report, now_ns);
    pump = entry->waiting > 0;
  }
  if (pump) on_freed(entry);
}

void LimitTable::SweepShard(Shard& shard, int64_t now_ns) {
  boost::unordered::erase_if(shard.entries, [&](const std::unique_ptr<LimitEntry>& entry) {
    Refresh(*entry, now_ns);
    if (!entry->IsIdle()) return false;
    if (entry->counts != nullptr) {
      entry->counts->subjects.fetch_sub(1, std::memory_order_relaxed);
    } else {
      strangers_.fetch_sub(1, std::memory_order_relaxed);
    }
    entries_.fetch_sub(1, std::memory_order_relaxed);
    return true;
  });
}

void LimitTable::Sweep(int64_t now_ns) {
  Shard& shard = shards_[sweep_at_++ % kShards];
  const std::lock_guard lock(shard.mutex);
  SweepShard(shard, now_ns);
}

LimitTable::Totals LimitTable::totals() const {
  return {.entries = entries_.load(std::memory_order_relaxed),
          .known_from_peers = strangers_.load(std::memory_order_relaxed)};
}

}  // namespace spillway
