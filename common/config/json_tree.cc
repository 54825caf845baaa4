#include "common/config/json_tree.h"

#include <algorithm>
#include <charconv>
#include <format>
#include <optional>

#include "common/utf8.h"

namespace spillway::config {
namespace {

constexpr size_t kJsonTextBytesMax = size_t{16} << 20;
constexpr int kJsonDepthMax = 32;
constexpr int64_t kJsonNodesMax = 1'000'000;
constexpr size_t kNumberBytesMax = 1000;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

void AppendUtf8(uint32_t point, std::string& out) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | (point >> shift & 0x3F)); };
  if (point < 0x80) {
    out += static_cast<char>(point);
  } else if (point < 0x800) {
    out += static_cast<char>(0xC0 | point >> 6);
    tail(0);
  } else if (point < 0x10000) {
    out += static_cast<char>(0xE0 | point >> 12);
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xF0 | point >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

// Recursive descent, at most kJsonDepthMax frames deep. Every step returns false once something was
// refused; `why_` says what.
class JsonReader {
 public:
  explicit JsonReader(std::string_view text) : text_(text) {}

  Result<JsonNode> Run() {
    JsonNode root;
    const bool good = Value(root, 0) && AtEnd();
    if (good) return root;
    const auto line = 1 + std::ranges::count(text_.substr(0, at_), '\n');
    return Fail(ErrorCode::kInvalidConfig, std::format("line {}: {}", line, why_));
  }

 private:
  char Peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void SkipSpace() { at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size()); }
  bool Refuse(std::string_view why) {
    why_ = why;
    return false;
  }
  bool AtEnd() {
    SkipSpace();
    return at_ == text_.size() || Refuse("something follows the JSON value");
  }

  bool Value(JsonNode& out, int depth);
  bool Object(JsonNode& out, int depth);
  bool Array(JsonNode& out, int depth);
  bool String(std::string& out);
  bool Escape(std::string& out);
  std::optional<uint32_t> Hex4();
  bool Number(std::string& out);
  bool SkipDigits();
  bool Literal(JsonNode& out, JsonNode::Type type, std::string_view word);

  std::string_view text_;
  size_t at_ = 0;
  int64_t nodes_ = 0;
  std::string_view why_;
};

bool JsonReader::Value(JsonNode& out, int depth) {
  if (depth > kJsonDepthMax) return Refuse("nested deeper than 32 levels");
  if (++nodes_ > kJsonNodesMax) return Refuse("holds more than 1,000,000 values");
  SkipSpace();
  switch (Peek()) {
    case '{':
      return Object(out, depth);
    case '[':
      return Array(out, depth);
    case '"':
      out.type = JsonNode::Type::kString;
      return String(out.text);
    case 't':
      return Literal(out, JsonNode::Type::kBool, "true");
    case 'f':
      return Literal(out, JsonNode::Type::kBool, "false");
    case 'n':
      return Literal(out, JsonNode::Type::kNull, "null");
    default:
      out.type = JsonNode::Type::kNumber;
      return Number(out.text);
  }
}

bool JsonReader::Object(JsonNode& out, int depth) {
  out.type = JsonNode::Type::kObject;
  ++at_;
  SkipSpace();
  if (Peek() == '}') {
    ++at_;
    return true;
  }
  while (true) {
    SkipSpace();
    auto& [key, value] = out.members.emplace_back();
    if (Peek() != '"') return Refuse("expected a key in double quotes");
    if (!String(key)) return false;
    SkipSpace();
    if (Peek() != ':') return Refuse("expected ':'");
    ++at_;
    if (!Value(value, depth + 1)) return false;
    SkipSpace();
    const char next = Peek();
    if (next != ',' && next != '}') return Refuse("expected ',' or '}'");
    ++at_;
    if (next == '}') return true;
  }
}

bool JsonReader::Array(JsonNode& out, int depth) {
  out.type = JsonNode::Type::kArray;
  ++at_;
  SkipSpace();
  if (Peek() == ']') {
    ++at_;
    return true;
  }
  while (true) {
    if (!Value(out.items.emplace_back(), depth + 1)) return false;
    SkipSpace();
    const char next = Peek();
    if (next != ',' && next != ']') return Refuse("expected ',' or ']'");
    ++at_;
    if (next == ']') return true;
  }
}

