#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "spillway/v1/usage.pb.h"

namespace spillway::ledger {

// What a roll-up row adds up. In the store: its numbers, little-endian, in the order of kNumbers;
// rows of older programs hold the first nine. A byte behind the numbers marks a row that began as
// one of those: its later numbers lack what was added before they were kept. Numbers of a newer
// program, behind those known here, are dropped when the row changes.
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
  // Kept since money came. Each attempt is in one of the first three pairs at most.
  int64_t disconnects = 0;  // the client left
  int64_t disconnect_nanos = 0;
  int64_t retries = 0;  // nobody got its answer
  int64_t retry_nanos = 0;
  int64_t fallbacks = 0;  // answered, by another than the first target
  int64_t fallback_nanos = 0;
  int64_t estimated_attempts = 0;
  int64_t unpriced_attempts = 0;
  int64_t downgrades = 0;
  int64_t cache_write_5m_tokens = 0;
  int64_t cache_write_1h_tokens = 0;
  int64_t audio_input_tokens = 0;
  int64_t audio_output_tokens = 0;
  int64_t images = 0;

  bool partial = false;

  Totals& operator+=(const Totals& other);
  Totals& operator-=(const Totals& other);
  friend bool operator==(const Totals&, const Totals&) = default;
  // Equal as far as both know: a partial side is asked for its first nine numbers only.
  bool Agrees(const Totals& other) const;
  std::string Bytes() const;
  static std::optional<Totals> FromBytes(std::string_view bytes);
};

inline constexpr size_t kFirstNumbers = 9;  // that every stored row has
inline constexpr std::array kNumbers = {&Totals::requests,
                                        &Totals::attempts,
                                        &Totals::input_tokens,
                                        &Totals::output_tokens,
                                        &Totals::cached_input_tokens,
                                        &Totals::reasoning_tokens,
                                        &Totals::cost_nanos,
                                        &Totals::estimated_nanos,
                                        &Totals::events,
                                        &Totals::disconnects,
                                        &Totals::disconnect_nanos,
                                        &Totals::retries,
                                        &Totals::retry_nanos,
                                        &Totals::fallbacks,
                                        &Totals::fallback_nanos,
                                        &Totals::estimated_attempts,
                                        &Totals::unpriced_attempts,
                                        &Totals::downgrades,
                                        &Totals::cache_write_5m_tokens,
                                        &Totals::cache_write_1h_tokens,
                                        &Totals::audio_input_tokens,
                                        &Totals::audio_output_tokens,
                                        &Totals::images};

Totals TotalsOf(const v1::Finished& finished);
// Says nothing of retries, fallbacks and disconnects: an aggregate does not know.
Totals TotalsOf(const v1::Aggregate& aggregate);
// Of a kept event; nullopt: a record that settles nothing.
std::optional<Totals> TotalsOfEvent(const v1::UsageRecord& record);
// Who pays for a kept event. Only for records with totals.
const v1::Attribution& AttributionOf(const v1::UsageRecord& record);

}  // namespace spillway::ledger
