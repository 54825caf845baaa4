#include "controlplane/ledger/resend_watch.h"

#include <algorithm>

namespace spillway::ledger {

int64_t ResendWatch::Wait(int tries) {
  const int64_t top = std::min(every_ns_max_, after_ns_ << std::min(tries, 20));
  return std::uniform_int_distribution<int64_t>(top / 2, top)(random_);
}

ResendWatch::Ranges ResendWatch::Due(const Ranges& missing, int64_t now_ns, int64_t drained_ns) {
  ++round_;
  Ranges due;
  for (const auto& [instance, ranges] : missing) {
    for (const v1::Resend& range : ranges) {
      const auto [at, made] = gaps_.try_emplace({range.incarnation(), range.from_seq()});
      Gap& gap = at->second;
      gap.round = round_;
      if (made) gap.seen_ns = now_ns, gap.next_ns = now_ns + after_ns_;
      const bool settled = drained_ns > gap.seen_ns || now_ns - gap.seen_ns > kPatience * after_ns_;
      if (now_ns < gap.next_ns || !settled) continue;
      gap.next_ns = now_ns + Wait(++gap.tries);
      due[instance].push_back(range);
    }
  }
  std::erase_if(gaps_, [this](const auto& gap) { return gap.second.round != round_; });
  return due;
}

}  // namespace spillway::ledger
