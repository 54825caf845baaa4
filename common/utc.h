#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/error.h"

namespace spillway {

inline constexpr int64_t kDayMs = 86'400'000;

// Unix milliseconds -> RFC 3339 in UTC with milliseconds: "2027-01-01T00:00:00.000Z".
// Years 0 to 9999; what lies outside is shown as the nearest end.
std::string FormatUtc(int64_t unix_ms);
// "2027-01-01" (midnight UTC) or RFC 3339 with an offset ("2027-01-01T02:00:00+02:00"; a fraction
// is cut to milliseconds) -> Unix milliseconds. A leap second counts as the second after it.
Result<int64_t> ParseUtc(std::string_view text);

}  // namespace spillway
