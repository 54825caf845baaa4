#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/crypto/sha256.h"

namespace spillway::alerts {

// HMAC-SHA256 (RFC 2104); keys of any length.
Sha256Digest HmacSha256(std::string_view key, std::string_view message);

// What stands in x-spillway-signature: "v1=" + the HMAC in hex over "<timestamp>.<body>", where the
// timestamp is the text of x-spillway-timestamp (Unix seconds). A receiver that refuses old
// timestamps cannot be fed a recorded message.
std::string SignatureOf(std::string_view secret, int64_t timestamp_s, std::string_view body);

}  // namespace spillway::alerts
