#pragma once

#include <cstdint>
#include <string_view>

namespace spillway {

// CRC-32C (Castagnoli, RFC 3720 appendix B.4), hardware-accelerated where the machine can.
// `seed` is the CRC of what came before: Crc32c(b, Crc32c(a)) == Crc32c(a + b).
uint32_t Crc32c(std::string_view bytes, uint32_t seed = 0);

// The same without the machine's instruction: the fall-back, and the tests' second opinion.
uint32_t Crc32cByTable(std::string_view bytes, uint32_t seed = 0);

}  // namespace spillway
