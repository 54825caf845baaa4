#pragma once

#include <catch2/catch_all.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "dataplane/budgets/budgets.h"
#include "dataplane/budgets/budgets_rep.h"
#include "tests/fakes/temp_folder.h"

namespace spillway {

constexpr int64_t kNoonMs = 1'767'225'600'000 + 12 * 3'600'000;  // 2026-01-01T12:00:00Z
inline const std::string kHolder(32, 'a');

inline BudgetSpec Spec(const std::string& name, Nanos limit) {
  BudgetSpec spec;
  spec.name = name;
  spec.id = "id-" + name;
  spec.limit = limit;
  spec.window = v1::WINDOW_DAY;
  spec.on_partition = v1::ON_PARTITION_LEASED;
  return spec;
}

inline BudgetMatch Match(BudgetSpec spec, std::string subject = {}) {
  return {.budget = std::make_shared<const BudgetSpec>(std::move(spec)),
          .subject = std::move(subject)};
}

inline std::vector<BudgetMatch> One(BudgetSpec spec) { return {Match(std::move(spec))}; }

inline Budgets::Attempt Asking(const Budgets& budgets, const std::vector<BudgetMatch>& matches,
                               Nanos nanos) {
  return {.matches = matches,
          .ask = {.quantile = nanos, .upper_bound = nanos, .least = nanos},
          .admitted_ms = budgets.NowMs()};
}

// What a grant may say besides.
struct GrantDetails {
  Nanos elsewhere = 0;
  bool closed = false;
};

// A process of its own, or one with a control plane that the test plays.
struct Process {
  explicit Process(bool standalone, std::vector<v1::AccountCharge> spent = {})
      : budgets({.instance = "dp-1",
                 .holder = kHolder,
                 .standalone = standalone,
                 .spent = std::move(spent)},
                clock) {}

  // The control plane's answer to what was asked so far.
  void Answer(const BudgetMatch& match, Nanos level, Nanos remainder,
              const GrantDetails& more = {}) {
    const int64_t asked = budgets.rep().WithHolders([&](LeaseHolders& holders) {
      return holders.current().MakeRequest(clock.MonotonicNs()).number();
    });
    Grant(match, level, remainder, 1, asked, more);
  }

  // The control plane's word, on disk at once. `answers`: a request's number.
  void Grant(const BudgetMatch& match, Nanos level, Nanos remainder, int64_t epoch = 1,
             int64_t answers = 0, const GrantDetails& more = {}) {
    v1::LeaseGrant grant;
    grant.set_answers(answers);
    grant.set_holder(budgets.rep().holders.current().id());
    grant.set_epoch(epoch);
    grant.set_control_plane_time_ms(clock.WallMs());
    v1::GrantedAccount& granted = *grant.add_accounts();
    granted.mutable_account()->set_budget_id(match.budget->id);
    granted.mutable_account()->set_subject(match.subject);
    granted.mutable_account()->set_window_start_s(
        WindowAt(static_cast<WindowKind>(match.budget->window), match.budget->rolling_hours,
                 match.budget->time_zone, clock.WallMs())
            .start_s);
    granted.set_granted(level);
    granted.set_remainder(remainder);
    granted.set_elsewhere(more.elsewhere);
    granted.set_closed(more.closed);
    budgets.rep().WithHolders([&](LeaseHolders& holders) {
      holders.OnGrant(grant, clock.MonotonicNs());
      const LeaseHolder::Levels levels = holders.current().TakeLevels();
      holders.current().Recorded(levels.ticket, clock.MonotonicNs());
      budgets.rep().Decide(clock.MonotonicNs());
      return true;
    });
  }
  AccountFigures Figures(const BudgetMatch& match) {
    for (AccountFigures& figures : budgets.rep().holders.current().Figures())
      if (figures.key.budget_id == match.budget->id && figures.key.subject == match.subject)
        return std::move(figures);
    return {};
  }

  ManualClock clock{kNoonMs};
  Budgets budgets;
};

// Admitted, or the test fails.
inline Reservation Take(Budgets& budgets, const Budgets::Attempt& attempt) {
  auto admitted = budgets.TryAdmit(attempt);
  REQUIRE(admitted.has_value());
  if (!*admitted) FAIL(admitted->error().message);
  REQUIRE(static_cast<bool>((*admitted)->reservation));
  return std::move((*admitted)->reservation);
}

}  // namespace spillway
