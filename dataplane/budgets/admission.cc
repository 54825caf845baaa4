// From what an attempt asks for to what its budgets say. Everything here runs under Rep::mutex.
#include <algorithm>
#include <limits>
#include <utility>

#include "dataplane/budgets/budgets_rep.h"
#include "dataplane/budgets/refusal.h"

namespace spillway {
namespace {

constexpr size_t kSubjectBytesMax = 256;
constexpr int64_t kPruneNs = 600'000'000'000;
// How long "there is nothing left" is believed without asking again.
constexpr int64_t kShortNs = 100'000'000;
// No call costs more, whatever it asks for: a hundred thousand dollars. Sums of bounds stay sums.
constexpr Nanos kUpperMax = 100'000'000'000'000;

bool Enforced(const BudgetSpec& spec) { return spec.on_exhausted != v1::ON_EXHAUSTED_WARN; }

bool GoesOn(const BudgetSpec& spec) {
  return spec.on_partition == v1::ON_PARTITION_OPEN ||
         spec.on_partition == v1::ON_PARTITION_UNSPECIFIED;
}

bool Caps(const BudgetSpec& spec) {
  return Enforced(spec) && spec.on_overrun == v1::ON_OVERRUN_CAP;
}

bool RaiseRuns(const BudgetSpec& spec, int64_t time_ms) {
  return spec.raise != 0 && time_ms < spec.raise_until_ms;
}

Nanos LimitOf(const BudgetSpec& spec, int64_t time_ms) {
  return RaiseRuns(spec, time_ms) ? spec.limit + spec.raise : spec.limit;
}

WindowKind KindOf(const BudgetSpec& spec) {
  return spec.window == v1::WINDOW_UNSPECIFIED ? WindowKind::kMonth
                                               : static_cast<WindowKind>(spec.window);
}

AccountPolicy PolicyOf(const BudgetSpec& spec, int64_t time_ms) {
  return {.limit = LimitOf(spec, time_ms),
          .on_partition = spec.on_partition,
          .open_unheard = spec.open_unheard,
          .on_overrun = spec.on_overrun,
          .frozen = spec.frozen,
          .window = KindOf(spec),
          .rolling_hours = spec.rolling_hours};
}

// Subjects are names and short texts; one that is longer shares its account with those that begin
// alike, so that records stay bounded.
std::string_view SubjectOf(const BudgetMatch& match) {
  std::string_view subject = match.subject;
  if (subject.size() <= kSubjectBytesMax) return subject;
  size_t end = kSubjectBytesMax;
  while (end > 0 && (static_cast<uint8_t>(subject[end]) & 0xC0) == 0x80) --end;
  return subject.substr(0, end);
}

AccountBytes BytesOf(const BudgetSpec& spec, std::string_view subject, const WindowSpan& window) {
  v1::Account account;
  account.set_budget_id(spec.id);
  account.set_subject(std::string(subject));
  account.set_window_start_s(window.start_s);
  return std::make_shared<const std::string>(account.SerializeAsString());
}

bool Holds(const WindowSpan& window, int64_t time_ms) {
  return time_ms >= window.start_s * 1000 && time_ms / 1000 < window.end_s;
}

}  // namespace

// `once`: takes the account when it is not the current one, so of a request that was admitted
// before its window ended and only now gets to its next attempt.
OpenAccount& Budgets::Rep::Open(const BudgetMatch& match, int64_t admitted_ms, int64_t now_ns,
                                OpenAccount& once) {
  const BudgetSpec& spec = *match.budget;
  const std::string_view subject = SubjectOf(match);
  LeaseHolder& holder = holders.current();
  OpenAccount& current = index.At(match.budget.get(), subject);
  if (current.spec == match.budget && current.holder == holders.number() &&
      Holds(current.window, admitted_ms) && admitted_ms < current.policy_until_ms &&
      holder.Holds(current.account)) {
    return current;
  }
  const WindowSpan window = WindowAt(KindOf(spec), spec.rolling_hours, spec.time_zone, admitted_ms);
  const bool late = current.holder == holders.number() && window.start_s < current.window.start_s;
  OpenAccount& account = late ? once : current;
  account = {.spec = match.budget, .holder = holders.number(), .window = window};
  account.policy_until_ms =
      RaiseRuns(spec, admitted_ms) ? spec.raise_until_ms : std::numeric_limits<int64_t>::max();
  account.account = holder.Open(spec.id, subject, window, PolicyOf(spec, admitted_ms));
  account.bytes = BytesOf(spec, subject, window);
  if (keeper)
    keeper->Fill(holder, spec, std::string(subject), account, LimitOf(spec, admitted_ms), now_ns);
  return account;
}

std::optional<Result<Admitted>> Budgets::Rep::Prepare(const Attempt& attempt, int64_t now_ns,
                                                      Reservation::State& state) {
  const auto refuse = [this](Refusal reason, Error error) {
    ++refused[reason];
    return Result<Admitted>(std::unexpected(std::move(error)));
  };
  if (attempt.matches.size() > kBudgetsPerAttemptMax)
    return refuse(kTooMany, TooManyBudgets(attempt.matches.size()));
  if (now_ns - pruned_ns > kPruneNs) {
    pruned_ns = now_ns;
    index.Prune(TimeMs(now_ns));
  }
  if (keeper) keeper->Tick(holders.current(), now_ns, TimeMs(now_ns));
  state.budgets = this;
  state.holder = &holders.current();
  if (state.holder->id() != options.holder) state.holder_name = state.holder->id();
  Nanos limit_least = std::numeric_limits<Nanos>::max();
  for (const BudgetMatch& match : attempt.matches) {
    const BudgetSpec& spec = *match.budget;
    if (spec.frozen) return refuse(kFrozen, BudgetFrozen(spec));
    if (Enforced(spec) && spec.on_partition == v1::ON_PARTITION_LEASED && options.journal_full &&
        options.journal_full()) {
      return refuse(kUnprovable, BudgetUnprovable(spec));
    }
    OpenAccount once;
    const OpenAccount& account = Open(match, attempt.admitted_ms, now_ns, once);
    state.needs.push_back({.account = account.account, .enforce = Enforced(spec)});
    state.accounts.push_back(account.bytes);
    if (!Caps(spec)) continue;
    state.capped = true;
    limit_least = std::min(limit_least, LimitOf(spec, attempt.admitted_ms));
  }
  const Ask& ask = attempt.ask;
  SetAmount(attempt, state.capped ? std::min(ask.upper_bound, limit_least) : ask.quantile, state);
  return std::nullopt;
}

void Budgets::Rep::SetAmount(const Attempt& attempt, Nanos amount,
                             Reservation::State& state) const {
  const Nanos least = attempt.ask.least > 0 ? attempt.ask.least : attempt.ask.upper_bound;
  state.amount = std::max<Nanos>(state.capped ? std::max(amount, least) : amount, 0);
  for (Need& need : state.needs) {
    need.nanos = state.amount;
    need.upper_nanos = state.capped ? 0 : std::min(attempt.ask.upper_bound, kUpperMax);
  }
}

// The most that every account has for a capped call; 0 when that is not worth one.
// `with_remainder`: with what the control plane has left, too, while it grants at all. Out of
// contact that counts where the policy is to go on.
Nanos Budgets::Rep::Affordable(const Attempt& attempt, const Reservation::State& state,
                               bool with_remainder, int64_t now_ns) {
  if (!state.capped) return 0;
  const bool contact = state.holder->InContact(now_ns);
  Nanos most = attempt.ask.upper_bound;
  for (size_t i = 0; i < state.needs.size(); ++i) {
    if (!state.needs[i].enforce) continue;
    const AccountFigures figures = state.holder->FigureOf(state.needs[i].account);
    Nanos has = figures.free();
    if (contact ? with_remainder : GoesOn(*attempt.matches[i].budget))
      has += std::max<Nanos>(figures.remainder, 0);
    // Nobody is cut short for what is on its way back, or before it is known what there is.
    if (contact && with_remainder) has = figures.closed ? 0 : has + figures.returning;
    most = std::min(most, has);
  }
  const Nanos least = attempt.ask.least > 0 ? attempt.ask.least : attempt.ask.upper_bound;
  return most >= least ? most : 0;
}

ReserveResult Budgets::Rep::Reserve(const Attempt& attempt, int64_t now_ns,
                                    Reservation::State& state) {
  LeaseHolder& holder = *state.holder;
  ReserveResult result = holder.Reserve(state.needs, now_ns);
  if (result.admitted()) return result;
  if (keeper) {
    // What is left may have changed: a bucket of a rolling window settled, a limit was raised.
    OpenAccount once;
    for (const BudgetMatch& match : attempt.matches) {
      const OpenAccount& account = Open(match, attempt.admitted_ms, now_ns, once);
      keeper->Fill(holder, *match.budget, std::string(SubjectOf(match)), account,
                   LimitOf(*match.budget, attempt.admitted_ms), now_ns);
    }
    result = holder.Reserve(state.needs, now_ns);
    if (result.outcome == ReserveOutcome::kShort) result.outcome = ReserveOutcome::kRefused;
  }
  if (result.outcome == ReserveOutcome::kShort && result.need >= 0) {
    const auto at = static_cast<size_t>(result.need);
    const BudgetMatch& match = attempt.matches[at];
    const OpenAccount& account = index.At(match.budget.get(), SubjectOf(match));
    if (account.account == state.needs[at].account && now_ns < account.short_until_ns &&
        state.amount >= account.short_of)
      result.outcome = ReserveOutcome::kRefused;
  }
  const bool may_shrink = result.outcome == ReserveOutcome::kRefused && state.capped &&
                          result.reason != ReserveReason::kFrozen;
  if (!may_shrink) return result;
  const Nanos wanted = state.amount;
  const Nanos affordable = Affordable(attempt, state, false, now_ns);
  if (affordable == 0 || affordable >= wanted) return result;
  SetAmount(attempt, affordable, state);
  const ReserveResult less = holder.Reserve(state.needs, now_ns);
  if (!less.admitted()) SetAmount(attempt, wanted, state);
  return less.admitted() ? less : result;
}

Result<Admitted> Budgets::Rep::Admit(const Attempt& attempt, int64_t now_ns,
                                     std::unique_ptr<Reservation::State> state) {
  ++admitted;
  reserved += state->amount;
  Admitted out;
  if (!state->holder->InContact(now_ns)) ++admitted_open;
  for (size_t i = 0; i < state->needs.size(); ++i) {
    if (state->needs[i].enforce || !out.budget.empty()) continue;
    const AccountFigures figures = state->holder->FigureOf(state->needs[i].account);
    const bool used_up =
        figures.heard && figures.free() + std::max<Nanos>(figures.remainder, 0) < 0;
    if (used_up) out.budget = attempt.matches[i].budget->name;
  }
  if (!out.budget.empty()) ++warned;
  out.reservation = Reservation(std::move(state));
  return out;
}

// It is known that nobody has enough for that need.
bool Budgets::Rep::KnownShort(const Reservation::State& state, size_t at) const {
  const AccountFigures figures = state.holder->FigureOf(state.needs[at].account);
  return figures.heard && !figures.closed &&
         figures.free() + std::max<Nanos>(figures.remainder, 0) < state.amount;
}

// Which budget a refusal speaks of. All or none: one that is used up keeps money from the others,
// too, so that the first one that lacks some need not be the one that has no more.
size_t Budgets::Rep::Blamed(const ReserveResult& result, const Reservation::State& state) const {
  const auto first = static_cast<size_t>(std::max(result.need, 0));
  if (result.reason != ReserveReason::kExhausted || KnownShort(state, first)) return first;
  for (size_t i = 0; i < state.needs.size(); ++i)
    if (state.needs[i].enforce && KnownShort(state, i)) return i;
  return first;
}

Result<Admitted> Budgets::Rep::Refuse(const Attempt& attempt, const ReserveResult& result,
                                      const Reservation::State& state, int64_t now_ns) {
  const size_t at = Blamed(result, state);
  const BudgetMatch& match = attempt.matches[at];
  const BudgetSpec& spec = *match.budget;
  const std::string_view subject = SubjectOf(match);
  if (result.reason == ReserveReason::kFrozen) {
    ++refused[kFrozen];
    return std::unexpected(BudgetFrozen(spec));
  }
  if (spec.on_exhausted == v1::ON_EXHAUSTED_DOWNGRADE && !attempt.last) {
    ++downgraded;
    return Admitted{.reservation = {}, .downgrade_to = spec.downgrade_to, .budget = spec.name};
  }
  if (result.reason == ReserveReason::kForgotten) {
    ++refused[kTooMany];
    return std::unexpected(BudgetUnconfirmed(spec, subject, false));
  }
  if (result.reason == ReserveReason::kCutOff) {
    ++refused[kCutOff];
    return std::unexpected(BudgetUnconfirmed(spec, subject, true));
  }
  const bool never_fits = result.reason == ReserveReason::kNeverFits;
  if (!never_fits && !KnownShort(state, at)) {
    ++refused[kNoAnswer];
    return std::unexpected(BudgetUnconfirmed(spec, subject, false));
  }
  ++refused[kExhausted];
  OpenAccount& account = index.At(match.budget.get(), subject);
  if (!never_fits && account.account == state.needs[at].account &&
      now_ns >= account.short_until_ns) {
    account.short_until_ns = now_ns + kShortNs;
    account.short_of = state.amount;
  }
  const WindowSpan window =
      WindowAt(KindOf(spec), spec.rolling_hours, spec.time_zone, attempt.admitted_ms);
  return std::unexpected(BudgetExhausted(spec, subject, window, TimeMs(now_ns), never_fits));
}

}  // namespace spillway
