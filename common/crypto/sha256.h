#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace spillway {

using Sha256Digest = std::array<uint8_t, 32>;

// One shot, about 150 ns for short input: the algorithm is fetched once, the context is
// thread-local.
Sha256Digest Sha256(std::string_view bytes);
// Of the parts one behind the other, without copying them together.
Sha256Digest Sha256Parts(std::initializer_list<std::string_view> parts);
// Lower-case hex digits, and back (either case); nullopt: an odd count or something else.
std::string HexOf(std::string_view bytes);
std::optional<std::string> BytesOfHex(std::string_view hex);
inline std::string_view AsBytes(const Sha256Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

}  // namespace spillway
