#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/limits/bucket.h"
#include "dataplane/limits/fleet_view.h"
#include "dataplane/limits/limits.h"
#include "dataplane/limits/ticket.h"
#include "dataplane/snapshot/snapshot.h"

namespace spillway {

struct LimitCounts;

// What a peer says of one limit and subject (v1::LimitUse, checked).
struct PeerReport {
  uint32_t member = 0;
  uint32_t life = 0;               // another one: figures are not to be compared with earlier ones
  int64_t born = 0;                // of the peer's own entry; the same holds
  std::array<int64_t, 2> total{};  // requests, tokens since then
  int64_t running = 0;
  int64_t period_ns = 0;
  int64_t age_ns = 0;                 // of the period, there
  std::array<int64_t, 2> own{};       // the peer's own use in it
  std::array<int64_t, 2> everyone{};  // all data planes', as the peer knows
};

// A peer's use of one entry, as last heard.
struct PeerUse {
  uint32_t member = 0;
  uint32_t life = 0;
  int64_t born = 0;
  int64_t running = 0;
  std::array<int64_t, 2> heard{};    // its totals
  std::array<int64_t, 2> claimed{};  // what it may take back
  std::array<int64_t, 2> recent{};   // its use, halved with every period
  std::array<int64_t, 2> weight{};   // recent, by our own: 0..256
  std::array<int64_t, 3> base{};     // LimitEntry::paced that is matched by what was heard of it
};

// An entry's totals as one gossip message of ours told them.
struct ToldTotals {
  uint64_t sent = 0;  // the message's number; 0: none
  int64_t at_ns = 0;
  std::array<int64_t, 2> totals{};
};

// The state of one limit for one subject. Its shard's lock guards everything.
//
// How far peers may have got since they were heard is not known. It is assumed to be what this data
// plane took meanwhile, by the proportion of their use to ours in the last periods, less what they
// have said of it since: so the last part of a limit is shared out by that, and what one does not
// use goes to the others within a round of gossip.
struct LimitEntry {
  static constexpr int64_t kUnheardNs = 20'000'000;
  enum Kind : size_t { kRequests = 0, kTokens = 1, kRunning = 2 };

  LimitEntry(std::string_view limit, std::string_view subject, size_t the_hash, int64_t the_birth);

  std::string_view limit_name() const { return std::string_view(key).substr(0, limit_bytes); }
  std::string_view subject() const { return std::string_view(key).substr(limit_bytes); }

  // Brings everything up to date, before anything else: the fleet when its generation is another,
  // then the period and the round of gossip. The first returns whether peers must hear of it.
  bool SeeFleet(const FleetView& view);
  void Refresh(int64_t now_ns, uint64_t now_round);
  // Gives it its limit, or an edited one. Figures heard before count.
  void SetSpec(const std::shared_ptr<const RateLimitSpec>& new_spec, const FleetView& view);

  int64_t TokensOf(const LimitAsk& ask) const;
  std::optional<LimitHeld::What> Check(int64_t ask_tokens) const;
  void NoteHeld(LimitHeld::What what, int64_t ask_tokens, int64_t now_ns);
  int64_t RetryAfterMs(LimitHeld::What what, int64_t ask_tokens, int64_t now_ns) const;
  // These return whether peers should hear of it at once.
  bool Take(int64_t ask_tokens, int64_t now_ns);
  // `now_ns` counts only when no period runs.
  bool AdjustTokens(int64_t delta, int64_t now_ns);
  bool Release(bool give_back, int64_t held_tokens);

  void Hear(const PeerReport& report, int64_t now_ns);
  // Message `sent` tells peers how it stands now.
  void Tell(uint64_t sent, const HeardByAll& heard, int64_t now_ns);
  // Running now under a limit of concurrent requests, which only then peers must know.
  int64_t Running() const { return running_max > 0 ? mine[kRunning] : 0; }
  // Something counts of which peers must hear.
  bool ConcernsPeers() const { return spec != nullptr && (open || Running() != 0); }
  // Running was told and not confirmed; false also when nobody will confirm it any more.
  bool RunningUnheard(const HeardByAll& heard, int64_t now_ns);
  // What was told last is confirmed by now, or lost.
  bool ToldLongAgo(int64_t now_ns) const;
  // What was taken here that a live peer may not have heard.
  int64_t Unheard(Kind kind) const;

  LimitStandings Standings(int64_t now_ns) const;
  // Nothing would be lost without it.
  bool IsIdle() const;

  const std::string key;  // limit, then subject
  const size_t limit_bytes;
  const size_t hash;
  const int64_t birth;
  const uint64_t turn;                        // of FleetView::ShareOf
  std::shared_ptr<const RateLimitSpec> spec;  // nullptr: known from peers only
  LimitCounts* counts = nullptr;              // of its limit; nullptr with spec
  std::array<Bucket, 2> buckets;
  int64_t running_max = 0;    // of the limit; 0: none
  int64_t running_share = 0;  // of that, ours and our live peers'
  int64_t period_ns = 60'000'000'000;
  int64_t end_ns = 0;               // of the period, when open
  bool open = false;                // a period runs; otherwise the buckets are full
  bool used = false;                // something was taken in it
  std::array<int64_t, 3> mine{};    // own totals; kRunning: now
  std::array<int64_t, 3> paced{};   // the same, what was given back not taken off
  std::array<int64_t, 2> own{};     // of this period
  std::array<int64_t, 2> undone{};  // of this period: taken, told perhaps, and given back
  std::array<int64_t, 2> recent{};  // as PeerUse::recent
  std::array<int64_t, 3> mark{};    // `paced` when the round began
  // `paced` at least kUnheardNs ago: as far as a message heard now may have been sent after.
  std::array<int64_t, 3> before{};
  std::array<int64_t, 3> next_before{};
  int64_t next_before_ns = 0;
  std::array<int64_t, 3> announced{};  // `mine` as last gossiped
  std::array<int64_t, 2> known{};      // `mine` as all live peers have heard for sure
  ToldTotals pending;                  // the oldest after `known`
  ToldTotals latest;                   // the newest
  uint64_t running_told = 0;  // the first message with the present Running; 0: all heard it
  int64_t running_told_ns = 0;
  uint64_t joins = 0;  // of FleetView, as seen
  uint64_t losses = 0;
  uint64_t round = 0;
  uint64_t generation = 0;
  std::vector<PeerUse> peers;
  int32_t pins = 0;      // tickets and waiting requests
  int32_t waiting = 0;   // requests in its queue
  bool dirty = false;    // in its shard's list of changed ones,
  bool unheard = false;  // and in that of those whose Running may not have been heard

 private:
  void Roll(int64_t now_ns);
  void Open(int64_t start_ns, int64_t now_ns);
  void BeginRound(uint64_t now_round);
  void Reweigh();
  static void Weigh(PeerUse& use, Kind kind, int64_t ours);
  void Match(PeerUse& use, Kind kind, int64_t claim) const;
  int64_t Hidden(Kind kind) const;
  bool Urgent() const;
  int64_t FloorPeriods() const;
  void NoteHeard(const HeardByAll& heard);
  PeerUse& UseOf(const PeerReport& report, bool& first);
  void Apply(const PeerReport& report, PeerUse& use, bool first, Kind kind);
};

}  // namespace spillway
