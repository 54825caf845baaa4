#include "dataplane/metering/full_counts.h"

#include <algorithm>

namespace spillway {
namespace {

std::string OverflowAttribution() {
  v1::Attribution attribution;
  attribution.set_organization("(overflow)");
  attribution.set_team("(overflow)");
  return attribution.SerializeAsString();
}

void AddAmounts(v1::Aggregate& sum, const v1::Aggregate& amount, int sign) {
  v1::Usage& usage = *sum.mutable_usage();
  const v1::Usage& more = amount.usage();
  usage.set_input_tokens(usage.input_tokens() + sign * more.input_tokens());
  usage.set_output_tokens(usage.output_tokens() + sign * more.output_tokens());
  usage.set_cached_input_tokens(usage.cached_input_tokens() + sign * more.cached_input_tokens());
  usage.set_reasoning_tokens(usage.reasoning_tokens() + sign * more.reasoning_tokens());
  sum.set_cost_nanos(sum.cost_nanos() + sign * amount.cost_nanos());
  sum.set_estimated_nanos(sum.estimated_nanos() + sign * amount.estimated_nanos());
  sum.set_requests(sum.requests() + sign * amount.requests());
  sum.set_attempts(sum.attempts() + sign * amount.attempts());
}

v1::Aggregate AmountOf(const FullCounts::End& end) {
  v1::Aggregate amount;
  amount.mutable_usage()->set_input_tokens(end.usage.input);
  amount.mutable_usage()->set_output_tokens(end.usage.output);
  amount.mutable_usage()->set_cached_input_tokens(end.usage.cached_input);
  amount.mutable_usage()->set_reasoning_tokens(end.usage.reasoning);
  amount.set_cost_nanos(end.cost);
  amount.set_estimated_nanos(end.estimated ? end.cost : 0);
  amount.set_requests(end.request ? 1 : 0);
  amount.set_attempts(1);
  return amount;
}

}  // namespace

void FullCounts::Add(const End& end) {
  const std::lock_guard lock(mutex_);
  auto at = rows_.find(end.attribution);
  if (at == rows_.end() && rows_.size() < kRowsMax)
    at = rows_.emplace(end.attribution, Row{}).first;
  if (at == rows_.end()) at = rows_.try_emplace(OverflowAttribution()).first;
  AddAmounts(at->second.sum, AmountOf(end), 1);
  if (end.started_seq > 0) at->second.ended.push_back(end.started_seq);
}

bool FullCounts::empty() const {
  const std::lock_guard lock(mutex_);
  return rows_.empty();
}

std::optional<FullCounts::Shown> FullCounts::Peek() const {
  const std::lock_guard lock(mutex_);
  if (rows_.empty()) return {};
  const auto& [attribution, row] = *rows_.begin();
  Shown shown{.attribution = attribution, .aggregate = row.sum};
  shown.aggregate.mutable_attribution()->ParseFromString(attribution);
  const size_t named = std::min(row.ended.size(), kEndedMax);
  shown.aggregate.mutable_ended_started()->Add(row.ended.begin(),
                                               row.ended.begin() + static_cast<ptrdiff_t>(named));
  return shown;
}

void FullCounts::Drop(const Shown& shown) {
  const std::lock_guard lock(mutex_);
  const auto at = rows_.find(shown.attribution);
  if (at == rows_.end()) return;
  Row& row = at->second;
  AddAmounts(row.sum, shown.aggregate, -1);
  row.ended.erase(row.ended.begin(), row.ended.begin() + shown.aggregate.ended_started_size());
  if (row.ended.empty() && row.sum.attempts() == 0) rows_.erase(at);
}

}  // namespace spillway
