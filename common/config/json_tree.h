#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"

namespace spillway::config {

// One value of a JSON text (RFC 8259). Numbers stay as they were written, so that 2.5e-07 reaches
// its own reader exactly. Members keep their order, and a key that occurs twice occurs twice.
struct JsonMember;
struct JsonNode {
  enum class Type : uint8_t { kNull, kBool, kNumber, kString, kArray, kObject };
  Type type = Type::kNull;
  std::string text;  // a string, unescaped; a number or a literal, as written
  std::vector<JsonNode> items;
  std::vector<JsonMember> members;

  // The first member of that name; nullptr: none, or no object.
  const JsonNode* Find(std::string_view key) const;
};
struct JsonMember {
  std::string key;
  JsonNode value;
};

// For files of operators, not for the hot path. Refuses texts over 16 MiB, no UTF-8, more than 32
// levels or 1,000,000 values, and whatever the RFC does not allow. The message begins with "line N:
// " and never repeats the text.
Result<JsonNode> ParseJson(std::string_view text);

}  // namespace spillway::config
