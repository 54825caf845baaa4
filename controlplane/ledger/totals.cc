#include "controlplane/ledger/totals.h"

#include <bit>
#include <cstring>

namespace spillway::ledger {

static_assert(sizeof(Totals) == 9 * sizeof(int64_t) && std::endian::native == std::endian::little);

Totals& Totals::operator+=(const Totals& other) {
  requests += other.requests;
  attempts += other.attempts;
  input_tokens += other.input_tokens;
  output_tokens += other.output_tokens;
  cached_input_tokens += other.cached_input_tokens;
  reasoning_tokens += other.reasoning_tokens;
  cost_nanos += other.cost_nanos;
  estimated_nanos += other.estimated_nanos;
  events += other.events;
  return *this;
}

Totals& Totals::operator-=(const Totals& other) {
  requests -= other.requests;
  attempts -= other.attempts;
  input_tokens -= other.input_tokens;
  output_tokens -= other.output_tokens;
  cached_input_tokens -= other.cached_input_tokens;
  reasoning_tokens -= other.reasoning_tokens;
  cost_nanos -= other.cost_nanos;
  estimated_nanos -= other.estimated_nanos;
  events -= other.events;
  return *this;
}

std::string Totals::Bytes() const {
  std::string bytes(sizeof(Totals), '\0');
  std::memcpy(bytes.data(), this, sizeof(Totals));
  return bytes;
}

std::optional<Totals> Totals::FromBytes(std::string_view bytes) {
  if (bytes.size() != sizeof(Totals)) return {};
  Totals totals;
  std::memcpy(&totals, bytes.data(), sizeof(Totals));
  return totals;
}

Totals TotalsOf(const v1::Finished& finished) {
  const bool ended_request = finished.winner() || finished.end() == v1::END_CLIENT_LEFT ||
                             finished.end() == v1::END_ABANDONED;
  return {.requests = ended_request ? 1 : 0,
          .attempts = 1,
          .input_tokens = finished.usage().input_tokens(),
          .output_tokens = finished.usage().output_tokens(),
          .cached_input_tokens = finished.usage().cached_input_tokens(),
          .reasoning_tokens = finished.usage().reasoning_tokens(),
          .cost_nanos = finished.cost_nanos(),
          .estimated_nanos =
              finished.source() == v1::USAGE_SOURCE_ESTIMATED ? finished.cost_nanos() : 0,
          .events = 1};
}

Totals TotalsOf(const v1::Aggregate& aggregate) {
  return {.requests = aggregate.requests(),
          .attempts = aggregate.attempts(),
          .input_tokens = aggregate.usage().input_tokens(),
          .output_tokens = aggregate.usage().output_tokens(),
          .cached_input_tokens = aggregate.usage().cached_input_tokens(),
          .reasoning_tokens = aggregate.usage().reasoning_tokens(),
          .cost_nanos = aggregate.cost_nanos(),
          .estimated_nanos = aggregate.estimated_nanos(),
          .events = 1};
}

std::optional<Totals> TotalsOfEvent(const v1::UsageRecord& record) {
  switch (record.body_case()) {
    case v1::UsageRecord::kFinished:
      return TotalsOf(record.finished());
    case v1::UsageRecord::kAbandoned:
      return TotalsOf(record.abandoned().estimate());
    case v1::UsageRecord::kAggregate:
      return TotalsOf(record.aggregate());
    default:
      return {};
  }
}

const v1::Attribution& AttributionOf(const v1::UsageRecord& record) {
  if (record.has_aggregate()) return record.aggregate().attribution();
  return record.has_abandoned() ? record.abandoned().estimate().attribution()
                                : record.finished().attribution();
}

}  // namespace spillway::ledger
