#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "spillway/v1/usage.pb.h"

namespace spillway::ledger {

// What a roll-up row adds up; in the store: its nine numbers, little-endian, in this order.
struct Totals {
  int64_t requests = 0;  // attempts that won, or ended a request
  int64_t attempts = 0;
  int64_t input_tokens = 0;
  int64_t output_tokens = 0;
  int64_t cached_input_tokens = 0;
  int64_t reasoning_tokens = 0;
  int64_t cost_nanos = 0;
  int64_t estimated_nanos = 0;
  int64_t events = 0;

  Totals& operator+=(const Totals& other);
  Totals& operator-=(const Totals& other);
  friend bool operator==(const Totals&, const Totals&) = default;
  std::string Bytes() const;
  static std::optional<Totals> FromBytes(std::string_view bytes);
};

Totals TotalsOf(const v1::Finished& finished);
Totals TotalsOf(const v1::Aggregate& aggregate);
// Of a kept event; nullopt: a record that settles nothing.
std::optional<Totals> TotalsOfEvent(const v1::UsageRecord& record);
// Who pays for a kept event. Only for records with totals.
const v1::Attribution& AttributionOf(const v1::UsageRecord& record);

}  // namespace spillway::ledger
