#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "common/clock.h"
#include "common/error.h"
#include "common/money.h"
#include "spillway/v1/usage.pb.h"

namespace spillway {

class Journal;

// What is known before an attempt goes upstream.
struct AttemptInfo {
  std::string_view request_id;
  std::string_view attempt_id;
  int attempt = 1;
  // Names, valid during the call.
  std::string_view organization, team, user, key, feature, route, model, provider;
  // Free tags, sorted by name; the first 8 are recorded, each text cut at 64 bytes.
  std::span<const std::pair<std::string, std::string>> tags = {};
  Price price;  // nullptr: none is known, and the records say so
  TokenUsage estimate;
  std::string_view service_tier = {};  // as it will likely be billed; empty: standard
  int64_t revision = 0;
  bool stream = false;
  bool fallback = false;    // not the first target of its plan
  bool downgraded = false;  // goes to a cheaper route than the client named
  bool unpriced = false;    // allowed although nothing knows its price
  // Budget accounts that hold `reserved`, each (Reservation::accounts, amount); valid during the
  // call. Without any, `reserved` is the cost of `estimate`.
  std::span<const std::shared_ptr<const std::string>> accounts = {};
  Nanos reserved = 0;
  std::string_view holder = {};  // Reservation::holder
};

// What is known after it.
struct AttemptOutcome {
  TokenUsage usage;
  v1::UsageSource source = v1::USAGE_SOURCE_ESTIMATED;
  v1::EndReason end = v1::END_UPSTREAM_CUT;
  int http_status = 0;
  bool winner = false;
  int64_t duration_us = 0;
  int64_t first_token_us = 0;
  std::string_view service_tier = {};  // as billed; empty: standard
  // What the reservation has come to (Reservation::amount), when it was extended on the way.
  std::optional<Nanos> reserved = {};
};

// What an attempt came to: what reports say, and what budgets count (Reservation::Settle).
struct AttemptCharge {
  Nanos cost = 0;
  Nanos hold = 0;
};
// Budgets count the cost, too; but while the truth is not known, so for an estimate, at least what
// was `reserved` in them. USAGE_SOURCE_NONE: nothing was consumed, both are 0.
AttemptCharge ChargeOf(const TokenUsage& usage, v1::UsageSource source, const Price& price,
                       std::string_view service_tier, Nanos reserved);

// An attempt that was journalled as started. Must be finished; one that is dropped finishes as
// estimated and cut, so that no path forgets a bill (its reservation, dropped, charges the same).
// Move-only, one owner.
class OpenAttempt {
 public:
  OpenAttempt(OpenAttempt&&) noexcept;
  OpenAttempt& operator=(OpenAttempt&&) = delete;
  ~OpenAttempt();
  // Journals that it came to hold more than `started` says, so that a kill bills that much.
  void Outgrow(const TokenUsage& covered, Nanos reserved);
  // Journals `finished`, with its charge.
  AttemptCharge Finish(const AttemptOutcome& outcome) &&;

 private:
  friend class Meter;
  struct Rep;
  explicit OpenAttempt(std::unique_ptr<Rep> rep);
  std::unique_ptr<Rep> rep_;
};

// Writes usage into the journal. Thread-safe; never waits for disk or network.
class Meter {
 public:
  Meter(Journal& journal, const Clock& clock) : journal_(journal), clock_(clock) {}
  // Before the first upstream byte. kJournalFull only under policy `refuse`.
  Result<OpenAttempt> Start(const AttemptInfo& info);

 private:
  Journal& journal_;
  const Clock& clock_;
};

}  // namespace spillway
