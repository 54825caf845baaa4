#include "dataplane/budgets/local_keeper.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace spillway {
namespace {

constexpr int64_t kKeeperTickNs = 1'000'000'000;
constexpr int64_t kEpoch = 1;  // of the only control plane there is: this one
constexpr int kSeriesPerTick = 2'000;

v1::LeaseGrant Answer(const LeaseHolder& holder) {
  v1::LeaseGrant grant;
  grant.set_holder(holder.id());
  grant.set_epoch(kEpoch);
  grant.set_answers(INT64_MAX);
  return grant;
}

void RecordAll(LeaseHolder& holder, int64_t now_ns) {
  if (holder.HasLevels()) holder.Recorded(holder.TakeLevels().ticket, now_ns);
}

}  // namespace

LocalKeeper::LocalKeeper(const std::vector<v1::AccountCharge>& spent) {
  for (const v1::AccountCharge& charge : spent) {
    const v1::Account& account = charge.account();
    series_[{account.budget_id(), account.subject()}][account.window_start_s()].spent +=
        charge.charged();
  }
}

Nanos LocalKeeper::OfOthers(const LeaseHolder& holder, const Series& series, int64_t start_s,
                            int hours) const {
  Nanos sum = 0;
  for (auto at = series.lower_bound(RollingFrom(start_s, hours));
       at != series.end() && at->first < start_s; ++at) {
    if (holder.Holds(at->second.account)) {
      const AccountFigures figures = holder.FigureOf(at->second.account);
      sum += figures.charged + figures.reserved;
    } else {
      sum += at->second.spent;
    }
  }
  return sum;
}

void LocalKeeper::Fill(LeaseHolder& holder, const BudgetSpec& spec, const std::string& subject,
                       const OpenAccount& account, Nanos limit, int64_t now_ns) {
  if (!holder.Holds(account.account)) return;
  Series& series = series_[{spec.id, subject}];
  Window& window = series[account.window.start_s];
  if (window.account != account.account) {
    window.account = account.account;
    holder.Correct(account.account, std::exchange(window.spent, 0));
  }
  Nanos want = limit;
  if (spec.window == v1::WINDOW_ROLLING)
    want -= OfOthers(holder, series, account.window.start_s, spec.rolling_hours);
  want = std::max<Nanos>(want, 0);
  AccountFigures figures = holder.FigureOf(account.account);
  if (want < figures.granted - figures.returned && figures.free() > 0) {
    v1::Recall recall;
    recall.set_epoch(kEpoch);
    v1::Account& named = *recall.add_accounts();
    named.set_budget_id(figures.key.budget_id);
    named.set_subject(figures.key.subject);
    named.set_window_start_s(figures.key.window_start_s);
    holder.OnRecall(recall);
    RecordAll(holder, now_ns);
    figures = holder.FigureOf(account.account);
  }
  Grant(holder, figures, std::max(figures.granted, figures.returned + want), now_ns);
}

void LocalKeeper::Grant(LeaseHolder& holder, const AccountFigures& figures, Nanos level,
                        int64_t now_ns) {
  v1::LeaseGrant grant = Answer(holder);
  v1::GrantedAccount& granted = *grant.add_accounts();
  granted.mutable_account()->set_budget_id(figures.key.budget_id);
  granted.mutable_account()->set_subject(figures.key.subject);
  granted.mutable_account()->set_window_start_s(figures.key.window_start_s);
  granted.set_granted(level);
  holder.OnGrant(grant, now_ns);
  RecordAll(holder, now_ns);
}

void LocalKeeper::Tick(LeaseHolder& holder, int64_t now_ns, int64_t time_ms) {
  if (now_ns - ticked_ns_ < kKeeperTickNs) return;
  ticked_ns_ = now_ns;
  v1::LeaseGrant grant = Answer(holder);
  const v1::LeaseRequest request = holder.MakeRequest(now_ns);
  for (const v1::HolderAccount& listed : request.accounts()) {
    v1::GrantedAccount& granted = *grant.add_accounts();
    *granted.mutable_account() = listed.account();
    granted.set_granted(listed.granted_seen());
  }
  holder.OnGrant(grant, now_ns);
  holder.Tick(now_ns, time_ms);
  RecordAll(holder, now_ns);
  ForgetWindows(holder, time_ms / 1000);
}

void LocalKeeper::ForgetWindows(const LeaseHolder& holder, int64_t time_s) {
  const int64_t oldest_s = time_s - int64_t{kRollingHoursMax + 1} * 3600;
  auto at = series_.lower_bound(next_);
  for (int left = kSeriesPerTick; left > 0 && at != series_.end(); --left) {
    std::erase_if(at->second, [&](const auto& entry) {
      const auto& [start_s, window] = entry;
      if (window.account != AccountHandle{}) return !holder.Holds(window.account);
      // Of earlier processes only. One without an end, or that may still be current, stays.
      return start_s > 0 && start_s < oldest_s;
    });
    at = at->second.empty() ? series_.erase(at) : std::next(at);
  }
  next_ = at == series_.end() ? SeriesKey{} : at->first;
}

}  // namespace spillway
