#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/error.h"
#include "dataplane/exchange/exchange.h"
#include "dataplane/pipeline/attempt.h"
#include "dataplane/pipeline/client_watch.h"
#include "dataplane/pipeline/job.h"
#include "dataplane/pipeline/pipeline.h"
#include "dataplane/pipeline/ticket.h"
#include "dataplane/routing/plan.h"

namespace spillway {

// In the place of a provider's own words about an error.
inline constexpr std::string_view kErrorWithheld =
    "the provider's error is withheld: it repeats the credential";

// Finds a provider that answers: the attempts of the ticket's course in order, each paid for and
// journalled before its first byte, until one has an answer worth showing. Nothing has been written
// to the client by then, so that failing over stays invisible. Lives in the serving coroutine; loop
// thread only.
class Dispatch {
 public:
  Dispatch(const PipelineServices& services, Exchange& x, ResponseWriter& out, const Job& job,
           Ticket& ticket);

  // Success: attempt() holds an answer: a whole one, a stream whose first event is here, or a final
  // refusal by a provider, in its own words. Otherwise the last failure; kCancelled: the client
  // left.
  Task<Result<void>> Run();

  Attempt& attempt() { return *attempt_; }
  ClientWatch& watch() { return watch_; }

 private:
  using Failed = std::optional<AttemptFailure>;  // nullopt: attempt() has an answer

  Result<void> Begin(size_t index, Result<Holding> holding);
  Task<Result<bool>> BeginNext(size_t& index);
  Result<OpenAttempt> Start(const PlannedAttempt& planned, const Holding& holding, bool fallback,
                            std::string_view id);
  CallTimeouts TimeoutsOf(const PlannedAttempt& planned) const;
  Task<Failed> Try(bool fresh);
  Task<Failed> TakeAnswer();
  Task<Failed> TakeStream();
  Task<Failed> TakeRefusal();
  Failed Judge(std::string_view body);
  Failed JudgeEvents(std::string_view bytes);
  Failed Lost(Error error);
  Failed Spoiled(Error error, Attempt::Ending ending);
  bool StaleConnection() const;
  bool OutOfTime() const;

  const PipelineServices& services_;
  Exchange& x_;
  const Job& job_;
  Ticket& ticket_;
  ClientWatch watch_;
  std::optional<Attempt> attempt_;
  Error error_;            // of the last attempt
  bool passable_ = false;  // its body can be shown as it is
};

}  // namespace spillway
