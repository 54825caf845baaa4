#include "controlplane/alerts/signature.h"

#include <array>

namespace spillway::alerts {
namespace {

constexpr size_t kBlockBytes = 64;
constexpr uint8_t kInnerPad = 0x36;
constexpr uint8_t kOuterPad = 0x5C;

using Block = std::array<char, kBlockBytes>;

Block Padded(std::string_view key, uint8_t pad) {
  Block block{};
  key.copy(block.data(), block.size());
  for (char& byte : block) byte = static_cast<char>(static_cast<uint8_t>(byte) ^ pad);
  return block;
}

std::string_view AsText(const Block& block) { return {block.data(), block.size()}; }

}  // namespace

Sha256Digest HmacSha256(std::string_view key, std::string_view message) {
  Sha256Digest shortened{};
  if (key.size() > kBlockBytes) {
    shortened = Sha256(key);
    key = AsBytes(shortened);
  }
  const Block inner = Padded(key, kInnerPad);
  const Block outer = Padded(key, kOuterPad);
  const Sha256Digest digest = Sha256Parts({AsText(inner), message});
  return Sha256Parts({AsText(outer), AsBytes(digest)});
}

std::string SignatureOf(std::string_view secret, int64_t timestamp_s, std::string_view body) {
  std::string message = std::to_string(timestamp_s);
  message.append(".").append(body);
  return "v1=" + HexOf(AsBytes(HmacSha256(secret, message)));
}

}  // namespace spillway::alerts
