#include "controlplane/ledger/keys.h"

#include <algorithm>

namespace spillway::ledger {
namespace {

constexpr int64_t kTimeMsMax = 253'402'300'799'999;  // the end of the year 9999
constexpr std::string_view kOverflow = "(overflow)";
constexpr size_t kPackedBytes = 16;

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

void AppendName(std::string& out, std::string_view name) {
  name = name.substr(0, 0xFFFF);
  out.push_back(static_cast<char>(name.size() >> 8));
  out.push_back(static_cast<char>(name.size() & 0xFF));
  out.append(name);
}

}  // namespace

void AppendInt64(std::string& out, int64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8)
    out.push_back(static_cast<char>(static_cast<uint64_t>(value) >> shift));
}

int64_t ReadInt64(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return static_cast<int64_t>(value);
}

std::optional<std::string> PackIncarnation(std::string_view hex) {
  if (hex.size() != 2 * kPackedBytes) return {};
  std::string packed;
  packed.reserve(kPackedBytes);
  for (size_t i = 0; i < hex.size(); i += 2) {
    const int high = HexValue(hex[i]);
    const int low = HexValue(hex[i + 1]);
    if (high < 0 || low < 0) return {};
    packed.push_back(static_cast<char>(high << 4 | low));
  }
  return packed;
}

std::string UnpackIncarnation(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  hex.reserve(2 * bytes.size());
  for (const char c : bytes) {
    hex.push_back(kDigits[static_cast<uint8_t>(c) >> 4]);
    hex.push_back(kDigits[static_cast<uint8_t>(c) & 15]);
  }
  return hex;
}

std::string OpenKey(std::string_view packed, int64_t started_seq) {
  std::string key(packed);
  AppendInt64(key, started_seq);
  return key;
}

std::string EventKey(int64_t time_ms, std::string_view packed, int64_t seq) {
  std::string key;
  key.reserve(16 + kPackedBytes);
  AppendInt64(key, FiledMs(time_ms));
  key.append(packed);
  AppendInt64(key, seq);
  return key;
}

std::optional<EventId> ReadEventKey(std::string_view key) {
  if (key.size() != 16 + kPackedBytes) return {};
  return EventId{.time_ms = ReadInt64(key),
                 .packed = key.substr(8, kPackedBytes),
                 .seq = ReadInt64(key.substr(24))};
}

int64_t FiledMs(int64_t time_ms) { return std::clamp<int64_t>(time_ms, 0, kTimeMsMax); }

std::string HourPrefix(int64_t hour_s) {
  std::string key;
  AppendInt64(key, hour_s);
  return key;
}

std::string RollupKey(int64_t hour_s, const v1::Attribution& attribution) {
  std::string key;
  key.reserve(128);
  AppendInt64(key, hour_s);
  for (const std::string* name :
       {&attribution.organization(), &attribution.team(), &attribution.user(), &attribution.key(),
        &attribution.feature(), &attribution.model(), &attribution.route(),
        &attribution.provider()})
    AppendName(key, *name);
  return key;
}

std::string OverflowKey(int64_t hour_s) {
  std::string key = HourPrefix(hour_s);
  for (int i = 0; i < 8; ++i) AppendName(key, kOverflow);
  return key;
}

std::optional<RollupId> ReadRollupKey(std::string_view key) {
  if (key.size() < 8) return {};
  RollupId id{.hour_s = ReadInt64(key)};
  key.remove_prefix(8);
  for (std::string_view& name : id.names) {
    if (key.size() < 2) return {};
    const size_t size =
        static_cast<size_t>(static_cast<uint8_t>(key[0])) << 8 | static_cast<uint8_t>(key[1]);
    if (key.size() < 2 + size) return {};
    name = key.substr(2, size);
    key.remove_prefix(2 + size);
  }
  return id;
}

}  // namespace spillway::ledger
