#include "dataplane/budgets/budgets.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "dataplane/budgets/budgets_rep.h"

namespace spillway {
namespace {

LeaseOptions LeaseOptionsOf(const BudgetsOptions& options) {
  LeaseOptions lease;
  if (!options.standalone) return lease;
  lease.alone = true;
  lease.contact_lost_ns = std::numeric_limits<int64_t>::max();
  lease.idle_ns = std::numeric_limits<int64_t>::max();
  return lease;
}

// Milliseconds in seconds, with three decimals.
std::string SecondsOf(int64_t ms) {
  return std::to_string(ms / 1000) + "." + std::to_string(1000 + ms % 1000).substr(1);
}

}  // namespace

Budgets::Rep::Rep(const BudgetsOptions& the_options, const Clock& the_clock)
    : options(the_options),
      clock(the_clock),
      holders(the_options.instance, the_options.holder, LeaseOptionsOf(the_options),
              the_clock.MonotonicNs()) {
  if (options.standalone) keeper.emplace(options.spent);
}

Budgets::Budgets(const BudgetsOptions& options, const Clock& clock)
    : rep_(std::make_unique<Rep>(options, clock)) {}
Budgets::~Budgets() = default;

int64_t Budgets::NowMs() const {
  const int64_t now_ns = rep_->clock.MonotonicNs();
  const std::lock_guard lock(rep_->mutex);
  return rep_->TimeMs(now_ns);
}

int64_t Budgets::waiting() const {
  const std::lock_guard lock(rep_->mutex);
  return static_cast<int64_t>(rep_->waiters.size());
}

int64_t Budgets::fleet_size() const {
  const std::lock_guard lock(rep_->mutex);
  return rep_->holders.fleet_size();
}

std::optional<Result<Admitted>> Budgets::TryAdmit(const Attempt& attempt) {
  if (attempt.matches.empty()) return Result<Admitted>(Admitted{});
  return rep_->TryAdmit(attempt);
}

std::optional<Result<Admitted>> Budgets::Rep::TryAdmit(const Attempt& attempt) {
  // Memory is taken and given back outside the lock.
  auto state = std::make_unique<Reservation::State>();
  const int64_t now_ns = clock.MonotonicNs();
  const std::lock_guard lock(mutex);
  if (auto decided = Prepare(attempt, now_ns, *state)) return decided;
  const ReserveResult result = Reserve(attempt, now_ns, *state);
  if (result.admitted()) return Admit(attempt, now_ns, std::move(state));
  if (result.outcome == ReserveOutcome::kShort) return std::nullopt;
  return Refuse(attempt, result, *state, now_ns);
}

void Budgets::Rep::Settle(Reservation::State& state, Nanos cost, Nanos hold) {
  const int64_t now_ns = clock.MonotonicNs();
  const std::lock_guard lock(mutex);
  state.holder->Settle(state.needs, hold, now_ns);
  reserved -= state.amount;
  charged += hold;
  reported += cost;
  Serve();
}

void Budgets::Rep::Void(Reservation::State& state) {
  const int64_t now_ns = clock.MonotonicNs();
  const std::lock_guard lock(mutex);
  state.holder->Void(state.needs, now_ns);
  reserved -= state.amount;
  Serve();
}

bool Budgets::Rep::Extend(Reservation::State& state, Nanos more) {
  const int64_t now_ns = clock.MonotonicNs();
  const std::lock_guard lock(mutex);
  if (!state.holder->Extend(state.needs, more, now_ns).admitted()) return false;
  state.amount += more;
  reserved += more;
  return true;
}

std::vector<v1::Closed> Budgets::Closing() const {
  const std::lock_guard lock(rep_->mutex);
  std::vector<v1::Closed> closed = rep_->left_behind;
  for (const LeaseHolder* holder : rep_->holders.All()) {
    if (holder->calls() > 0) return {};
    v1::Closed& end = closed.emplace_back();
    if (holder->id() != rep_->options.holder) end.set_holder(holder->id());
    for (const AccountFigures& figures : holder->Figures()) {
      if (figures.granted == 0 && figures.charged == 0) continue;
      v1::AccountCharge& charge = *end.add_accounts();
      charge.mutable_account()->set_budget_id(figures.key.budget_id);
      charge.mutable_account()->set_subject(figures.key.subject);
      charge.mutable_account()->set_window_start_s(figures.key.window_start_s);
      charge.set_charged(figures.charged);
    }
  }
  return closed;
}

void Budgets::Collect(MetricsText& text) const {
  static constexpr std::array<std::string_view, Rep::kRefusals> kReasons = {
      "exhausted", "no_answer", "frozen", "cut_off", "journal_full", "too_many"};
  const std::lock_guard lock(rep_->mutex);
  const Rep& rep = *rep_;
  const auto put = [&text](std::string_view name, std::string_view type, std::string_view help,
                           int64_t value) {
    text.Family(name, type, help);
    text.Sample(name, {}, value);
  };
  put("spillway_budget_reserved_nanos", "gauge",
      "Reserved for attempts that run (nano-dollars; once, however many budgets apply).",
      rep.reserved);
  put("spillway_budget_charged_nanos_total", "counter",
      "Charged to budgets at the end of attempts (nano-dollars, likewise).", rep.charged);
  put("spillway_budget_cost_nanos_total", "counter",
      "What reports say of the same attempts; below what is charged where the truth is not known.",
      rep.reported);
  put("spillway_budget_admitted_total", "counter", "Attempts admitted under a budget.",
      rep.admitted);
  put("spillway_budget_admitted_open_total", "counter",
      "Of these, while the control plane was out of reach.", rep.admitted_open);
  put("spillway_budget_warned_total", "counter",
      "Attempts that went ahead although a budget that only warns is used up.", rep.warned);
  put("spillway_budget_downgraded_total", "counter", "Attempts sent to a cheaper route.",
      rep.downgraded);
  text.Family("spillway_budget_refused_total", "counter", "Attempts refused, by reason.");
  for (size_t i = 0; i < kReasons.size(); ++i)
    text.Sample("spillway_budget_refused_total", {{"reason", kReasons[i]}}, rep.refused[i]);
  put("spillway_budget_accounts", "gauge", "Budget accounts known to this process.",
      static_cast<int64_t>(rep.holders.current().account_count()));
  put("spillway_budget_waiting", "gauge", "Requests that wait for a top-up.",
      static_cast<int64_t>(rep.waiters.size()));
  text.Family("spillway_budget_wait_seconds", "histogram", "How long requests waited for one.");
  int64_t sum = 0;
  for (size_t i = 0; i <= Rep::kWaitBucketsMs.size(); ++i) {
    sum += rep.waits[i];
    const bool last = i == Rep::kWaitBucketsMs.size();
    const std::string upto = last ? "+Inf" : SecondsOf(Rep::kWaitBucketsMs[i]);
    text.Sample("spillway_budget_wait_seconds_bucket", {{"le", upto}}, sum);
  }
  text.Sample("spillway_budget_wait_seconds_sum", {}, static_cast<double>(rep.waited_ns) / 1e9);
  text.Sample("spillway_budget_wait_seconds_count", {}, sum);
}

}  // namespace spillway
