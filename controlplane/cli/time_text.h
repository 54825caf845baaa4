#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "controlplane/cli/failure.h"

namespace spillway::cli {

// "24h", "30m", "7d", "2w": milliseconds.
Answer<int64_t> ParseSpan(std::string_view text);
// A span back from now ("24h"), a day ("2026-11-01") or RFC 3339, as Unix milliseconds.
Answer<int64_t> ParseMoment(std::string_view text, int64_t now_ms);
// A span ahead of now ("90d"), a day or RFC 3339.
Answer<int64_t> ParseExpiry(std::string_view text, int64_t now_ms);

// "2026-11-01 09:30:00Z"; "-" for 0.
std::string MomentText(int64_t ms);
// "12 ms", "1.4 s", "3 m 20 s".
std::string SpanText(int64_t us);
// "3 s ago"; "-" for 0.
std::string AgoText(int64_t ms, int64_t now_ms);

}  // namespace spillway::cli
