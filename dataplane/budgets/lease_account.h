#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/money.h"
#include "common/window.h"
#include "spillway/v1/resources.pb.h"

namespace spillway {

// What a lease is about; a window is named by its start. Equal to v1::Account.
struct AccountKey {
  std::string budget_id;
  std::string subject;
  int64_t window_start_s = 0;
  friend bool operator==(const AccountKey&, const AccountKey&) = default;
};

// An account within one LeaseHolder. Good until that holder forgets it, which it does only when the
// window is long over and nothing is reserved; from then on it names nothing (Holds is false).
struct AccountHandle {
  uint32_t slot = UINT32_MAX;
  uint32_t generation = 0;
  friend bool operator==(const AccountHandle&, const AccountHandle&) = default;
};

// What the budget of an account says, from the snapshot; given anew at every Open.
struct AccountPolicy {
  Nanos limit = 0;  // with the raise, when it runs
  v1::OnPartition on_partition = v1::ON_PARTITION_OPEN;
  bool open_unheard = false;
  v1::OnOverrun on_overrun = v1::ON_OVERRUN_FINISH;
  bool frozen = false;
  WindowKind window = WindowKind::kMonth;
  int rolling_hours = 1;
};

// One budget that a request needs. `upper_nanos`: what the call can cost at most (0: no more than
// reserved); only for the overshoot bound. Without `enforce` (on_exhausted: warn) it is reserved
// and charged like any other and never refuses.
struct Need {
  AccountHandle account;
  Nanos nanos = 0;
  Nanos upper_nanos = 0;
  bool enforce = true;
};

enum class ReserveOutcome : uint8_t {
  kAdmitted,  // all reserved
  kShort,     // nothing reserved; a grant may help: worth a wait
  kRefused,   // nothing reserved; waiting will not help
};
enum class ReserveReason : uint8_t {
  kNone,
  kExhausted,  // not enough left, as far as is known
  kFrozen,     // the kill switch
  kNeverFits,  // needs more than the whole limit
  kCutOff,     // out of contact with the control plane, and the policy allows no more
  kForgotten,  // the handle names nothing
};
struct ReserveResult {
  ReserveOutcome outcome = ReserveOutcome::kRefused;
  ReserveReason reason = ReserveReason::kNone;
  int need = -1;      // the first need that was not met
  bool open = false;  // admitted beyond the lease, by on_partition: open
  bool admitted() const { return outcome == ReserveOutcome::kAdmitted; }
};

// One account as it stands, for display.
struct AccountFigures {
  AccountKey key;
  Nanos granted = 0;    // g, usable
  Nanos returned = 0;   // r
  Nanos charged = 0;    // c
  Nanos reserved = 0;   // v
  int calls = 0;        // that hold a reservation
  Nanos remainder = 0;  // as last heard: limit - exposure
  Nanos returning = 0;  // of `returned`, what the control plane did not know of when it said that
  bool heard = false;   // the control plane ever answered for it
  bool closed = false;  // as last heard: nothing is granted
  Nanos demand_per_s = 0;
  // What may be spent above the limit because of this holder, with what is in flight now (finish:
  // upper bound - reserved; open: also the remainder last heard, or the limit when never heard).
  Nanos overshoot_bound = 0;
  Nanos free() const { return granted - returned - charged - reserved; }
};

}  // namespace spillway
