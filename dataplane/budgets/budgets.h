#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/error.h"
#include "common/metrics.h"
#include "common/money.h"
#include "dataplane/budgets/reservation.h"
#include "dataplane/exchange/loop.h"
#include "dataplane/snapshot/snapshot.h"
#include "spillway/v1/usage.pb.h"

namespace spillway {

// More budgets than these cannot apply to one attempt (records of the journal are bounded).
inline constexpr size_t kBudgetsPerAttemptMax = 24;

struct BudgetsOptions {
  std::string instance;
  std::string holder;  // the incarnation
  // How long a request may wait, once the control plane has answered, for money that others have;
  // at least 1. For the answer itself it waits while there is contact (at most 2.5 s).
  int64_t lease_wait_ms = 250;
  bool standalone = false;  // no control plane: every budget's whole limit is held here
  // Standalone: what earlier processes spent, by account (UsageTotals.accounts).
  std::vector<v1::AccountCharge> spent = {};
  // Whether ends of attempts can only be counted, not journalled: then a budget whose policy is
  // `leased` refuses, as nobody could prove afterwards what was spent. Any thread; cheap.
  std::function<bool()> journal_full = {};
};

// What one attempt may cost, in nano-dollars (dataplane/budgets/estimator.h makes it).
struct Ask {
  Nanos quantile = 0;     // what it likely costs at most: held when every budget says `finish`
  Nanos upper_bound = 0;  // it cannot cost more: wanted when a budget says `cap`; >= quantile
  // `cap`: with at least this much the attempt is worth making (its input and some output); what is
  // held then lies between this and upper_bound, see Reservation::amount(). 0: upper_bound.
  Nanos least = 0;
};

// An attempt that may go ahead, or that is to go elsewhere.
struct Admitted {
  Reservation reservation;
  // Not empty: a budget with `on_exhausted: downgrade` is at its end. Nothing is held; go to this
  // route or model instead and ask again, at its price, with Budgets::Attempt::last: then the same
  // answer is a refusal.
  std::string downgrade_to = {};
  // The budget that said downgrade, or one with `on_exhausted: warn` that is at its end while the
  // attempt goes ahead; else empty.
  std::string budget = {};
};

// What this process may spend, by budget account: reserved before an attempt, settled after it. One
// per process, called from every loop's thread; one mutex, held for well under a microsecond; no
// I/O ever. Accounts are made on first use and forgotten when their window is over and settled.
// Outlives every Reservation, loop and LeaseClient.
class Budgets {
 public:
  Budgets(const BudgetsOptions& options, const Clock& clock);
  ~Budgets();
  Budgets(const Budgets&) = delete;
  Budgets& operator=(const Budgets&) = delete;

  // Now, as budgets count time: the last control-plane time heard plus what has passed, Unix
  // milliseconds; the wall clock until something was heard. Read it once per request and pass it to
  // each of its attempts: a charge belongs to the window in which its request was admitted.
  int64_t NowMs() const;

  struct Attempt {
    std::span<const BudgetMatch> matches;  // all must hold; empty: admitted with nothing held
    Ask ask;
    int64_t admitted_ms = 0;  // NowMs() of the request
    bool last = false;        // was downgraded before: a downgrade is a refusal now
    int64_t deadline_ns = 0;  // monotonic: it does not wait beyond it; 0: none
  };
  // Decides from memory. nullopt: only the control plane can tell, so call Admit. A refusal is
  // kBudgetExceeded and names the budget, its reset time (RFC 3339; none for `lifetime`) and
  // retry_after_ms; a frozen budget refuses at once, whatever its on_exhausted says.
  std::optional<Result<Admitted>> TryAdmit(const Attempt& attempt);
  // The same, but waits for the control plane, holding nothing meanwhile (a request needs all its
  // budgets or none): until it is served, or the answer says that nothing will come, or lease_wait
  // after an answer that left hope, or contact is lost and the policy decides. Not refused for want
  // of an answer while there is contact. Resumed on `loop`; may be destroyed while it waits.
  // What `attempt` points to must live until it is done. Call TryAdmit first: it needs no frame.
  Task<Result<Admitted>> Admit(Loop& loop, Attempt attempt);

  // Requests that wait now.
  int64_t waiting() const;
  // Data planes that the control plane counts on, as last heard; 0: never heard.
  int64_t fleet_size() const;
  // At the end, when nothing is reserved any more: what each holder's accounts come to, final, for
  // the journal. Empty while something is reserved.
  std::vector<v1::Closed> Closing() const;
  // For operators' metrics: no label has more values than there are policies and reasons.
  void Collect(MetricsText& text) const;

  // dataplane/budgets only.
  struct Rep;
  Rep& rep() { return *rep_; }

 private:
  std::unique_ptr<Rep> rep_;
};

}  // namespace spillway
