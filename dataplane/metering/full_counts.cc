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

// The row that this end fits: the part in which its Started still has room.
FullCounts::Row& FullCounts::RowOf(const End& end) {
  Key key{.holder = std::string(end.holder),
          .accounts = std::string(end.hold == 0 ? std::string_view() : end.accounts),
          .attribution = std::string(end.attribution)};
  if (rows_.size() >= kRowsMax && !rows_.contains(key)) key.attribution = OverflowAttribution();
  while (true) {
    Row& row = rows_[key];
    if (end.started_seq == 0 || row.ended.size() < kEndedMax) return row;
    ++key.part;
  }
}

void FullCounts::Add(const End& end) {
  const std::lock_guard lock(mutex_);
  Row& row = RowOf(end);
  AddAmounts(row.sum, AmountOf(end), 1);
  if (end.started_seq > 0) row.ended.push_back(end.started_seq);
  row.hold += end.hold;
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
  shown.aggregate.mutable_attribution()->ParseFromString(key.attribution);
  shown.aggregate.set_holder(key.holder);
  shown.aggregate.mutable_ended_started()->Add(row.ended.begin(), row.ended.end());
  ForEachAccount(key.accounts, [&](std::string_view account) {
    v1::AccountCharge& charge = *shown.aggregate.add_accounts();
    charge.mutable_account()->ParseFromArray(account.data(), static_cast<int>(account.size()));
    charge.set_charged(row.hold);
  });
  return shown;
}

void FullCounts::Drop(const Shown& shown) {
  const std::lock_guard lock(mutex_);
  const auto at = rows_.find(shown.row);
  if (at == rows_.end()) return;
  Row& row = at->second;
  AddAmounts(row.sum, shown.aggregate, -1);
  row.ended.erase(row.ended.begin(), row.ended.begin() + shown.aggregate.ended_started_size());
  if (!shown.aggregate.accounts().empty()) row.hold -= shown.aggregate.accounts(0).charged();
  if (row.sum.attempts() == 0) rows_.erase(at);
}

}  // namespace spillway
