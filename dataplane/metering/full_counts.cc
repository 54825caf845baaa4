#include "dataplane/metering/full_counts.h"

#include <algorithm>

#include "dataplane/metering/record_encoding.h"
#include "dataplane/metering/usage_sums.h"

namespace spillway {
namespace {

std::string OverflowAttribution() {
  v1::Attribution attribution;
  attribution.set_organization("(overflow)");
  attribution.set_team("(overflow)");
  return attribution.SerializeAsString();
}

void AddAmounts(v1::Aggregate& sum, const v1::Aggregate& amount, int sign) {
  AddUsage(*sum.mutable_usage(), amount.usage(), sign);
  sum.set_cost_nanos(sum.cost_nanos() + sign * amount.cost_nanos());
  sum.set_estimated_nanos(sum.estimated_nanos() + sign * amount.estimated_nanos());
  sum.set_requests(sum.requests() + sign * amount.requests());
  sum.set_attempts(sum.attempts() + sign * amount.attempts());
}

v1::Aggregate AmountOf(const FullCounts::End& end) {
  v1::Aggregate amount;
  SetUsage(*amount.mutable_usage(), end.usage);
  amount.set_cost_nanos(end.cost);
  amount.set_estimated_nanos(end.estimated ? end.cost : 0);
  amount.set_requests(end.request ? 1 : 0);
  amount.set_attempts(1);
  return amount;
}

}  // namespace

void FullCounts::Add(const End& end) {
  const std::lock_guard lock(mutex_);
  std::string key = std::string(end.holder) + '\n';
  const size_t holder_bytes = key.size();
  key += end.attribution;
  auto at = rows_.find(key);
  if (at == rows_.end()) {
    Row row{.attribution = std::string(end.attribution), .holder = std::string(end.holder)};
    if (rows_.size() >= kRowsMax) {
      row.attribution = OverflowAttribution();
      key.replace(holder_bytes, std::string::npos, row.attribution);
    }
    at = rows_.try_emplace(std::move(key), std::move(row)).first;
  }
  AddAmounts(at->second.sum, AmountOf(end), 1);
  Row& row = at->second;
  if (end.started_seq > 0) row.ended.push_back(end.started_seq);
  if (end.hold == 0) return;
  ForEachAccount(end.accounts, [&](std::string_view account) {
    const auto charged = row.charged.find(account);
    if (charged == row.charged.end()) {
      row.charged.emplace(account, end.hold);
    } else {
      charged->second += end.hold;
    }
  });
}

bool FullCounts::empty() const {
  const std::lock_guard lock(mutex_);
  return rows_.empty();
}

std::optional<FullCounts::Shown> FullCounts::Peek() const {
  const std::lock_guard lock(mutex_);
  if (rows_.empty()) return {};
  const auto& [key, row] = *rows_.begin();
  Shown shown{.row = key, .aggregate = row.sum};
  shown.aggregate.mutable_attribution()->ParseFromString(row.attribution);
  shown.aggregate.set_holder(row.holder);
  const size_t named = std::min(row.ended.size(), kEndedMax);
  shown.aggregate.mutable_ended_started()->Add(row.ended.begin(),
                                               row.ended.begin() + static_cast<ptrdiff_t>(named));
  size_t bytes = 0;
  for (const auto& [account, charged] : row.charged) {
    bytes += account.size() + 16;
    if (bytes > kAccountsShownBytesMax) break;
    v1::AccountCharge& shown_charge = *shown.aggregate.add_accounts();
    shown_charge.mutable_account()->ParseFromString(account);
    shown_charge.set_charged(charged);
  }
  return shown;
}

void FullCounts::Drop(const Shown& shown) {
  const std::lock_guard lock(mutex_);
  const auto at = rows_.find(shown.row);
  if (at == rows_.end()) return;
  Row& row = at->second;
  AddAmounts(row.sum, shown.aggregate, -1);
  row.ended.erase(row.ended.begin(), row.ended.begin() + shown.aggregate.ended_started_size());
  for (const v1::AccountCharge& shown_charge : shown.aggregate.accounts()) {
    const auto charged = row.charged.find(shown_charge.account().SerializeAsString());
    if (charged == row.charged.end()) continue;
    charged->second -= shown_charge.charged();
    if (charged->second == 0) row.charged.erase(charged);
  }
  if (row.ended.empty() && row.charged.empty() && row.sum.attempts() == 0) rows_.erase(at);
}

}  // namespace spillway
