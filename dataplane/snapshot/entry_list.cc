#include "dataplane/snapshot/entry_list.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <format>

#include "common/config/resource.h"
#include "common/crypto/sha256.h"
#include "common/ids.h"
#include "dataplane/snapshot/refusal.h"

namespace spillway {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

constexpr uint32_t LengthTag(int field) {
  return static_cast<uint32_t>(field) << 3 | WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
}
constexpr uint32_t kEntriesTag = LengthTag(1);
constexpr uint32_t kKindTag = 1U << 3 | WireFormatLite::WIRETYPE_VARINT;
constexpr uint32_t kNameTag = LengthTag(2);
constexpr uint32_t kBytesTag = LengthTag(3);

CodedInputStream StreamOf(std::string_view bytes) {
  return CodedInputStream(reinterpret_cast<const uint8_t*>(bytes.data()),
                          static_cast<int>(bytes.size()));
}

// The length-delimited field that starts here, as a view into `whole`.
bool ReadView(CodedInputStream& in, std::string_view whole, std::string_view& view) {
  uint32_t length = 0;
  if (!in.ReadVarint32(&length)) return false;
  const auto position = static_cast<size_t>(in.CurrentPosition());
  if (length > whole.size() - position) return false;
  view = whole.substr(position, length);
  return in.Skip(static_cast<int>(length));
}

bool ParseEntry(std::string_view bytes, EntryView& entry) {
  CodedInputStream in = StreamOf(bytes);
  while (const uint32_t tag = in.ReadTag()) {
    bool good = true;
    if (tag == kNameTag) {
      good = ReadView(in, bytes, entry.name);
    } else if (tag == kBytesTag) {
      good = ReadView(in, bytes, entry.bytes);
    } else if (tag == kKindTag) {
      uint32_t kind = 0;
      good = in.ReadVarint32(&kind);
      entry.kind = static_cast<v1::Kind>(static_cast<int>(kind));
    } else {
      good = WireFormatLite::SkipField(&in, tag);
    }
    if (!good) return false;
  }
  return in.ConsumedEntireMessage();
}

std::unexpected<Error> Damaged() {
  return Refuse(RefusalClass::kCorrupt, "the list of entries cannot be read");
}

void AppendVarint(uint64_t value, std::string& out) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

size_t VarintSize(uint64_t value) {
  size_t size = 1;
  for (; value >= 0x80; value >>= 7) ++size;
  return size;
}

}  // namespace

Result<std::vector<EntryView>> ParseEntryList(std::string_view list, const SnapshotLimits& limits) {
  if (static_cast<int64_t>(list.size()) > limits.bytes_max) {
    return Refuse(RefusalClass::kOversized,
                  std::format("{} bytes, at most {} are accepted", list.size(), limits.bytes_max));
  }
  std::vector<EntryView> entries;
  CodedInputStream in = StreamOf(list);
  while (const uint32_t tag = in.ReadTag()) {
    if (tag != kEntriesTag) {
      if (!WireFormatLite::SkipField(&in, tag)) return Damaged();
      continue;
    }
    if (static_cast<int64_t>(entries.size()) >= limits.entries_max) {
      return Refuse(RefusalClass::kOversized,
                    std::format("more than {} entries", limits.entries_max));
    }
    std::string_view bytes;
    if (!ReadView(in, list, bytes) || !ParseEntry(bytes, entries.emplace_back())) return Damaged();
  }
  if (!in.ConsumedEntireMessage()) return Damaged();
  return entries;
}

void AppendEntry(const EntryView& entry, std::string& list) {
  const auto kind = static_cast<uint64_t>(entry.kind);
  const size_t size = 1 + VarintSize(kind) + 1 + VarintSize(entry.name.size()) + entry.name.size() +
                      1 + VarintSize(entry.bytes.size()) + entry.bytes.size();
  AppendVarint(kEntriesTag, list);
  AppendVarint(size, list);
  AppendVarint(kKindTag, list);
  AppendVarint(kind, list);
  AppendVarint(kNameTag, list);
  AppendVarint(entry.name.size(), list);
  list += entry.name;
  AppendVarint(kBytesTag, list);
  AppendVarint(entry.bytes.size(), list);
  list += entry.bytes;
}

std::string Describe(v1::Kind kind, std::string_view name) {
  const std::string_view kind_name =
      v1::Kind_IsValid(kind) && kind != v1::KIND_UNSPECIFIED ? config::NameOf(kind) : "resource";
  if (IsResourceName(name)) return std::format("{}/{}", kind_name, name);
  return std::format("{} with the bad name 0x{}", kind_name, HexOf(name.substr(0, 32)));
}

}  // namespace spillway
