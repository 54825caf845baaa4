#pragma once

#include <string>
#include <vector>

#include "dataplane/budgets/lease_holder.h"

namespace spillway {

inline constexpr int64_t kSecond = 1'000'000'000;
inline constexpr WindowSpan kDay{.start_s = 86'400, .end_s = 172'800};

// A holder with a control plane of one line: what it grants is said by the test.
struct HolderBench {
  LeaseHolder holder{"h1", "dp1", LeaseOptions{}, 0};
  int64_t now = 0;
  int64_t epoch = 1;
  int64_t time_ms = 86'400'000;

  AccountHandle Open(const std::string& budget, AccountPolicy policy = {.limit = 1'000},
                     WindowSpan window = kDay) {
    return holder.Open(budget, "", window, policy);
  }
  v1::LeaseGrant Grant(const std::string& budget, Nanos level, Nanos remainder = 0,
                       int64_t answers = 0) {
    v1::LeaseGrant grant;
    grant.set_holder("h1");
    grant.set_epoch(epoch);
    grant.set_control_plane_time_ms(time_ms);
    grant.set_answers(answers);
    v1::GrantedAccount& account = *grant.add_accounts();
    account.mutable_account()->set_budget_id(budget);
    account.mutable_account()->set_window_start_s(kDay.start_s);
    account.set_granted(level);
    account.set_remainder(remainder);
    return grant;
  }
  void Record() { holder.Recorded(holder.TakeLevels().ticket, now); }
  void Give(const std::string& budget, Nanos level, Nanos remainder = 0) {
    holder.OnGrant(Grant(budget, level, remainder), now);
    Record();
  }
  ReserveResult Reserve(AccountHandle account, Nanos nanos) {
    return holder.Reserve(std::vector<Need>{{.account = account, .nanos = nanos}}, now);
  }
  AccountFigures Figures(AccountHandle account) { return holder.FigureOf(account); }
};

inline v1::Recall RecallOf(const std::string& budget, const std::string& holder,
                           int64_t epoch = 1) {
  v1::Recall recall;
  recall.set_epoch(epoch);
  recall.set_holder(holder);
  v1::Account& account = *recall.add_accounts();
  account.set_budget_id(budget);
  account.set_window_start_s(kDay.start_s);
  return recall;
}

}  // namespace spillway
