#include "dataplane/limits/gossip_core.h"

#include <algorithm>
#include <utility>

#include "common/clock.h"
#include "common/subjects.h"
#include "dataplane/limits/rep.h"

namespace spillway {
namespace {

constexpr int64_t kPeriodMsMax = int64_t{31} * 24 * 3'600'000;
constexpr size_t kNameBytesMax = 128;
// Of an entry's figures on the wire, names apart.
constexpr size_t kUseBytes = 96;

void Describe(const LimitEntry& entry, int64_t now_ns, v1::LimitUse& use) {
  const auto& buckets = entry.buckets;
  use.set_limit(std::string(entry.limit_name()));
  use.set_subject(std::string(entry.subject()));
  use.set_requests(entry.mine[LimitEntry::kRequests]);
  use.set_tokens(entry.mine[LimitEntry::kTokens]);
  use.set_concurrent(entry.Running());
  use.set_born(entry.birth);
  use.set_period_ms(entry.period_ns / kNsPerMs);
  if (!entry.open) return;
  use.set_period_age_ms(
      std::clamp<int64_t>(now_ns - (entry.end_ns - entry.period_ns), 0, entry.period_ns) /
      kNsPerMs);
  use.set_own_requests(entry.own[LimitEntry::kRequests]);
  use.set_own_tokens(entry.own[LimitEntry::kTokens]);
  if (buckets[LimitEntry::kRequests].limit > 0)
    use.set_fleet_requests(buckets[LimitEntry::kRequests].Used());
  if (buckets[LimitEntry::kTokens].limit > 0)
    use.set_fleet_tokens(buckets[LimitEntry::kTokens].Used());
}

bool IsSane(const v1::LimitUse& use) {
  return !use.limit().empty() && use.limit().size() <= kNameBytesMax &&
         use.subject().size() <= LimitTable::kSubjectBytesMax && use.period_ms() > 0 &&
         use.period_ms() <= kPeriodMsMax;
}

int64_t Bounded(int64_t figure) { return std::clamp<int64_t>(figure, 0, INT64_MAX / 4); }

PeerReport ReportOf(const v1::LimitUse& use, const Members::Heard& heard) {
  return {.member = heard.member,
          .life = heard.life,
          .born = use.born(),
          .total = {Bounded(use.requests()), Bounded(use.tokens())},
          .running = Bounded(use.concurrent()),
          .period_ns = use.period_ms() * kNsPerMs,
          .age_ns = std::clamp<int64_t>(use.period_age_ms(), 0, use.period_ms()) * kNsPerMs,
          .own = {Bounded(use.own_requests()), Bounded(use.own_tokens())},
          .everyone = {Bounded(use.fleet_requests()), Bounded(use.fleet_tokens())}};
}

}  // namespace

GossipCore::GossipCore(RateLimits& limits, std::string instance, std::string incarnation,
                       int64_t now_ns)
    : limits_(limits),
      instance_(std::move(instance)),
      incarnation_(std::move(incarnation)),
      members_(instance_, /*cluster=*/true, now_ns) {
  ShareView();
}

v1::Gossip GossipCore::Head() {
  v1::Gossip gossip;
  gossip.set_instance(instance_);
  gossip.set_incarnation(incarnation_);
  gossip.set_sent(++sent_);
  return gossip;
}

void GossipCore::Confirm(v1::Gossip& gossip) const {
  for (const Members::Confirmation& each : members_.Confirmations()) {
    v1::GossipHeard& heard = *gossip.add_heard();
    heard.set_instance(each.instance);
    heard.set_incarnation(each.incarnation);
    heard.set_sent(each.sent);
    heard.set_before(each.before);
  }
}

std::vector<std::string> GossipCore::Tick(int64_t now_ns) {
  members_.Tick(now_ns);
  ShareView();
  limits_.rep().table.Sweep(now_ns);
  // Who came must hear of everything; when somebody left, what that costs must be worked out.
  const int64_t live_before = std::exchange(live_, members_.view()->live);
  if (newcomer_.exchange(false) || live_ < live_before) limits_.rep().table.MarkAllChanged();
  return Changed(now_ns, /*rotate=*/true);
}

std::vector<std::string> GossipCore::Urgent(int64_t now_ns) {
  return Changed(now_ns, /*rotate=*/false);
}

std::vector<std::string> GossipCore::Changed(int64_t now_ns, bool rotate) {
  LimitTable& table = limits_.rep().table;
  std::vector<std::string> messages;
  v1::Gossip gossip = Head();
  if (rotate) Confirm(gossip);
  const std::shared_ptr<const FleetView> view = members_.view();
  size_t bytes = 0;
  const auto flush = [&](bool more) {
    gossip.set_more(more);
    messages.push_back(gossip.SerializeAsString());
  };
  const auto add = [&](LimitEntry& entry) {
    const size_t size = entry.key.size() + kUseBytes;
    if (gossip.limits_size() >= static_cast<int>(kUsesMax) || bytes + size > kBytesMax) {
      flush(/*more=*/true);
      gossip = Head();
      bytes = 0;
    }
    bytes += size;
    Describe(entry, now_ns, *gossip.add_limits());
    entry.Tell(gossip.sent(), *view->heard, now_ns);
  };
  const bool more = table.VisitChanged(kUsesMax * kMessagesMax, now_ns, add);
  if (rotate && !more) {
    table.VisitUnheard(kUsesMax, *view->heard, now_ns, add);
    table.VisitSome(kRotationMax, now_ns, add);
  }
  flush(more);
  return messages;
}

void GossipCore::Receive(std::string_view message, int64_t now_ns) {
  v1::Gossip gossip;
  if (message.size() > kReceivedBytesMax ||
      !gossip.ParseFromArray(message.data(), static_cast<int>(message.size())) ||
      !subjects::IsToken(gossip.instance()) || gossip.incarnation().size() > kNameBytesMax ||
      gossip.limits_size() > kReceivedUsesMax || gossip.heard_size() > kReceivedHeardMax) {
    ignored_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  if (gossip.instance() == instance_) return;
  const auto heard = members_.Hear(gossip.instance(), gossip.incarnation(), gossip.sent(), now_ns);
  if (!heard) {
    ignored_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  received_.fetch_add(1, std::memory_order_relaxed);
  if (heard->newcomer) newcomer_.store(true);
  ShareView();
  LimitTable& table = limits_.rep().table;
  for (const v1::LimitUse& use : gossip.limits()) {
    if (IsSane(use)) table.Hear(use.limit(), use.subject(), ReportOf(use, *heard), now_ns);
  }
  members_.Applied(heard->member, gossip.sent());
  for (const v1::GossipHeard& each : gossip.heard()) {
    if (each.instance() == instance_ && each.incarnation() == incarnation_)
      members_.Confirmed(heard->member, each.sent(), each.before());
  }
  if (!gossip.more()) table.SetRound(members_.Complete(heard->member, now_ns));
}

void GossipCore::SetConnected(bool connected, int64_t now_ns) {
  members_.SetConnected(connected, now_ns);
  ShareView();
}

void GossipCore::SetFleetSize(int64_t size, int64_t said_ns, int64_t now_ns) {
  members_.SetFleetSize(size, said_ns, now_ns);
  ShareView();
}

void GossipCore::ShareView() { limits_.rep().table.SetView(members_.view()); }

}  // namespace spillway
