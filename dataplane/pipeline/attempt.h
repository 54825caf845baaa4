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
#include "dataplane/routing/plan.h"
#include "dataplane/upstream/call.h"

namespace spillway {

// One attempt at a provider: the call, its open record in the journal, and what its answer said so
// far. Lives in the dispatch of its request; its record is closed exactly once, by Finish or, when
// nobody came to that, by the destructor (as estimated and cut).
class Attempt {
 public:
  Attempt(Exchange& x, const Job& job, const PlannedAttempt& planned, OpenAttempt open,
          std::string id, UpstreamPool& pool, const CallTimeouts& timeouts);
  Attempt(const Attempt&) = delete;
  Attempt& operator=(const Attempt&) = delete;

  // How it ended and what it cost; adds both to the exchange's record.
  struct Ending {
    v1::EndReason end = v1::END_FINISHED;
    v1::UsageSource source = v1::USAGE_SOURCE_NONE;
    TokenUsage usage;
    bool winner = false;
  };
  void Finish(const Ending& ending);
  bool finished() const { return !open_.has_value(); }

  // Nothing can have been consumed.
  static Ending Free(v1::EndReason end) { return {.end = end}; }
  // The prompt may have been read; of the answer what the scanner counted.
  Ending Estimated(v1::EndReason end) const;
  // The provider's own figures when it gave them, else Estimated.
  Ending Told(v1::EndReason end) const;

  // Marks the first byte of the answer.
  void OnFirstToken();
  // From the beginning to that.
  int64_t first_token_us() const {
    return first_token_ns_ == 0 ? 0 : (first_token_ns_ - begun_ns_) / 1'000;
  }

  const PlannedAttempt& planned() const { return planned_; }
  const ModelSpec& model() const { return *planned_.model; }
  const std::string& id() const { return id_; }

  UpstreamCall call;
  // The answer, once its head is here.
  int http_status = 0;
  std::string_view content_type;
  std::string content_type_text;                 // of an unusual type
  std::string headers;                           // of the provider, for the client
  std::string_view body;                         // unary
  std::optional<openai::StreamScanner> scanner;  // streams
  std::string held;                              // streams: bytes for the client from earlier reads
  std::vector<std::string_view> pieces;          // streams: the same of the last read
  bool broken_events = false;                    // streams: nothing behind `pieces` can be used

 private:
  Exchange& x_;
  const Job& job_;
  const PlannedAttempt planned_;
  std::optional<OpenAttempt> open_;
  const std::string id_;
  const int64_t begun_ns_;
  int64_t first_token_ns_ = 0;
};

}  // namespace spillway
