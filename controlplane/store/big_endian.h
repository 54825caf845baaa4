#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace spillway {

// Numbers in keys: 8 bytes, big endian, so that byte order is numeric order.
inline std::string BigEndian(int64_t number) {
  std::string bytes(8, '\0');
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<char>(number >> (56 - 8 * i));
  return bytes;
}
// The number in the first 8 bytes, which must be there.
inline int64_t FromBigEndian(std::string_view bytes) {
  uint64_t number = 0;
  for (int i = 0; i < 8; ++i) number = number << 8 | static_cast<uint8_t>(bytes[i]);
  return static_cast<int64_t>(number);
}

}  // namespace spillway
