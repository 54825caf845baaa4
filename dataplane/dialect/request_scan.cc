#include <algorithm>
#include <charconv>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/dialect/json_text.h"
#include "dataplane/dialect/openai.h"
#include "dataplane/dialect/policy_fields.h"
#include "dataplane/dialect/strict_json.h"

namespace spillway::openai {
namespace {

constexpr size_t kModelBytesMax = 256;
constexpr size_t kAttributionBytesMax = 512;
constexpr int64_t kAskedTokensMax = int64_t{1} << 53;
constexpr int64_t kChoicesMax = 128;

std::string_view NameOf(Kind kind) {
  switch (kind) {
    case Kind::kNull:
      return "null";
    case Kind::kTrue:
    case Kind::kFalse:
      return "a boolean";
    case Kind::kNumber:
      return "a number";
    case Kind::kString:
      return "a string";
    case Kind::kArray:
      return "an array";
    case Kind::kObject:
      return "an object";
    case Kind::kAbsent:
      break;
  }
  return "nothing";
}

// Cut to a bound at a character's begin: attribution is a label, and labels are bounded.
std::string Bounded(std::string text) {
  if (text.size() > kAttributionBytesMax) {
    size_t size = kAttributionBytesMax;
    while ((static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) --size;
    text.resize(size);
  }
  return text;
}

// Reads the policy fields of one body with their types.
class FieldReader {
 public:
  FieldReader(std::string_view body, const PolicyFields& fields) : body_(body), fields_(fields) {}

  Result<void> Require(Field field) const;
  Result<void> RequireMembers(Field field) const;
  Result<std::string> Model() const;
  Result<bool> Bool(Field field) const;
  Result<void> ObjectOrNull(Field field) const;
  // Absent and null give `fallback`.
  Result<int64_t> Integer(Field field, int64_t fallback, int64_t least, int64_t most) const;
  Result<std::string> Attribution(Field field) const;
  Result<OutputLimit> Limit(Field field) const;
  std::vector<std::pair<std::string, std::string>> Metadata() const;

 private:
  bool Missing(Field field) const {
    return fields_[field].kind == Kind::kAbsent || fields_[field].kind == Kind::kNull;
  }
  std::string_view TextOf(const FieldValue& value) const {
    return body_.substr(value.span.begin, value.span.end - value.span.begin);
  }
  std::string StringOf(const FieldValue& value) const {
    const std::string_view text = TextOf(value);
    const std::string_view inside = text.substr(1, text.size() - 2);
    return value.escaped ? Unescape(inside) : std::string(inside);
  }
  std::unexpected<Error> WrongType(Field field, std::string_view expected) const;
  static std::unexpected<Error> WrongValue(Field field, std::string_view expected);

  std::string_view body_;
  const PolicyFields& fields_;
};

std::unexpected<Error> FieldReader::WrongType(Field field, std::string_view expected) const {
  const std::string name(openai::NameOf(field));
  return Fail(ErrorCode::kInvalidRequest,
              "Invalid type for '" + name + "': expected " + std::string(expected) + ", but got " +
                  std::string(NameOf(fields_[field].kind)) + " instead.",
              name);
}

std::unexpected<Error> FieldReader::WrongValue(Field field, std::string_view expected) {
  const std::string name(openai::NameOf(field));
  return Fail(ErrorCode::kInvalidRequest,
              "Invalid value for '" + name + "': expected " + std::string(expected) + ".", name);
}

Result<void> FieldReader::Require(Field field) const {
  if (fields_[field].kind != Kind::kAbsent) return {};
  const std::string name(openai::NameOf(field));
  return Fail(ErrorCode::kInvalidRequest, "Missing required parameter: '" + name + "'.", name);
}

Result<void> FieldReader::RequireMembers(Field field) const {
  SW_CHECK(Require(field));
  if (fields_[field].kind != Kind::kArray) return WrongType(field, "an array of objects");
  if (fields_[field].empty) return WrongValue(field, "an array with at least one element");
  return {};
}

Result<std::string> FieldReader::Model() const {
  SW_CHECK(Require(Field::kModel));
  if (fields_[Field::kModel].kind != Kind::kString) return WrongType(Field::kModel, "a string");
  std::string model = StringOf(fields_[Field::kModel]);
  const bool printable = std::ranges::all_of(model, [](char c) { return c >= ' ' && c <= '~'; });
  if (model.empty() || model.size() > kModelBytesMax || !printable) {
    return WrongValue(Field::kModel, "1 to 256 printable ASCII characters");
  }
  return model;
}

Result<bool> FieldReader::Bool(Field field) const {
  const Kind kind = fields_[field].kind;
  if (Missing(field) || kind == Kind::kFalse) return false;
  if (kind == Kind::kTrue) return true;
  return WrongType(field, "a boolean or null");
}

Result<void> FieldReader::ObjectOrNull(Field field) const {
  if (Missing(field) || fields_[field].kind == Kind::kObject) return {};
  return WrongType(field, "an object or null");
}

Result<int64_t> FieldReader::Integer(Field field, int64_t fallback, int64_t least,
                                     int64_t most) const {
  if (Missing(field)) return fallback;
  if (fields_[field].kind != Kind::kNumber) return WrongType(field, "an integer or null");
  const std::string_view text = TextOf(fields_[field]);
  int64_t value = 0;
  const auto [rest, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = failed == std::errc() && rest == text.data() + text.size();
  if (whole && text[0] != '-' && value >= least && value <= most) return value;
  return WrongValue(field,
                    "an integer between " + std::to_string(least) + " and " + std::to_string(most));
}

Result<std::string> FieldReader::Attribution(Field field) const {
  if (Missing(field)) return std::string();
  if (fields_[field].kind != Kind::kString) return WrongType(field, "a string");
  return Bounded(StringOf(fields_[field]));
}

Result<OutputLimit> FieldReader::Limit(Field field) const {
  SW_TRY(const int64_t tokens, Integer(field, 0, 0, kAskedTokensMax));
  return OutputLimit{.value = fields_[field].span, .tokens = tokens};
}

std::vector<std::pair<std::string, std::string>> FieldReader::Metadata() const {
  std::vector<std::pair<std::string, std::string>> metadata;
  metadata.reserve(fields_.metadata.size());
  for (const MetadataMember& member : fields_.metadata) {
    metadata.emplace_back(member.name, Bounded(StringOf(member.value)));
  }
  return metadata;
}

Result<void> CheckPrompt(Operation operation, const FieldReader& read) {
  switch (operation) {
    case Operation::kChat:
      return read.RequireMembers(Field::kMessages);
    case Operation::kCompletions:
      return read.Require(Field::kPrompt);
    case Operation::kEmbeddings:
      return read.Require(Field::kInput);
  }
  return {};
}

// One answer for each of the texts, or of the lists of tokens; one list of tokens is one prompt.
int64_t PromptsOf(const FieldValue& prompt) {
  const bool several = prompt.kind == Kind::kArray && prompt.first != Kind::kNumber;
  return several ? std::max<int64_t>(prompt.items, 1) : 1;
}

Result<void> ReadLimits(const FieldReader& read, const PolicyFields& fields, Request& request) {
  SW_TRY(request.max_tokens, read.Limit(Field::kMaxTokens));
  SW_TRY(request.max_completion_tokens, read.Limit(Field::kMaxCompletionTokens));
  // Which of the two a provider obeys is its own affair: the larger is the safe bound.
  request.output_tokens_max =
      std::max(request.max_tokens.tokens, request.max_completion_tokens.tokens);
  SW_TRY(const int64_t choices, read.Integer(Field::kChoices, 1, 1, kChoicesMax));
  SW_TRY(const int64_t best_of, read.Integer(Field::kBestOf, 1, 1, kChoicesMax));
  // Completions bill every candidate that best_of makes.
  const bool completion = request.operation == Operation::kCompletions;
  request.choices =
      completion ? std::max(choices, best_of) * PromptsOf(fields[Field::kPrompt]) : choices;
  return {};
}

Result<void> ReadStream(const FieldReader& read, const PolicyFields& fields, Request& request) {
  SW_TRY(const bool stream, read.Bool(Field::kStream));
  SW_CHECK(read.ObjectOrNull(Field::kStreamOptions));
  SW_TRY(const bool include_usage, read.Bool(Field::kIncludeUsage));
  request.stream = stream && request.operation != Operation::kEmbeddings;
  request.include_usage = include_usage;
  request.stream_options = fields[Field::kStreamOptions].span;
  request.include_usage_value = fields[Field::kIncludeUsage].span;
  return {};
}

}  // namespace

Result<Request> DecodeRequest(Operation operation, std::string_view body) {
  if (body.size() >= std::numeric_limits<uint32_t>::max()) {
    return Fail(ErrorCode::kBodyTooLarge, "The request body is too large.");
  }
  SW_TRY(const PolicyFields fields, ScanStrict(body));
  const FieldReader read(body, fields);
  Request request;
  request.operation = operation;
  request.members_begin = fields.members_begin;
  SW_TRY(request.model, read.Model());
  request.model_value = fields[Field::kModel].span;
  SW_CHECK(CheckPrompt(operation, read));
  SW_CHECK(ReadStream(read, fields, request));
  SW_CHECK(ReadLimits(read, fields, request));
  SW_CHECK(read.ObjectOrNull(Field::kMetadata));
  SW_TRY(request.user, read.Attribution(Field::kUser));
  SW_TRY(request.metadata_user, read.Attribution(Field::kMetadataUser));
  SW_TRY(request.metadata_feature, read.Attribution(Field::kMetadataFeature));
  SW_TRY(request.service_tier, read.Attribution(Field::kServiceTier));
  request.metadata = read.Metadata();
  if (operation == Operation::kChat) {
    request.messages = fields[Field::kMessages].items;
    request.media_parts = fields.media_parts;
    request.media_bytes = static_cast<int64_t>(fields.media_bytes);
  }
  return request;
}

}  // namespace spillway::openai
