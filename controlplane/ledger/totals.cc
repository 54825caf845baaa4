#include "controlplane/ledger/totals.h"

#include <bit>
#include <cstring>

namespace spillway::ledger {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr size_t kNumberBytes = sizeof(int64_t);
constexpr char kPartialMark = 'p';

void AddUsage(const v1::Usage& usage, Totals& totals) {
  totals.input_tokens = usage.input_tokens();
  totals.output_tokens = usage.output_tokens();
  totals.cached_input_tokens = usage.cached_input_tokens();
  totals.reasoning_tokens = usage.reasoning_tokens();
  totals.cache_write_5m_tokens = usage.cache_write_5m_tokens();
  totals.cache_write_1h_tokens = usage.cache_write_1h_tokens();
  totals.audio_input_tokens = usage.audio_input_tokens();
  totals.audio_output_tokens = usage.audio_output_tokens();
  totals.images = usage.images();
}

// An attempt is in one class at most: the costs of the classes may be added up.
void Classify(const v1::Finished& finished, Totals& totals) {
  if (finished.end() == v1::END_CLIENT_LEFT) {
    totals.disconnects = 1;
    totals.disconnect_nanos = finished.cost_nanos();
  } else if (!finished.winner() && finished.end() != v1::END_ABANDONED) {
    totals.retries = 1;
    totals.retry_nanos = finished.cost_nanos();
  } else if (finished.fallback()) {
    totals.fallbacks = 1;
    totals.fallback_nanos = finished.cost_nanos();
  }
}

}  // namespace

Totals& Totals::operator+=(const Totals& other) {
  for (const auto number : kNumbers) this->*number += other.*number;
  partial = partial || other.partial;
  return *this;
}

Totals& Totals::operator-=(const Totals& other) {
  for (const auto number : kNumbers) this->*number -= other.*number;
  partial = partial || other.partial;
  return *this;
}

bool Totals::Agrees(const Totals& other) const {
  const size_t count = partial || other.partial ? kFirstNumbers : kNumbers.size();
  for (size_t i = 0; i < count; ++i)
    if (this->*kNumbers[i] != other.*kNumbers[i]) return false;
  return true;
}

std::string Totals::Bytes() const {
  std::string bytes(kNumbers.size() * kNumberBytes, '\0');
  for (size_t i = 0; i < kNumbers.size(); ++i)
    std::memcpy(bytes.data() + i * kNumberBytes, &(this->*kNumbers[i]), kNumberBytes);
  if (partial) bytes.push_back(kPartialMark);
  return bytes;
}

std::optional<Totals> Totals::FromBytes(std::string_view bytes) {
  const size_t numbers = bytes.size() / kNumberBytes;
  const bool marked = bytes.size() % kNumberBytes == 1 && bytes.back() == kPartialMark;
  if (numbers < kFirstNumbers || (bytes.size() % kNumberBytes != 0 && !marked)) return {};
  Totals totals;
  totals.partial = marked || numbers < kNumbers.size();
  for (size_t i = 0; i < numbers && i < kNumbers.size(); ++i)
    std::memcpy(&(totals.*kNumbers[i]), bytes.data() + i * kNumberBytes, kNumberBytes);
  return totals;
}

Totals TotalsOf(const v1::Finished& finished) {
  const bool ended_request = finished.winner() || finished.end() == v1::END_CLIENT_LEFT ||
                             finished.end() == v1::END_ABANDONED;
  const bool estimated = finished.source() == v1::USAGE_SOURCE_ESTIMATED;
  Totals totals;
  totals.requests = ended_request ? 1 : 0;
  totals.attempts = 1;
  totals.cost_nanos = finished.cost_nanos();
  totals.estimated_nanos = estimated ? finished.cost_nanos() : 0;
  totals.events = 1;
  totals.estimated_attempts = estimated ? 1 : 0;
  totals.unpriced_attempts = finished.unpriced() ? 1 : 0;
  totals.downgrades = finished.downgraded() ? 1 : 0;
  AddUsage(finished.usage(), totals);
  Classify(finished, totals);
  return totals;
}

Totals TotalsOf(const v1::Aggregate& aggregate) {
  Totals totals;
  totals.requests = aggregate.requests();
  totals.attempts = aggregate.attempts();
  totals.cost_nanos = aggregate.cost_nanos();
  totals.estimated_nanos = aggregate.estimated_nanos();
  totals.events = 1;
  AddUsage(aggregate.usage(), totals);
  return totals;
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
