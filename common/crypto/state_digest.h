#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "spillway/v1/resources.pb.h"

namespace spillway {

// The order-independent hash of a whole state: sum mod 2^256 of SHA-256 over each entry's kind,
// name and bytes, each length-prefixed (protocol: u32 little-endian kind; u32 length + name; u32
// length + bytes). Add what is really stored, subtract what is really removed: no recomputation per
// change.
class StateDigest {
 public:
  void Add(v1::Kind kind, std::string_view name, std::string_view bytes);
  void Subtract(v1::Kind kind, std::string_view name, std::string_view bytes);
  // 32 bytes, little-endian.
  std::string Bytes() const;
  // Of what Bytes() gave; missing bytes count as zero, so nothing is the digest of the empty state.
  static StateDigest FromBytes(std::string_view bytes);
  friend bool operator==(const StateDigest&, const StateDigest&) = default;

 private:
  std::array<uint64_t, 4> words_{};
};

}  // namespace spillway
