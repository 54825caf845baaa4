#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/money.h"
#include "common/window.h"
#include "spillway/v1/lease.pb.h"

namespace spillway {

// What a budget says about its accounts, from the store. `limit` without the raise.
struct BudgetTerms {
  std::string id;
  Nanos limit = 0;
  Nanos raise = 0;
  int64_t raise_until_ms = 0;
  bool frozen = false;
  WindowKind window = WindowKind::kMonth;
  int rolling_hours = 0;
  std::string time_zone;
  friend bool operator==(const BudgetTerms&, const BudgetTerms&) = default;
};

// Stands as holder of what a budget's window began with (LeaseKeeper::Seed); on no roster.
inline constexpr std::string_view kSeedHolder = "seed";

// One account of one holder, as stored: all but `settled` only grow.
struct LeaseAccountRow {
  std::string budget_id;
  std::string subject;
  int64_t window_start_s = 0;
  std::string holder;
  Nanos granted = 0;                          // g, cumulative
  Nanos returned = 0;                         // r, cumulative
  Nanos settled = 0;                          // s, from applied events
  Nanos reported = 0;                         // p, the holder's own cumulative charge
  std::optional<Nanos> final = std::nullopt;  // set when the holder closed

  // What this holder may have spent, or may still spend.
  Nanos Exposure() const;
};

struct LeaseHolderRow {
  std::string holder;  // incarnation, 32 hex digits
  std::string instance;
  bool closed = false;
  bool tombstoned = false;       // permanent: never granted to again
  bool retired = false;          // tombstoned by an operator: nothing more is waited for from it
  int64_t reconciled_epoch = 0;  // the last under which it told all that it has
};

// The keeper's own state: one row.
struct LeaseKeeperRow {
  int64_t time_ms = 0;  // T: no window is chosen by an earlier time
  // A restore's gate: windows that began by `restored_at_ms` stay shut until the roster has told
  // all.
  bool gated = false;
  int64_t restored_at_ms = 0;
  int64_t restore_epoch = 0;
  bool replayed = false;        // the stream was replayed to its end as it stood at the restore
  bool stream_damaged = false;  // loss known or suspected: shut until an operator opens it
};

// What one or more messages did. Rows first, in ONE synced batch (deletions before the rest: a row
// may be dropped and come back); only then may messages leave.
struct LeaseEffects {
  std::vector<LeaseAccountRow> accounts;
  std::vector<LeaseAccountRow> dropped_accounts;  // to be deleted (only the key counts)
  std::vector<LeaseHolderRow> holders;
  std::vector<std::string> dropped_holders;
  std::optional<LeaseKeeperRow> keeper;
  struct Outgoing {
    std::string instance;
    v1::LeaseGrant grant;
  };
  std::vector<Outgoing> grants;
  std::vector<v1::Recall> recalls;
  bool empty() const {
    return accounts.empty() && dropped_accounts.empty() && holders.empty() &&
           dropped_holders.empty() && !keeper && grants.empty() && recalls.empty();
  }
};

// One holder's part in an account, for people.
struct LeaseHolderFigures {
  std::string holder;
  std::string instance;
  enum class State : uint8_t { kLive, kSilent, kTombstoned, kClosed };
  State state = State::kLive;
  Nanos leased = 0;      // may still be spent: exposure - what is known as spent
  Nanos reserved = 0;    // of that, as last reported
  Nanos spent = 0;       // max(s, p), or the final charge
  int64_t heard_ms = 0;  // T when it last asked, or when this process began
  // Nobody can use it until that holder is heard of, closes, or is retired and its window ends.
  Nanos stranded() const { return state == State::kLive || state == State::kClosed ? 0 : leased; }
};

// An account over all holders. For a rolling budget: of the last N hours.
struct LeaseAccountFigures {
  std::string subject;
  WindowSpan window;        // rolling: the current bucket
  int64_t resets_at_s = 0;  // when the money spent first counts no more; INT64_MAX: never
  Nanos limit = 0;          // with the raise
  Nanos settled = 0;
  Nanos exposure = 0;
  Nanos remainder = 0;  // limit - exposure; negative after the limit was lowered
  bool gated = false;
  std::vector<LeaseHolderFigures> holders;
};

// Accounts of one budget, by subject.
struct LeaseAccountPage {
  std::vector<LeaseAccountFigures> accounts;
  std::string next;  // the subject that the next page begins at; empty: there is none
};

}  // namespace spillway
