#pragma once

#include <string_view>

#include "common/error.h"
#include "dataplane/dialect/policy_fields.h"

namespace spillway::openai {

inline constexpr int kDepthMax = 128;
inline constexpr size_t kNumberBytesMax = 1000;

// The strict pass: is `body` one JSON object that every parser reads in the same way? Refuses, with
// the byte where it found it: a BOM, bytes that are no UTF-8, lone surrogates, anything RFC 8259
// does not allow, depth over kDepthMax, numbers beyond a double's range or over kNumberBytesMax,
// bytes behind the object, a key that occurs twice in an object (compared unescaped), a key that
// equals a policy field but for its case. `body` has kBodyPadding readable bytes behind it. Says
// nothing about the types of the fields.
Result<PolicyFields> ScanStrict(std::string_view body);

}  // namespace spillway::openai
