#include "dataplane/dialect/policy_fields.h"

#include <algorithm>
#include <string>

namespace spillway::openai {
namespace {

struct Entry {
  Scope scope;
  Field field;
  bool decides;  // another spelling of it could decide something
  std::string_view key;
  std::string_view name;
};

constexpr Entry kEntries[] = {
    {Scope::kTop, Field::kModel, true, "model", "model"},
    {Scope::kTop, Field::kMessages, false, "messages", "messages"},
    {Scope::kTop, Field::kStream, true, "stream", "stream"},
    {Scope::kTop, Field::kStreamOptions, true, "stream_options", "stream_options"},
    {Scope::kTop, Field::kMaxTokens, true, "max_tokens", "max_tokens"},
    {Scope::kTop, Field::kMaxCompletionTokens, true, "max_completion_tokens",
     "max_completion_tokens"},
    {Scope::kTop, Field::kTools, true, "tools", "tools"},
    {Scope::kTop, Field::kUser, true, "user", "user"},
    {Scope::kTop, Field::kMetadata, true, "metadata", "metadata"},
    {Scope::kTop, Field::kChoices, true, "n", "n"},
    {Scope::kTop, Field::kBestOf, true, "best_of", "best_of"},
    {Scope::kTop, Field::kServiceTier, true, "service_tier", "service_tier"},
    {Scope::kTop, Field::kInput, false, "input", "input"},
    {Scope::kTop, Field::kPrompt, false, "prompt", "prompt"},
    {Scope::kStreamOptions, Field::kIncludeUsage, true, "include_usage",
     "stream_options.include_usage"},
    {Scope::kMetadata, Field::kMetadataUser, false, "user", "metadata.user"},
    {Scope::kMetadata, Field::kMetadataFeature, false, "feature", "metadata.feature"},
};

constexpr std::string_view kLongS = "\xc5\xbf";
constexpr std::string_view kKelvin = "\xe2\x84\xaa";

std::string Folded(std::string_view key) {
  std::string folded;
  for (size_t at = 0; at < key.size();) {
    const std::string_view rest = key.substr(at);
    if (rest.starts_with(kLongS)) {
      folded += 's';
      at += kLongS.size();
    } else if (rest.starts_with(kKelvin)) {
      folded += 'k';
      at += kKelvin.size();
    } else {
      folded += rest[0] >= 'A' && rest[0] <= 'Z' ? static_cast<char>(rest[0] | 0x20) : rest[0];
      ++at;
    }
  }
  return folded;
}

}  // namespace

Field FieldOf(Scope scope, std::string_view key) {
  for (const Entry& entry : kEntries) {
    if (entry.scope == scope && entry.key == key) return entry.field;
  }
  return Field::kNone;
}

std::string_view NameOf(Field field) {
  const auto* const found = std::ranges::find(kEntries, field, &Entry::field);
  return found == std::end(kEntries) ? std::string_view() : found->name;
}

Scope InsideOf(Scope scope, Field field, std::string_view key) {
  if (scope == Scope::kMessage && key == "content") return Scope::kContent;
  if (scope != Scope::kTop) return Scope::kOther;
  if (field == Field::kStreamOptions) return Scope::kStreamOptions;
  if (field == Field::kMetadata) return Scope::kMetadata;
  return field == Field::kMessages ? Scope::kMessages : Scope::kOther;
}

Scope ElementOf(Scope array) {
  if (array == Scope::kMessages) return Scope::kMessage;
  return array == Scope::kContent ? Scope::kPart : Scope::kOther;
}

Field CaseTwinOf(Scope scope, std::string_view key) {
  constexpr size_t kLongest = 32;  // the longest field, every letter in three bytes: no twin beyond
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; };
  if (key.size() > 3 * kLongest || std::ranges::all_of(key, plain)) return Field::kNone;
  const std::string folded = Folded(key);
  for (const Entry& entry : kEntries) {
    if (entry.decides && entry.scope == scope && entry.key == folded) return entry.field;
  }
  return Field::kNone;
}

}  // namespace spillway::openai
