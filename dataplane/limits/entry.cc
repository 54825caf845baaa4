#include "dataplane/limits/entry.h"

#include <algorithm>
#include <format>

#include "common/clock.h"

namespace spillway {
namespace {

constexpr int64_t kHourNs = 3'600'000'000'000;
constexpr int64_t kRoundMs = 100;       // when peers' shares are known better
constexpr int64_t kSlotWaitMs = 1'000;  // nobody knows when a call ends
// One message claims at most so many limits, and all of them together no deeper debt.
constexpr int64_t kClaimLimitsMax = 16;
constexpr int64_t kWeightOne = 256;
// Peers hear at once of a change of the limit's 1/kUrgentParts.
constexpr int64_t kUrgentParts = 16;
// What nobody confirmed after this was lost.
constexpr int64_t kToldLostNs = int64_t{300} * kNsPerMs;
// So long a peer that confirms nothing is told how many requests run: it is of another kind.
constexpr int64_t kToldInVainNs = int64_t{10'000} * kNsPerMs;

// FNV-1a: the same in all processes.
uint64_t TurnOf(std::string_view text) {
  uint64_t turn = 14'695'981'039'346'656'037U;
  for (const char c : text) turn = (turn ^ static_cast<unsigned char>(c)) * 1'099'511'628'211U;
  return turn >> 32;
}

}  // namespace

LimitEntry::LimitEntry(std::string_view limit, std::string_view subject, size_t the_hash,
                       int64_t the_birth)
    : key(std::format("{}{}", limit, subject)),
      limit_bytes(limit.size()),
      hash(the_hash),
      birth(the_birth),
      turn(TurnOf(key)) {}

void LimitEntry::Refresh(int64_t now_ns, uint64_t now_round) {
  if (open && now_ns >= end_ns) Roll(now_ns);
  if (round != now_round) BeginRound(now_round);
  if (now_ns - next_before_ns < kUnheardNs) return;
  before = next_before;
  next_before = paced;
  next_before_ns = now_ns;
}

void LimitEntry::SetSpec(const std::shared_ptr<const RateLimitSpec>& new_spec,
                         const FleetView& view) {
  const bool was_unknown = spec == nullptr;
  spec = new_spec;
  const auto set = [&](Bucket& bucket, int64_t limit) {
    limit = std::clamp<int64_t>(limit, 0, kLimitMax);
    bucket.SetLimit(limit, view.ShareOfLimit(limit, turn));
  };
  set(buckets[kRequests], spec->requests);
  set(buckets[kTokens], spec->tokens);
  running_max = std::clamp<int64_t>(spec->concurrent, 0, kLimitMax);
  running_share = view.ShareOf(running_max, turn);
  const int64_t new_period_ns = std::max<int64_t>(spec->period_ms, 1) * kNsPerMs;
  if (open) end_ns += new_period_ns - period_ns;
  period_ns = new_period_ns;
  for (Bucket& bucket : buckets) {
    if (!open) bucket.Reset();
    if (was_unknown) bucket.RaiseToFloor(FloorPeriods());
  }
}

bool LimitEntry::SeeFleet(const FleetView& view) {
  generation = view.generation;
  if (joins != view.joins) {
    joins = view.joins;
    known = {};
    pending = {};
    latest = {};
  }
  if (view.losses == losses + 1 && view.heard_before != nullptr) NoteHeard(*view.heard_before);
  losses = view.losses;
  int64_t charged = 0;
  for (const Kind kind : {kRequests, kTokens}) {
    Bucket& bucket = buckets[kind];
    const int64_t charge =
        bucket.SetShare(view.ShareOfLimit(bucket.limit, turn), open ? Unheard(kind) : 0);
    if (!open) bucket.Reset();
    // The peers that are left share the part it comes out of: to them it is as if it were taken.
    mine[kind] += charge;
    charged += charge;
  }
  running_share = view.ShareOf(running_max, turn);
  // A process that is gone runs nothing any more, also when another one took its place at once.
  std::erase_if(peers, [&view](const PeerUse& use) {
    return !view.IsLive({.id = use.member, .life = use.life});
  });
  return charged > 0;
}

void LimitEntry::Tell(uint64_t sent, const HeardByAll& heard, int64_t now_ns) {
  NoteHeard(heard);
  if (Running() != announced[kRunning]) {
    running_told = sent;
    running_told_ns = now_ns;
  }
  announced = {mine[kRequests], mine[kTokens], Running()};
  latest = {.sent = sent, .at_ns = now_ns, .totals = {mine[kRequests], mine[kTokens]}};
  if (pending.sent == 0 || now_ns - pending.at_ns > kToldLostNs) pending = latest;
}

void LimitEntry::NoteHeard(const HeardByAll& heard) {
  const bool newest = heard.Has(latest.sent);
  if (!newest && !heard.Has(pending.sent)) return;
  known = newest ? latest.totals : pending.totals;
  if ((newest ? latest.sent : pending.sent) >= running_told) running_told = 0;
  pending = newest ? ToldTotals{} : latest;
  if (newest) latest = {};
}

bool LimitEntry::RunningUnheard(const HeardByAll& heard, int64_t now_ns) {
  NoteHeard(heard);
  if (now_ns - running_told_ns > kToldInVainNs) running_told = 0;
  return running_told != 0;
}

bool LimitEntry::ToldLongAgo(int64_t now_ns) const { return now_ns - latest.at_ns > kToldLostNs; }

int64_t LimitEntry::Unheard(Kind kind) const {
  // What was used before the running period, and did not make debt, is nobody's concern any more.
  const Bucket& bucket = buckets[kind];
  const int64_t most = bucket.Used() + bucket.carried / kBucketUnit;
  return std::clamp<int64_t>(mine[kind] - known[kind], 0, most);
}

void LimitEntry::Open(int64_t start_ns, int64_t now_ns) {
  open = true;
  used = false;
  end_ns = std::max(start_ns + period_ns, now_ns + 1);
}

void LimitEntry::Roll(int64_t now_ns) {
  const int64_t periods = (now_ns - end_ns) / period_ns + 1;
  bool idle = !used || periods > 1;
  for (Bucket& bucket : buckets) {
    idle = idle && bucket.wanted == 0;
    bucket.Refill(periods);
    idle = idle && bucket.IsFull();
  }
  const auto halvings = static_cast<int>(std::min<int64_t>(periods, 62));
  for (const Kind kind : {kRequests, kTokens}) {
    own[kind] = 0;
    undone[kind] = 0;
    recent[kind] >>= halvings;
    for (PeerUse& use : peers) {
      use.recent[kind] >>= halvings;
      use.claimed[kind] >>= halvings;
    }
  }
  used = false;
  open = !idle;
  end_ns += periods * period_ns;
}

// What peers took before the last round began has been heard since.
void LimitEntry::BeginRound(uint64_t now_round) {
  const std::array<int64_t, 3>& safe = now_round == round + 1 ? mark : paced;
  for (PeerUse& use : peers) {
    for (const Kind kind : {kRequests, kTokens})
      use.base[kind] = std::max(use.base[kind], safe[kind]);
    use.base[kRunning] = std::min(safe[kRunning], paced[kRunning]);
  }
  mark = paced;
  round = now_round;
  Reweigh();
}

void LimitEntry::Reweigh() {
  for (PeerUse& use : peers) {
    for (const Kind kind : {kRequests, kTokens}) Weigh(use, kind, recent[kind]);
  }
}

void LimitEntry::Weigh(PeerUse& use, Kind kind, int64_t ours) {
  const int64_t theirs = std::min(use.recent[kind], kLimitMax);
  use.weight[kind] =
      theirs >= ours ? (theirs > 0 ? kWeightOne : 0) : (theirs * kWeightOne + ours - 1) / ours;
}

// So much of what was assumed of the peer is known now, and must not count twice: as much of our
// own use is matched. Like is weighed with like, its use as heard and ours up to there.
void LimitEntry::Match(PeerUse& use, Kind kind, int64_t claim) const {
  use.recent[kind] += claim;
  const auto ours = [&] {
    return recent[kind] - std::max<int64_t>(paced[kind] - use.base[kind], 0);
  };
  Weigh(use, kind, ours());
  const int64_t matched =
      std::min(claim, kLimitMax) * kWeightOne / std::max<int64_t>(use.weight[kind], 1);
  use.base[kind] = std::min(use.base[kind] + matched, paced[kind]);
  Weigh(use, kind, ours());
}

int64_t LimitEntry::Hidden(Kind kind) const {
  int64_t hidden = 0;
  for (const PeerUse& use : peers) {
    const int64_t since = std::max<int64_t>(paced[kind] - use.base[kind], 0);
    hidden += std::min(since, kLimitMax) * use.weight[kind == kTokens ? kTokens : kRequests];
  }
  return hidden;  // in 1/256
}

int64_t LimitEntry::TokensOf(const LimitAsk& ask) const {
  const int64_t input = std::clamp<int64_t>(ask.input_tokens, 0, kLimitMax);
  const int64_t output = std::clamp<int64_t>(ask.output_tokens, 0, kLimitMax);
  if (spec == nullptr) return input + output;
  if (spec->token_kind == v1::TOKEN_KIND_INPUT) return input;
  if (spec->token_kind == v1::TOKEN_KIND_OUTPUT) return output;
  return std::min(input + output, kLimitMax);
}

std::optional<LimitHeld::What> LimitEntry::Check(int64_t ask_tokens) const {
  constexpr int64_t kUnitsPerWeight = kBucketUnit / kWeightOne;
  if (!buckets[kRequests].Fits(1, Hidden(kRequests) * kUnitsPerWeight))
    return LimitHeld::What::kRequests;
  if (!buckets[kTokens].Fits(ask_tokens, Hidden(kTokens) * kUnitsPerWeight))
    return LimitHeld::What::kTokens;
  if (running_max > 0) {
    int64_t left = running_share - mine[kRunning];
    for (const PeerUse& use : peers) left -= use.running;
    if (left < 1 || (left - 1) * kWeightOne < Hidden(kRunning)) return LimitHeld::What::kConcurrent;
  }
  return std::nullopt;
}

void LimitEntry::NoteHeld(LimitHeld::What what, int64_t ask_tokens, int64_t now_ns) {
  if (what == LimitHeld::What::kConcurrent) return;
  // A share below one request fills over several periods: they must run.
  if (!open) Open(now_ns, now_ns);
  if (what == LimitHeld::What::kRequests) buckets[kRequests].NoteHeld(1);
  if (what == LimitHeld::What::kTokens) buckets[kTokens].NoteHeld(ask_tokens);
}

int64_t LimitEntry::RetryAfterMs(LimitHeld::What what, int64_t ask_tokens, int64_t now_ns) const {
  if (what == LimitHeld::What::kConcurrent) return kSlotWaitMs;
  const bool requests = what == LimitHeld::What::kRequests;
  const Bucket& bucket = buckets[requests ? kRequests : kTokens];
  const int64_t amount = requests ? 1 : ask_tokens;
  if (bucket.Fits(amount, 0)) return kRoundMs;
  const int64_t left_ns = std::max<int64_t>(end_ns - now_ns, 0);
  const __int128 wait_ns =
      left_ns + static_cast<__int128>(bucket.PeriodsUntil(amount)) * period_ns + kNsPerMs - 1;
  return std::max<int64_t>(static_cast<int64_t>(wait_ns / kNsPerMs), 1);
}

bool LimitEntry::Urgent() const {
  for (const Kind kind : {kRequests, kTokens}) {
    const int64_t limit = buckets[kind].limit;
    if (limit > 0 && (mine[kind] - announced[kind]) * kUrgentParts >= limit) return true;
  }
  const int64_t change = mine[kRunning] - announced[kRunning];
  return running_max > 0 && change != 0 &&
         (change < 0 ? -change : change) * kUrgentParts >= running_max;
}

bool LimitEntry::Take(int64_t ask_tokens, int64_t now_ns) {
  const bool first = !open;
  if (first) Open(now_ns, now_ns);
  used = true;
  const std::array<int64_t, 2> amounts = {1, ask_tokens};
  for (const Kind kind : {kRequests, kTokens}) {
    buckets[kind].Take(amounts[kind]);
    mine[kind] += amounts[kind];
    paced[kind] += amounts[kind];
    own[kind] += amounts[kind];
    recent[kind] += amounts[kind];
  }
  paced[kRunning] = ++mine[kRunning];
  return first || Urgent();
}

bool LimitEntry::AdjustTokens(int64_t delta, int64_t now_ns) {
  if (delta > 0) {
    if (!open) Open(now_ns, now_ns);
    used = true;
    buckets[kTokens].Take(delta);
    paced[kTokens] += delta;
    recent[kTokens] += delta;
  } else {
    buckets[kTokens].GiveBack(-delta);
    undone[kTokens] -= delta;
  }
  mine[kTokens] += delta;
  own[kTokens] = std::max<int64_t>(own[kTokens] + delta, 0);
  return Urgent();
}

bool LimitEntry::Release(bool give_back, int64_t held_tokens) {
  paced[kRunning] = --mine[kRunning];
  for (PeerUse& use : peers) use.base[kRunning] = std::min(use.base[kRunning], paced[kRunning]);
  mark[kRunning] = std::min(mark[kRunning], paced[kRunning]);
  if (give_back) {
    buckets[kRequests].GiveBack(1);
    ++undone[kRequests];
    --mine[kRequests];
    own[kRequests] = std::max<int64_t>(own[kRequests] - 1, 0);
    AdjustTokens(-held_tokens, 0);
  }
  return Urgent();
}

int64_t LimitEntry::FloorPeriods() const {
  return std::clamp<int64_t>(kHourNs / period_ns, 1, kClaimLimitsMax);
}

PeerUse& LimitEntry::UseOf(const PeerReport& report, bool& first) {
  auto at = std::ranges::find(peers, report.member, &PeerUse::member);
  first = at == peers.end() || at->life != report.life || at->born != report.born;
  if (at == peers.end()) at = peers.insert(peers.end(), PeerUse{.member = report.member});
  if (first) {
    at->life = report.life;
    at->born = report.born;
    at->claimed = {};
  }
  return *at;
}

void LimitEntry::Apply(const PeerReport& report, PeerUse& use, bool first, Kind kind) {
  Bucket& bucket = buckets[kind];
  const int64_t most =
      bucket.limit > 0 ? std::min(kClaimLimitsMax * bucket.limit, kLimitMax) : kLimitMax;
  const int64_t change = first ? report.own[kind] : report.total[kind] - use.heard[kind];
  const int64_t claim = std::clamp(change, -use.claimed[kind], most);
  if (claim > 0) {
    bucket.TakeRemote(claim, FloorPeriods());
    Match(use, kind, claim);
    used = true;
  } else if (claim < 0) {
    bucket.GiveBackRemote(-claim);
  }
  use.claimed[kind] += claim;
  // What it knows of us may have been given back since.
  const int64_t everyone = report.everyone[kind] - undone[kind];
  if (first && everyone > 0) bucket.LowerTo(everyone, FloorPeriods());
  use.heard[kind] = report.total[kind];
  use.base[kind] = std::max(use.base[kind], before[kind]);
}

void LimitEntry::Hear(const PeerReport& report, int64_t now_ns) {
  if (spec == nullptr && !open) period_ns = report.period_ns;
  bool first = false;
  PeerUse& use = UseOf(report, first);
  bool news = false;
  for (const Kind kind : {kRequests, kTokens}) {
    news = news || (first ? report.own[kind] > 0 || report.everyone[kind] > 0
                          : report.total[kind] > use.heard[kind]);
  }
  if (news && !open) {
    Open(now_ns - std::clamp<int64_t>(report.age_ns, 0, period_ns), now_ns);
    used = true;
  }
  Apply(report, use, first, kRequests);
  Apply(report, use, first, kTokens);
  use.running = std::clamp<int64_t>(report.running, 0, kLimitMax);
  use.base[kRunning] = std::min(before[kRunning], paced[kRunning]);
}

LimitStandings LimitEntry::Standings(int64_t now_ns) const {
  const int64_t reset_ms =
      open ? (std::max<int64_t>(end_ns - now_ns, 0) + kNsPerMs - 1) / kNsPerMs : 0;
  const auto standing = [reset_ms](const Bucket& bucket) {
    if (bucket.limit == 0) return LimitStanding{};
    return LimitStanding{
        .limit = bucket.limit, .remaining = bucket.Remaining(), .reset_ms = reset_ms};
  };
  return {.requests = standing(buckets[kRequests]), .tokens = standing(buckets[kTokens])};
}

bool LimitEntry::IsIdle() const {
  return pins == 0 && waiting == 0 && !dirty && !unheard && !open && mine[kRunning] == 0 &&
         std::ranges::all_of(peers, [](const PeerUse& use) { return use.running == 0; });
}

}  // namespace spillway
