#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "common/money.h"

namespace spillway {

// A serialised v1::Account, made once per account and shared by all records that name it.
using AccountBytes = std::shared_ptr<const std::string>;

// Money set aside for one attempt: the same amount in each account that the attempt falls under.
// Move-only, one owner; any thread, one at a time. Must be settled; one that is dropped gives
// everything back when nothing went upstream, and charges what it reserved when something did, so
// that no path forgets a bill. A default-made one holds nothing and does nothing (no budget
// applies). The Budgets it came from must outlive it.
class Reservation {
 public:
  Reservation() noexcept;
  Reservation(Reservation&& other) noexcept;
  Reservation& operator=(Reservation&& other) noexcept;
  ~Reservation();

  // False: no budget applies; nothing is held.
  explicit operator bool() const { return state_ != nullptr; }
  // Held in each account now, extensions included.
  Nanos amount() const;
  // A budget says `cap`: the call must be bounded so that it cannot cost more than amount().
  bool capped() const;
  // What the journal's records name (AttemptInfo::accounts). Valid as long as the reservation.
  std::span<const AccountBytes> accounts() const;
  // Who leased it, for AttemptInfo::holder: empty for the incarnation, which it always is unless
  // the control plane gave this process up while it was cut off. Valid as long as the reservation.
  std::string_view holder() const;

  // Call before the first upstream byte. From then on dropping it charges amount().
  void WentUpstream();
  // For streams that cost more than was reserved: sets `more` aside as well, from what this process
  // holds; asks nobody and never waits. False: an account has not that much left; nothing changed.
  bool Extend(Nanos more);
  // The end: `hold` is charged to every account in place of what was reserved (what the attempt
  // costs, or more while its truth is not known: Finished.hold_nanos); it may be more than amount()
  // (an overrun) or 0 (nothing was consumed). `cost` is what reports say; it only feeds metrics.
  void Settle(Nanos cost, Nanos hold) &&;

  // dataplane/budgets only.
  struct State;
  explicit Reservation(std::unique_ptr<State> state);

 private:
  void Drop();
  std::unique_ptr<State> state_;
};

}  // namespace spillway
