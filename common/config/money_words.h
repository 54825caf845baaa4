#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "spillway/v1/resources.pb.h"

namespace spillway::config {

// The words of a file for the values of an enum; what is unspecified has none.
template <typename Enum, size_t kCount>
using Words = std::array<std::pair<std::string_view, Enum>, kCount>;

// Rolling windows are written as "24h".
inline constexpr Words<v1::Window, 4> kWindowWords = {{{"day", v1::WINDOW_DAY},
                                                       {"week", v1::WINDOW_WEEK},
                                                       {"month", v1::WINDOW_MONTH},
                                                       {"lifetime", v1::WINDOW_LIFETIME}}};
// A downgrade is written as {downgrade: NAME}.
inline constexpr Words<v1::OnExhausted, 2> kOnExhaustedWords = {
    {{"reject", v1::ON_EXHAUSTED_REJECT}, {"warn", v1::ON_EXHAUSTED_WARN}}};
inline constexpr Words<v1::OnPartition, 3> kOnPartitionWords = {
    {{"open", v1::ON_PARTITION_OPEN},
     {"leased", v1::ON_PARTITION_LEASED},
     {"closed", v1::ON_PARTITION_CLOSED}}};
inline constexpr Words<v1::OnOverrun, 2> kOnOverrunWords = {
    {{"finish", v1::ON_OVERRUN_FINISH}, {"cap", v1::ON_OVERRUN_CAP}}};
inline constexpr Words<v1::TokenKind, 3> kTokenKindWords = {{{"total", v1::TOKEN_KIND_TOTAL},
                                                             {"input", v1::TOKEN_KIND_INPUT},
                                                             {"output", v1::TOKEN_KIND_OUTPUT}}};
inline constexpr Words<v1::Period, 4> kPeriodWords = {{{"second", v1::PERIOD_SECOND},
                                                       {"minute", v1::PERIOD_MINUTE},
                                                       {"hour", v1::PERIOD_HOUR},
                                                       {"day", v1::PERIOD_DAY}}};
inline constexpr Words<v1::AlertSink::Kind, 2> kSinkWords = {
    {{"webhook", v1::AlertSink::KIND_WEBHOOK}, {"slack", v1::AlertSink::KIND_SLACK}}};
// A default is written as {default: {input: ...}}.
inline constexpr Words<v1::UnknownPrice, 2> kUnknownPriceWords = {
    {{"refuse", v1::UNKNOWN_PRICE_REFUSE}, {"allow", v1::UNKNOWN_PRICE_ALLOW}}};

// Empty: the value has no word.
template <typename Enum, size_t kCount>
std::string WordOf(const Words<Enum, kCount>& words, Enum value) {
  const auto found = std::ranges::find(words, value, [](const auto& word) { return word.second; });
  return found == words.end() ? std::string() : std::string(found->first);
}

// "day, week or month".
template <typename Enum, size_t kCount>
std::string Choices(const Words<Enum, kCount>& words) {
  std::string text;
  for (size_t i = 0; i < kCount; ++i) {
    if (i > 0) text += i + 1 == kCount ? " or " : ", ";
    text += words[i].first;
  }
  return text;
}

}  // namespace spillway::config