bool JsonReader::String(std::string& out) {
  ++at_;
  while (at_ < text_.size()) {
    const char c = text_[at_++];
    if (c == '"') return true;
    if (static_cast<unsigned char>(c) < 0x20) return Refuse("a control character in a string");
    if (c != '\\') {
      out += c;
    } else if (!Escape(out)) {
      return false;
    }
  }
  return Refuse("a string without its end");
}

std::optional<uint32_t> JsonReader::Hex4() {
  uint32_t unit = 0;
  const std::string_view four = text_.substr(std::min(at_, text_.size()), 4);
  const auto [end, failed] = std::from_chars(four.data(), four.data() + four.size(), unit, 16);
  if (four.size() < 4 || failed != std::errc() || end != four.data() + 4) return std::nullopt;
  at_ += 4;
  return unit;
}

// Behind the backslash. A high surrogate needs its low one at once, a low one never comes alone.
bool JsonReader::Escape(std::string& out) {
  constexpr std::string_view kNames = "\"\\/bfnrt";
  constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
  const char name = Peek();
  ++at_;
  if (const size_t found = kNames.find(name); name != '\0' && found != kNames.npos) {
    out += kMeanings[found];
    return true;
  }
  if (name != 'u') return Refuse("an unknown escape");
  const auto unit = Hex4();
  if (!unit) return Refuse("a broken \\u escape");
  if (*unit < 0xD800 || *unit > 0xDFFF) {
    AppendUtf8(*unit, out);
    return true;
  }
  if (*unit < 0xDC00 && text_.substr(at_).starts_with("\\u")) {
    at_ += 2;
    const auto low = Hex4();
    if (low && *low >= 0xDC00 && *low <= 0xDFFF) {
      AppendUtf8(0x10000 + ((*unit - 0xD800) << 10) + (*low - 0xDC00), out);
      return true;
    }
  }
  return Refuse("a lone surrogate");
}

bool JsonReader::SkipDigits() {
  const size_t from = at_;
  while (IsDigit(Peek())) ++at_;
  return at_ != from;
}

bool JsonReader::Number(std::string& out) {
  const size_t from = at_;
  if (Peek() == '-') ++at_;
  const bool zero = Peek() == '0';
  if (!SkipDigits()) return Refuse("expected a value");
  const size_t digits = at_ - from - (text_[from] == '-' ? 1 : 0);
  if (zero && digits > 1) return Refuse("a number that begins with 0");
  if (Peek() == '.') {
    ++at_;
    if (!SkipDigits()) return Refuse("expected a digit");
  }
  if (Peek() == 'e' || Peek() == 'E') {
    ++at_;
    if (Peek() == '+' || Peek() == '-') ++at_;
    if (!SkipDigits()) return Refuse("expected a digit");
  }
  if (at_ - from > kNumberBytesMax) return Refuse("a number of over 1000 bytes");
  out = text_.substr(from, at_ - from);
  return true;
}

bool JsonReader::Literal(JsonNode& out, JsonNode::Type type, std::string_view word) {
  if (!text_.substr(at_).starts_with(word)) return Refuse("expected a value");
  at_ += word.size();
  out.type = type;
  out.text = word;
  return true;
}

}  // namespace

const JsonNode* JsonNode::Find(std::string_view key) const {
  const auto found = std::ranges::find(members, key, &JsonMember::key);
  return found == members.end() ? nullptr : &found->value;
}

Result<JsonNode> ParseJson(std::string_view text) {
  if (text.size() > kJsonTextBytesMax) {
    return Fail(ErrorCode::kInvalidConfig, "line 1: the text is larger than 16 MiB");
  }
  if (!IsUtf8(text)) return Fail(ErrorCode::kInvalidConfig, "line 1: the text is not valid UTF-8");
  return JsonReader(text).Run();
}

}  // namespace spillway::config
