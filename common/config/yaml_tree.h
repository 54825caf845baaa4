#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"

namespace spillway::config {

// One value of a YAML text, as written: a scalar stays text, so that "0.10" and 2027-01-01 reach
// their own parsers.
struct YamlNode {
  enum class Type : uint8_t { kNull, kScalar, kSequence, kMap };
  Type type = Type::kNull;
  int line = 0;  // from 1
  std::string text = {};
  std::vector<const YamlNode*> items = {};  // of a map: key, value, key, value, ...
};

// A parsed text; owns its nodes. An alias is the anchor's node itself.
struct YamlTree {
  std::deque<YamlNode> nodes;
  std::vector<const YamlNode*> roots;  // one per document
};

// Fences off the YAML library. Refuses texts over 16 MiB, no UTF-8, control characters, tags of
// applications, more than 32 levels or 2,000,000 values, and aliases that repeat more than 100,000
// values or contain themselves. The message begins with "line N: " where there is one, and never
// repeats the text.
Result<YamlTree> ParseYaml(std::string_view text);

}  // namespace spillway::config
