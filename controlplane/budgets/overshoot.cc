#include "controlplane/budgets/overshoot.h"

#include <algorithm>

namespace spillway {
namespace {

// Capped, so that sums of a few hundred of them still fit.
constexpr Nanos kTermMax = Nanos{1} << 52;

Nanos Term(Nanos value) { return std::clamp<Nanos>(value, 0, kTermMax); }

std::string WhyOpen(bool unheard, int64_t data_planes) {
  std::string why =
      "data planes that are cut off spend up to the remainder they last heard "
      "(on_partition: open)";
  if (unheard) {
    why +=
        ", or the whole limit when they never heard of the account, as after a start "
        "(open_unheard: true): counted is one start of each of " +
        std::to_string(data_planes) +
        " data planes, every further start in the same outage adds another limit";
  }
  return why;
}

}  // namespace

OvershootBound BoundOf(const v1::Budget& budget, const LeaseAccountFigures& account,
                       const HintOfHolder& hint_of, int64_t fleet_size) {
  const bool capped = budget.on_overrun() == v1::ON_OVERRUN_CAP;
  const bool open = budget.on_partition() == v1::ON_PARTITION_OPEN ||
                    budget.on_partition() == v1::ON_PARTITION_UNSPECIFIED;
  const Nanos limit = Term(account.limit);
  Nanos overrun = 0;
  Nanos heard = 0;
  int64_t holders = 0;
  int64_t live = 0;
  for (const LeaseHolderFigures& holder : account.holders) {
    if (holder.state == LeaseHolderFigures::State::kClosed) continue;
    ++holders;
    if (holder.state == LeaseHolderFigures::State::kLive) ++live;
    const LeaseBook::Hint hint = hint_of(holder.holder);
    overrun += Term(hint.overrun);
    // One that was answered by an earlier process may have heard of anything up to the limit.
    heard +=
        hint.remainder == LeaseBook::Hint::kUnheard ? limit : std::min(Term(hint.remainder), limit);
  }
  // One that is silent is not counted on, and may start again all the same.
  const int64_t data_planes = std::max(fleet_size, holders);
  if (budget.open_unheard())
    heard += (std::max<int64_t>(0, fleet_size - live) + data_planes) * limit;
  OvershootBound bound;
  if (!capped) bound.nanos += overrun;
  if (open) bound.nanos += std::max<Nanos>(0, heard - Term(account.remainder));
  const std::string calls =
      capped ? "calls cannot cost more than they reserved"
             : "calls in flight may cost more than they reserved (on_overrun: finish)";
  bound.why = calls + "; " +
              (open ? WhyOpen(budget.open_unheard(), data_planes)
                    : "data planes spend what they hold and no more");
  return bound;
}

}  // namespace spillway
