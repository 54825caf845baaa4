#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/dialect/openai.h"
#include "dataplane/exchange/exchange.h"
#include "dataplane/metering/meter.h"
#include "dataplane/pipeline/job.h"
#include "dataplane/pipeline/ticket.h"
#include "dataplane/routing/plan.h"
#include "dataplane/upstream/call.h"

namespace spillway {

// One attempt at a provider: the call, what is held for it, its open record in the journal, and
// what its answer said so far. Lives in the dispatch of its request. It is settled exactly once and
// its record closed exactly once; what nobody came to does the destructor (settled as estimated and
// cut, closed as the last attempt of its request).
class Attempt {
 public:
  Attempt(Exchange& x, const Job& job, Estimator& estimator, const PlannedAttempt& planned,
          Holding holding, OpenAttempt open, std::string id, UpstreamPool& pool,
          const CallTimeouts& timeouts);
  ~Attempt();
  Attempt(const Attempt&) = delete;
  Attempt& operator=(const Attempt&) = delete;

  struct Ending {
    v1::EndReason end = v1::END_FINISHED;
    v1::UsageSource source = v1::USAGE_SOURCE_NONE;
    TokenUsage usage;
    std::string service_tier = {};  // as billed; empty: standard
  };
  // From here on what is reserved is charged unless Settle knows better.
  void WentUpstream() { holding_.reservation.WentUpstream(); }
  // How it ended and what it cost: charges the reservation and the limits, teaches the estimator,
  // adds to the exchange's record. Only the first call counts.
  void Settle(Ending ending);
  // Journals that. Apart from Settle, because only the next attempt, which needs what this one gave
  // back, shows whether this was the last: `winner`. Settled before; only the first call counts.
  void Close(bool winner);

  // Nothing can have been consumed.
  static Ending Free(v1::EndReason end) { return {.end = end}; }
  // The prompt may have been read; of a stream what the scanner counted, of a whole answer that was
  // cut what is likely for its length: a provider begins to send it when all of it is made.
  Ending Estimated(v1::EndReason end) const;
  // The provider's own figures when it gave them, else Estimated. Those of a stream that broke off
  // with text behind them are an estimate, too, of at least what was relayed.
  Ending Told(v1::EndReason end) const;

  // A stream that outgrows what was reserved for it reserves more, `step_tokens` ahead of itself,
  // and journals that before its client gets more. Without success it goes on: what it costs beyond
  // is charged all the same.
  void TopUp(int64_t step_tokens);

  // Marks the first byte of the answer.
  void OnFirstToken();
  // From the beginning to that.
  int64_t first_token_us() const {
    return first_token_ns_ == 0 ? 0 : (first_token_ns_ - begun_ns_) / 1'000;
  }

  const PlannedAttempt& planned() const { return planned_; }
  const ModelSpec& model() const { return *planned_.model; }
  // The provider's key that goes with it; empty: none.
  std::string_view credential() const;
  const std::string& id() const { return id_; }
  // Output tokens that the provider was told to make at most, all choices together: no estimate by
  // length goes above.
  int64_t output_most() const { return output_most_; }
  const Holding& holding() const { return holding_; }

  UpstreamCall call;
  // The answer, once its head is here.
  int http_status = 0;
  std::string_view content_type;
  std::string content_type_text;                 // of an unusual type
  std::string headers;                           // of the provider, for the client
  std::string_view body;                         // unary
  std::optional<size_t> coming;                  // unary: the length of one that is not whole
  std::optional<openai::StreamScanner> scanner;  // streams
  std::string held;                              // streams: bytes for the client from earlier reads
  std::vector<std::string_view> pieces;          // streams: the same of the last read
  bool broken_events = false;                    // streams: nothing behind `pieces` can be used

 private:
  void SettleLimits(const Ending& ending);
  void Teach(const TokenUsage& usage);

  Exchange& x_;
  const Job& job_;
  Estimator& estimator_;
  const PlannedAttempt planned_;
  Holding holding_;
  std::optional<OpenAttempt> open_;
  const std::string id_;
  const int64_t begun_ns_;
  int64_t first_token_ns_ = 0;
  const int64_t output_most_;
  int64_t covered_tokens_;  // of the output, by what is reserved
  std::optional<Ending> ending_;
  int64_t duration_us_ = 0;
  Nanos reserved_ = 0;  // when it was settled
};

}  // namespace spillway
