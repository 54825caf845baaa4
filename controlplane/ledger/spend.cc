#include "controlplane/ledger/spend.h"

#include <algorithm>
#include <utility>

#include "common/utc.h"
#include "controlplane/ledger/ledger.h"

namespace spillway::ledger {
namespace {

constexpr size_t kTagBytesMax = 64;

bool IsTime(int dimension) {
  return dimension == v1::DIMENSION_HOUR || dimension == v1::DIMENSION_DAY ||
         dimension == v1::DIMENSION_MONTH;
}

std::string TimeText(int dimension, int64_t time_ms) {
  const std::string time = FormatUtc(HourOf(time_ms) * 1000);
  if (dimension == v1::DIMENSION_MONTH) return time.substr(0, 7);
  return dimension == v1::DIMENSION_DAY ? time.substr(0, 10) : time.substr(0, 19) + "Z";
}

std::string TagOf(const SpendFacts& facts, std::string_view name) {
  if (facts.tags != nullptr)
    for (const v1::Tag& tag : *facts.tags)
      if (tag.name() == name) return tag.value();
  return {};
}

std::string ValueOf(int dimension, const SpendFacts& facts) {
  if (IsTime(dimension)) return TimeText(dimension, facts.time_ms);
  return std::string(facts.names[static_cast<size_t>(dimension - v1::DIMENSION_ORGANIZATION)]);
}

bool IsKnown(int dimension) {
  return dimension > v1::DIMENSION_UNSPECIFIED && dimension <= v1::DIMENSION_TAG;
}

std::unexpected<Error> RefuseDimension(std::string field) {
  return Fail(ErrorCode::kInvalidRequest,
              "unknown dimension; allowed: organization, team, user, key, feature, model, route, "
              "provider, hour, day, month, tag",
              std::move(field));
}

Result<void> CheckTagName(const std::string& name, std::string field) {
  if (!name.empty() && name.size() <= kTagBytesMax) return {};
  return Fail(ErrorCode::kInvalidRequest, "a tag's name has 1 to 64 bytes", std::move(field));
}

}  // namespace

SpendFacts FactsOf(const RollupId& row) {
  SpendFacts facts{.time_ms = row.hour_s * 1000};
  std::ranges::copy(row.names, facts.names.begin());
  return facts;
}

SpendFacts FactsOf(int64_t time_ms, const v1::Attribution& who) {
  return {.time_ms = FiledMs(time_ms),
          .names = {who.organization(), who.team(), who.user(), who.key(), who.feature(),
                    who.model(), who.route(), who.provider()},
          .tags = &who.tags()};
}

Result<void> SpendGroups::Check(const v1::QuerySpendRequest& request) {
  for (const int by : request.by())
    if (!IsKnown(by)) return RefuseDimension("by");
  for (const auto& [dimension, value] : request.where())
    if (!IsKnown(dimension) || dimension == v1::DIMENSION_TAG) return RefuseDimension("where");
  const auto tags = std::ranges::count(request.by(), v1::DIMENSION_TAG);
  if (tags != request.tags_size())
    return Fail(ErrorCode::kInvalidRequest, "every dimension `tag` needs one tag's name", "tags");
  for (const std::string& name : request.tags()) SW_CHECK(CheckTagName(name, "tags"));
  for (const auto& [name, value] : request.where_tags()) SW_CHECK(CheckTagName(name, "where_tags"));
  return {};
}

bool SpendGroups::NeedsEvents(const v1::QuerySpendRequest& request) {
  return request.from_events() || request.tags_size() > 0 || request.where_tags_size() > 0;
}

bool SpendGroups::Matches(const SpendFacts& facts) const {
  return std::ranges::all_of(
             request_.where(),
             [&](const auto& filter) { return ValueOf(filter.first, facts) == filter.second; }) &&
         std::ranges::all_of(request_.where_tags(), [&](const auto& filter) {
           return TagOf(facts, filter.first) == filter.second;
         });
}

SpendGroups::Group& SpendGroups::GroupOf(const SpendFacts& facts) {
  Values values;
  int tag = 0;
  for (const int by : request_.by())
    values.push_back(by == v1::DIMENSION_TAG ? TagOf(facts, request_.tags(tag++))
                                             : ValueOf(by, facts));
  if (groups_.size() >= groups_max_ && !groups_.contains(values))
    values.assign(values.size(), std::string(kOverflowRow));
  return groups_[std::move(values)];
}

void SpendGroups::Add(const SpendFacts& facts, const Totals& totals) {
  GroupOf(facts).totals += totals;
}

void SpendGroups::AddOpen(const SpendFacts& facts, int64_t reserved_nanos) {
  Group& group = GroupOf(facts);
  ++group.open_attempts;
  group.open_reserved_nanos += reserved_nanos;
}

v1::SpendRow SpendGroups::RowOf(const Values& values, const Group& group) {
  const Totals& totals = group.totals;
  v1::SpendRow row;
  for (const std::string& value : values) row.add_values(value);
  row.set_requests(totals.requests);
  row.set_attempts(totals.attempts);
  row.set_input_tokens(totals.input_tokens);
  row.set_output_tokens(totals.output_tokens);
  row.set_cached_input_tokens(totals.cached_input_tokens);
  row.set_reasoning_tokens(totals.reasoning_tokens);
  row.set_cost_nanos(totals.cost_nanos);
  row.set_estimated_nanos(totals.estimated_nanos);
  row.set_retries(totals.retries);
  row.set_retry_nanos(totals.retry_nanos);
  row.set_fallbacks(totals.fallbacks);
  row.set_fallback_nanos(totals.fallback_nanos);
  row.set_disconnects(totals.disconnects);
  row.set_disconnect_nanos(totals.disconnect_nanos);
  row.set_estimated_attempts(totals.estimated_attempts);
  row.set_unpriced_attempts(totals.unpriced_attempts);
  row.set_downgrades(totals.downgrades);
  row.set_cache_write_5m_tokens(totals.cache_write_5m_tokens);
  row.set_cache_write_1h_tokens(totals.cache_write_1h_tokens);
  row.set_audio_input_tokens(totals.audio_input_tokens);
  row.set_audio_output_tokens(totals.audio_output_tokens);
  row.set_images(totals.images);
  row.set_partial(totals.partial);
  row.set_open_attempts(group.open_attempts);
  row.set_open_reserved_nanos(group.open_reserved_nanos);
  return row;
}

v1::QuerySpendResponse SpendGroups::Response() const {
  std::vector<const std::pair<const Values, Group>*> order;
  order.reserve(groups_.size());
  for (const auto& group : groups_) order.push_back(&group);
  const auto time = std::ranges::find_if(request_.by(), IsTime);
  const bool timed = time != request_.by().end();
  const auto index = static_cast<size_t>(time - request_.by().begin());
  std::ranges::stable_sort(order, [&](const auto* a, const auto* b) {
    if (timed && a->first[index] != b->first[index]) return a->first[index] < b->first[index];
    return a->second.totals.cost_nanos > b->second.totals.cost_nanos;
  });
  v1::QuerySpendResponse response;
  for (const auto* group : order) *response.add_rows() = RowOf(group->first, group->second);
  return response;
}

}  // namespace spillway::ledger
