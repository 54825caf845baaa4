#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "dataplane/dialect/openai.h"

namespace spillway::openai {

// The members of a request that policy reads, wherever they stand.
enum class Field : uint8_t {
  kModel,
  kStream,
  kStreamOptions,
  kMaxTokens,
  kMaxCompletionTokens,
  kTools,
  kUser,
  kMetadata,
  kChoices,  // "n"
  kBestOf,
  kServiceTier,
  kMessages,
  kInput,
  kPrompt,
  kIncludeUsage,     // in stream_options
  kMetadataUser,     // in metadata
  kMetadataFeature,  // in metadata
  kNone,
};
inline constexpr size_t kFieldCount = static_cast<size_t>(Field::kNone);

// The object a key stands in.
enum class Scope : uint8_t { kTop, kStreamOptions, kMetadata, kOther };

enum class Kind : uint8_t { kAbsent, kNull, kTrue, kFalse, kNumber, kString, kArray, kObject };

struct FieldValue {
  Kind kind = Kind::kAbsent;
  bool empty = false;    // an array or object without members
  bool escaped = false;  // a string with escapes
  Span span;             // a string's with its quotes
};

struct PolicyFields {
  std::array<FieldValue, kFieldCount> values;
  uint32_t members_begin = 0;  // just behind the outermost '{'

  FieldValue& operator[](Field field) { return values[static_cast<size_t>(field)]; }
  const FieldValue& operator[](Field field) const { return values[static_cast<size_t>(field)]; }
};

Field FieldOf(Scope scope, std::string_view key);
// "metadata.user"; empty for kNone.
std::string_view NameOf(Field field);
// The scope of what stands inside this field's value.
Scope InsideOf(Field field);
// The policy field that this key, which is none, equals except for case; kNone otherwise. Folds
// like the decoders that ignore case do: U+017F is an 's', U+212A is a 'k'.
Field CaseTwinOf(Scope scope, std::string_view key);

}  // namespace spillway::openai
