#include "controlplane/budgets/overshoot.h"

#include <algorithm>

namespace spillway {
namespace {

// Capped, so that sums of a few hundred of them still fit.
constexpr Nanos kTermMax = Nanos{1} << 52;

Nanos Term(Nanos value) { return std::clamp<Nanos>(value, 0, kTermMax); }

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
  for (const LeaseHolderFigures& holder : account.holders) {
    if (holder.state == LeaseHolderFigures::State::kClosed) continue;
    ++holders;
    const LeaseBook::Hint hint = hint_of(holder.holder);
    overrun += Term(hint.overrun);
    // One that was answered by an earlier process may have heard of anything up to the limit.
    heard +=
        hint.remainder == LeaseBook::Hint::kUnheard ? limit : std::min(Term(hint.remainder), limit);
  }
  if (budget.open_unheard()) heard += std::max<int64_t>(0, fleet_size - holders) * limit;
  OvershootBound bound;
  if (!capped) bound.nanos += overrun;
  if (open) bound.nanos += std::max<Nanos>(0, heard - Term(account.remainder));
  const std::string calls =
      capped ? "calls cannot cost more than they reserved"
             : "calls in flight may cost more than they reserved (on_overrun: finish)";
  const std::string cut_off =
      open ? "data planes that are cut off spend up to the remainder they last heard "
             "(on_partition: open)"
           : "data planes spend what they hold and no more";
  bound.why = calls + "; " + cut_off;
  return bound;
}

}  // namespace spillway
