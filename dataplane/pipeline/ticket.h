#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "dataplane/budgets/budgets.h"
#include "dataplane/budgets/estimator.h"
#include "dataplane/exchange/exchange.h"
#include "dataplane/limits/limits.h"
#include "dataplane/pipeline/course.h"
#include "dataplane/pipeline/job.h"
#include "dataplane/pipeline/pipeline.h"

namespace spillway {

// What one attempt holds while it runs; dropped before anything went upstream it gives all back.
struct Holding {
  Estimate estimate;        // at the attempt's target
  Reservation reservation;  // of every budget it falls under
  LimitTicket limits;       // of the rate limits that ask for the target
  int64_t output_cap = 0;   // max_completion_tokens to splice; 0: what the client wrote stands
};

// Proof that a request may go upstream, and what it holds for that: its rate limits, and for each
// attempt its budgets. What holds the request back may send it down, once, to a cheaper course.
// Lives in the serving coroutine, around everything that spends; loop thread only. However the
// request ends, the destructor settles the limits with the tokens that the exchange's record counts
// (or gives them back when nobody was asked).
class Ticket {
 public:
  Ticket(const PipelineServices& services, Exchange& x, ResponseWriter& out, const Job& job,
         Courses courses);
  ~Ticket();
  Ticket(const Ticket&) = delete;
  Ticket& operator=(const Ticket&) = delete;

  // Nothing limits this request: it needs no Admit.
  bool Free() const { return course_->matches.empty() && course_->by_target.empty(); }
  // Takes the request's rate limits (in turn, when its route says queue), then what the first
  // attempt holds. Its refusal is the request's: kRateLimited, kBudgetExceeded, or kCancelled when
  // the client left the queue.
  Task<Result<void>> Admit();

  // The one the request goes; settled with Admit.
  const Course& course() const { return *course_; }
  bool downgraded() const { return course_ != &courses_.named; }
  // The gateway's own rate limits stand in the answer's headers; a provider's would contradict
  // them.
  bool ShowsLimits() const { return standings_.requests.limit > 0 || standings_.tokens.limit > 0; }

  // What the first attempt of the course's plan holds: what Admit took for it.
  Result<Holding> First();
  // The same for a further one. Its refusal concerns that attempt alone.
  Task<Result<Holding>> Next(size_t attempt);

 private:
  // kAgain: from the beginning, on what may be another course now.
  enum class Step : uint8_t { kTaken, kAgain };

  Task<Result<Step>> TakeLimits();
  Task<Result<Step>> TakeFirst();
  Task<LimitOutcome> Take(std::span<const RateLimitMatch> matches, const Estimate& estimate);
  Result<Step> OnHeld(const LimitHeld& held);
  bool Waive(std::string_view limit);
  bool Downgrade(std::string_view to, std::string because);

  // An index does not tell the first attempt from its own retry on a new connection.
  enum class Turn : uint8_t { kFirst, kFurther };
  Task<Result<Admitted>> Reserve(const Holding& holding, size_t attempt, Turn turn);
  Estimate EstimateOf(size_t attempt) const;
  std::span<const RateLimitMatch> TargetLimits(size_t attempt) const;
  std::span<const BudgetMatch> BudgetsOf(size_t attempt);
  Result<void> Keep(Admitted admitted, size_t attempt, Holding& holding);
  Result<void> Cap(size_t attempt, Holding& holding) const;
  void Show(const LimitStandings& standings);

  const PipelineServices& services_;
  Exchange& x_;
  ResponseWriter& out_;
  const Job& job_;
  Courses courses_;
  Course* course_;
  int64_t admitted_ms_ = 0;  // as budgets count time
  LimitTicket limits_;
  std::optional<Holding> first_;
  std::vector<BudgetMatch> budgets_;  // of the attempt at hand, when they come from both lists
  bool waives_ = false;               // a rate limit sent the request down
  LimitStandings standings_;
};

}  // namespace spillway
