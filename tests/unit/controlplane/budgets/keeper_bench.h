#pragma once

#include <catch2/catch_all.hpp>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "controlplane/budgets/lease_keeper.h"

namespace spillway {

inline constexpr int64_t kDayS = int64_t{20'000} * int64_t{86'400};  // a midnight of UTC
inline constexpr int64_t kNowMs = (kDayS + 3600) * 1000;

inline BudgetTerms Terms(const std::string& id, Nanos limit, WindowKind window = WindowKind::kDay) {
  return {.id = id, .limit = limit, .window = window};
}

inline v1::Account AccountOf(const std::string& budget, int64_t start_s = kDayS,
                             const std::string& subject = "") {
  v1::Account account;
  account.set_budget_id(budget);
  account.set_subject(subject);
  account.set_window_start_s(start_s);
  return account;
}

struct Told {
  Nanos g = 0, r = 0, c = 0, v = 0, target = 0;
};

// A request by parts.
struct Ask {
  v1::LeaseRequest request;
  explicit Ask(const std::string& holder, int64_t epoch = 1) {
    static int64_t number = 0;
    request.set_instance("dp-" + holder);
    request.set_holder(holder);
    request.set_epoch(epoch);
    request.set_number(++number);
  }
  Ask& With(const std::string& budget, Told told, int64_t start_s = kDayS) {
    v1::HolderAccount& account = *request.add_accounts();
    *account.mutable_account() = AccountOf(budget, start_s);
    account.set_granted_seen(told.g);
    account.set_returned(told.r);
    account.set_charged(told.c);
    account.set_reserved(told.v);
    account.set_target(told.target);
    return *this;
  }
  Ask& Waits(const std::vector<std::pair<std::string, Nanos>>& needs, int64_t start_s = kDayS) {
    v1::Waiting& waiting = *request.add_waiting();
    for (const auto& [budget, nanos] : needs) {
      v1::Need& need = *waiting.add_needs();
      *need.mutable_account() = AccountOf(budget, start_s);
      need.set_nanos(nanos);
    }
    return *this;
  }
  Ask& Whole() {
    request.set_whole(true);
    return *this;
  }
};

// A keeper on no bus and no disk: what it would store and send is held here.
struct KeeperBench {
  LeaseKeeper keeper;
  std::map<std::string, LeaseAccountRow> rows;  // by budget@start/holder
  std::map<std::string, LeaseHolderRow> holders;
  LeaseKeeperRow row;
  std::vector<v1::Recall> recalls;
  std::vector<LeaseEffects::Outgoing> grants;

  explicit KeeperBench(const std::vector<BudgetTerms>& budgets = {Terms("b", 1'000)}) {
    keeper.SetBudgets(budgets);
    keeper.Begin(1, kNowMs, 0);
    Take();
  }
  void Take() {
    LeaseEffects effects = keeper.TakeEffects();
    for (const LeaseAccountRow& one : effects.dropped_accounts) rows.erase(NameOf(one));
    for (const LeaseAccountRow& one : effects.accounts) rows[NameOf(one)] = one;
    for (const std::string& one : effects.dropped_holders) holders.erase(one);
    for (const LeaseHolderRow& one : effects.holders) holders[one.holder] = one;
    if (effects.keeper) row = *effects.keeper;
    grants = std::move(effects.grants);
    recalls = std::move(effects.recalls);
  }
  static std::string NameOf(const LeaseAccountRow& row) {
    return row.budget_id + "@" + std::to_string(row.window_start_s) + "/" + row.holder;
  }
  // The answer to it.
  v1::LeaseGrant Send(const Ask& ask) {
    REQUIRE(keeper.OnRequest(ask.request) == LeaseKeeper::RequestOutcome::kAnswered);
    Take();
    for (const LeaseEffects::Outgoing& out : grants) {
      if (out.grant.holder() == ask.request.holder() &&
          out.grant.answers() == ask.request.number()) {
        return out.grant;
      }
    }
    FAIL("no answer");
    return {};
  }
  Nanos Exposure(const std::string& budget, int64_t start_s = kDayS) {
    return keeper.Exposure(AccountOf(budget, start_s));
  }
  void At(int64_t wall_ms) { keeper.Advance(wall_ms, (wall_ms - kNowMs) * 1'000'000); }
};

inline Nanos LevelOf(const v1::LeaseGrant& grant, const std::string& budget) {
  for (const v1::GrantedAccount& account : grant.accounts()) {
    if (account.account().budget_id() == budget) return account.granted();
  }
  return -1;
}

inline v1::Closed ClosedWith(const std::vector<std::pair<v1::Account, Nanos>>& charges) {
  v1::Closed closed;
  for (const auto& [account, nanos] : charges) {
    v1::AccountCharge& charge = *closed.add_accounts();
    *charge.mutable_account() = account;
    charge.set_charged(nanos);
  }
  return closed;
}

}  // namespace spillway
