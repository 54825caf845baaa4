#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

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

// The object a key stands in, or the array an element does.
enum class Scope : uint8_t {
  kTop,
  kStreamOptions,
  kMetadata,
  kMessages,  // the array
  kMessage,
  kContent,  // the array of a message's parts
  kPart,
  kOther,
};

enum class Kind : uint8_t { kAbsent, kNull, kTrue, kFalse, kNumber, kString, kArray, kObject };

struct FieldValue {
  Kind kind = Kind::kAbsent;
  bool empty = false;          // an array or object without members
  bool escaped = false;        // a string with escapes
  Kind first = Kind::kAbsent;  // of an array: its first element
  uint32_t items = 0;          // of an array
  Span span;                   // a string's with its quotes
};

struct MetadataMember {
  std::string name;  // unescaped
  FieldValue value;  // a string
};
inline constexpr size_t kMetadataMembersMax = 16;
inline constexpr size_t kMetadataNameBytesMax = 64;

struct PolicyFields {
  std::array<FieldValue, kFieldCount> values;
  uint32_t members_begin = 0;            // just behind the outermost '{'
  uint32_t media_parts = 0;              // of all messages
  uint64_t media_bytes = 0;              // of the body, theirs
  std::vector<MetadataMember> metadata;  // the first texts, kMetadataMembersMax at most

  FieldValue& operator[](Field field) { return values[static_cast<size_t>(field)]; }
  const FieldValue& operator[](Field field) const { return values[static_cast<size_t>(field)]; }
};

Field FieldOf(Scope scope, std::string_view key);
// "metadata.user"; empty for kNone.
std::string_view NameOf(Field field);
// The scope of what stands inside the value of a member: by its field at the top, else by its key.
Scope InsideOf(Scope scope, Field field, std::string_view key);
// The scope of an array's elements.
Scope ElementOf(Scope array);
// Are there fields in it?
inline bool HasFields(Scope scope) { return scope <= Scope::kMetadata; }
// The policy field that this key, which is none, equals except for case; kNone otherwise. Folds
// like the decoders that ignore case do: U+017F is an 's', U+212A is a 'k'.
Field CaseTwinOf(Scope scope, std::string_view key);

}  // namespace spillway::openai
