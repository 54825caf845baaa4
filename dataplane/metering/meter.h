#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

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
  Price price;
  TokenUsage estimate;
  int64_t revision = 0;
  bool stream = false;
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
};

// An attempt that was journalled as started. Must be finished; one that is dropped finishes as
// estimated and cut, so that no path forgets a bill. Move-only, one owner.
class OpenAttempt {
 public:
  OpenAttempt(OpenAttempt&&) noexcept;
  OpenAttempt& operator=(OpenAttempt&&) = delete;
  ~OpenAttempt();
  // Journals `finished`; returns the cost.
  Nanos Finish(const AttemptOutcome& outcome) &&;

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
  friend class OpenAttempt;
  Journal& journal_;
  const Clock& clock_;
};

}  // namespace spillway
