#pragma once

#include <absl/container/inlined_vector.h>

#include <array>
#include <atomic>
#include <boost/unordered/unordered_flat_set.hpp>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

#include "common/clock.h"
#include "dataplane/limits/counts.h"
#include "dataplane/limits/entry.h"
#include "dataplane/limits/fleet_view.h"
#include "dataplane/limits/limits.h"
#include "dataplane/limits/ticket.h"

namespace spillway {

// Every entry, in 64 shards by limit and subject, each with its lock: one lock and one look-up for
// a request under one limit, several locks in a fixed order for more. Thread-safe.
//
// Bounded: a subject too many goes to one bucket that all such subjects of its limit share. Idle
// entries (full buckets, nothing running) are removed as time goes by; none that owes anything.
class LimitTable {
 public:
  static constexpr size_t kShards = 64;
  static constexpr size_t kSubjectBytesMax = 256;

  LimitTable(const RateLimitOptions& options, const Clock& clock);

  struct Admission {
    LimitEntry* held_by = nullptr;  // nullptr: admitted
    LimitTicket ticket;
    LimitHeld held;
  };
  enum class As : uint8_t {
    kNewcomer,  // not before those who wait
    kJoining,   // the same; if held back, it is counted and pinned at held_by: see Leave
    kWaiting,   // it is its turn; if held back, as kJoining
  };
  Admission Admit(std::span<const RateLimitMatch> matches, const LimitAsk& ask, int64_t now_ns,
                  As as);
  void Leave(LimitEntry& entry);
  LimitStandings Standings(std::span<const RateLimitMatch> matches, int64_t now_ns);
  LimitCountsByName& counts() { return counts_; }

  // Tickets. The entry is pinned.
  int64_t SetTokens(LimitEntry& entry, int64_t held, const LimitAsk& tokens);
  void Release(LimitEntry& entry, bool give_back, int64_t held_tokens);
  // Called without locks when something may fit that did not, with an entry where requests waited:
  // it may be gone by then. Set before use.
  std::function<void(const LimitEntry*)> on_freed = [](const LimitEntry*) {};

  // Gossip.
  void SetView(std::shared_ptr<const FleetView> view);
  void SetRound(uint64_t round) { round_.store(round, std::memory_order_relaxed); }
  // Up to `max` entries that changed since they were visited; true: there are more.
  bool VisitChanged(size_t max, int64_t now_ns, const std::function<void(LimitEntry&)>& visit);
  // Every entry that concerns peers counts as changed: for one that knows nothing.
  void MarkAllChanged();
  // Up to `max` entries that told how many requests run, a while ago, and were not confirmed.
  void VisitUnheard(size_t max, const HeardByAll& heard, int64_t now_ns,
                    const std::function<void(LimitEntry&)>& visit);
  // Up to `max` entries that concern peers, from where the last call ended: each in its turn,
  // unless others come and go meanwhile; then perhaps in the next one.
  void VisitSome(size_t max, int64_t now_ns, const std::function<void(LimitEntry&)>& visit);
  void Hear(std::string_view limit, std::string_view subject, const PeerReport& report,
            int64_t now_ns);
  // Removes the idle entries of one shard, the next in turn.
  void Sweep(int64_t now_ns);
  // Waits until an entry changed so much that peers should hear at once, or Wake; false: the time
  // is over.
  bool AwaitUrgent(int64_t timeout_ns);
  void Wake();

  struct Totals {
    int64_t entries = 0;
    int64_t known_from_peers = 0;
  };
  Totals totals() const;

 private:
  struct Key {
    std::string_view limit;
    std::string_view subject;
    size_t hash;
  };
  struct HashOf {
    using is_transparent = void;
    size_t operator()(const Key& key) const { return key.hash; }
    size_t operator()(const std::unique_ptr<LimitEntry>& entry) const { return entry->hash; }
  };
  struct Same {
    using is_transparent = void;
    bool operator()(const std::unique_ptr<LimitEntry>& entry, const Key& key) const {
      return entry->hash == key.hash && entry->limit_name() == key.limit &&
             entry->subject() == key.subject;
    }
    bool operator()(const Key& key, const std::unique_ptr<LimitEntry>& entry) const {
      return (*this)(entry, key);
    }
    bool operator()(const std::unique_ptr<LimitEntry>& a,
                    const std::unique_ptr<LimitEntry>& b) const {
      return a->hash == b->hash && a->key == b->key && a->limit_bytes == b->limit_bytes;
    }
  };
  struct alignas(64) Shard {
    std::mutex mutex;
    boost::unordered_flat_set<std::unique_ptr<LimitEntry>, HashOf, Same> entries;
    std::vector<LimitEntry*> changed;
    std::vector<LimitEntry*> unheard;
    int64_t crowded_sweep_ns = 0;  // not before this another sweep for a subject too many
  };
  struct Wanted {
    const RateLimitMatch* match = nullptr;
    Key key;
    LimitEntry* entry = nullptr;
  };
  using WantedList = absl::InlinedVector<Wanted, 4>;
  class Locks;

  static Key KeyOf(std::string_view limit, std::string_view subject);
  static Key KeyOf(const RateLimitMatch& match);
  Shard& ShardOf(size_t hash) { return shards_[hash >> 32 & (kShards - 1)]; }
  // With the shards locked. False: a subject too many, its key was changed to the shared bucket's.
  bool FindAll(WantedList& wanted, int64_t now_ns);
  LimitEntry* FindOrMake(const Wanted& wanted, int64_t now_ns);
  LimitEntry& Make(const Key& key);
  void Adopt(LimitEntry& entry, const RateLimitMatch& match);
  void SeeFleet(LimitEntry& entry);
  void Refresh(LimitEntry& entry, int64_t now_ns);
  Admission Decide(const WantedList& wanted, const LimitAsk& ask, int64_t now_ns, As as);
  Admission Hold(LimitEntry& entry, LimitHeld::What what, int64_t tokens, int64_t now_ns, As as);
  void Enlist(LimitEntry& entry);
  void MarkChanged(LimitEntry& entry, bool urgent);
  void SweepShard(Shard& shard, int64_t now_ns);

  const RateLimitOptions options_;
  const Clock& clock_;
  std::array<Shard, kShards> shards_;
  std::atomic<int64_t> entries_{0};
  std::atomic<int64_t> strangers_{0};  // entries known from peers only
  std::atomic<int64_t> births_{0};
  std::atomic<uint64_t> round_{0};
  std::atomic<uint64_t> generation_{0};
  mutable std::mutex view_mutex_;
  std::shared_ptr<const FleetView> view_;
  LimitCountsByName counts_;
  size_t changed_at_ = 0;  // gossip's thread only: where visits and sweeps go on
  size_t some_shard_ = 0;
  size_t some_at_ = 0;  // entries of that shard looked at already
  size_t sweep_at_ = 0;
  std::atomic<bool> urgent_{false};
  std::mutex urgent_mutex_;
  std::condition_variable urgent_wake_;
};

}  // namespace spillway
