#include "common/config/section.h"

#include <algorithm>
#include <charconv>
#include <format>
#include <numeric>
#include <set>

namespace spillway::config {
namespace {

constexpr size_t kFieldBytesMax = 8192;
constexpr size_t kNameBytesMax = 256;
constexpr size_t kNamesMax = 20'000;

bool HasControls(std::string_view text) {
  return std::ranges::any_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7F; });
}

// Edits that turn one word into the other; words of a file are short, so a plain table will do.
size_t Distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::ranges::iota(row, size_t{0});
  for (const char left : a) {
    size_t diagonal = row[0]++;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (left == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

std::string Suggestion(std::string_view field, const std::vector<std::string_view>& known) {
  if (field.size() > 40) return {};
  std::string_view best;
  size_t best_distance = 3;
  for (const std::string_view candidate : known) {
    const size_t distance = Distance(field, candidate);
    if (distance < best_distance && distance < candidate.size()) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best.empty() ? std::string() : std::format(" (did you mean {}?)", best);
}

std::string Joined(const std::vector<std::string_view>& words) {
  std::string text;
  for (const std::string_view word : words) {
    if (!text.empty()) text += ", ";
    text += word;
  }
  return text;
}

}  // namespace

std::string Reading::PlaceOf(const YamlNode& node) const {
  return std::format("{}:{}", file_name, node.line);
}

Section::Section(Reading& reading, const YamlNode& map, std::string resource, std::string path)
    : reading_(reading), map_(map), resource_(std::move(resource)), path_(std::move(path)) {}

bool Section::Has(std::string_view field) const {
  for (size_t i = 0; i + 1 < map_.items.size(); i += 2) {
    if (map_.items[i]->text == field) return true;
  }
  return false;
}

const YamlNode* Section::Find(std::string_view field) {
  known_.push_back(field);
  const YamlNode* found = nullptr;
  for (size_t i = 0; i + 1 < map_.items.size(); i += 2) {
    if (map_.items[i]->type != YamlNode::Type::kScalar || map_.items[i]->text != field) continue;
    if (found != nullptr) Refuse(field, "", "must not be given twice");
    found = map_.items[i + 1];
  }
  return found;
}

const YamlNode* Section::Scalar(std::string_view field) {
  const YamlNode* node = Find(field);
  if (node == nullptr) return nullptr;
  if (node->type != YamlNode::Type::kScalar) {
    Refuse(field, "", "must be a single value");
    return nullptr;
  }
  if (node->text.size() > kFieldBytesMax || HasControls(node->text)) {
    Refuse(field, "", "must be at most 8192 bytes without control characters");
    return nullptr;
  }
  return node;
}

std::optional<std::string> Section::Text(std::string_view field) {
  const YamlNode* node = Scalar(field);
  if (node == nullptr) return std::nullopt;
  return node->text;
}

std::optional<std::vector<std::string>> Section::Texts(std::string_view field) {
  const YamlNode* node = Find(field);
  if (node == nullptr) return std::nullopt;
  std::vector<std::string> texts;
  bool good = node->type == YamlNode::Type::kSequence;
  for (const YamlNode* item : node->items) {
    good = good && item->type == YamlNode::Type::kScalar && item->text.size() <= kFieldBytesMax &&
           !HasControls(item->text);
    if (good) texts.push_back(item->text);
  }
  if (good) return texts;
  Refuse(field, "", "must be a list of texts, such as [a, b]");
  return std::nullopt;
}

std::optional<bool> Section::Bool(std::string_view field) {
  const YamlNode* node = Scalar(field);
  if (node == nullptr) return std::nullopt;
  if (node->text == "true") return true;
  if (node->text == "false") return false;
  Refuse(field, node->text, "must be true or false");
  return std::nullopt;
}

std::optional<int64_t> Section::Integer(std::string_view field) {
  return Parsed(field, [](std::string_view text) -> Result<int64_t> {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc{} && end == text.data() + text.size()) return value;
    return Fail(ErrorCode::kInvalidConfig, "must be a whole number");
  });
}

std::optional<int64_t> Section::Parsed(std::string_view field, Parser parse) {
  const YamlNode* node = Scalar(field);
  if (node == nullptr) return std::nullopt;
  const auto value = parse(node->text);
  if (value) return *value;
  Refuse(field, node->text, value.error().message);
  return std::nullopt;
}

void Section::Inner(std::string_view field, const Read& read) {
  const YamlNode* node = Find(field);
  if (node == nullptr) return;
  if (node->type != YamlNode::Type::kMap) {
    Refuse(field, "", "must be a map of fields");
    return;
  }
  Section inner(reading_, *node, resource_, PathOf(field));
  read(inner);
  inner.Finish();
}

void Section::Each(std::string_view field, const Read& read) {
  const YamlNode* node = Find(field);
  if (node == nullptr) return;
  if (node->type != YamlNode::Type::kSequence) {
    Refuse(field, "", "must be a list");
    return;
  }
  for (size_t i = 0; i < node->items.size(); ++i) {
    const std::string item_path = std::format("{}[{}]", field, i);
    if (node->items[i]->type != YamlNode::Type::kMap) {
      Refuse(item_path, "", "must be a map of fields");
      continue;
    }
    Section item(reading_, *node->items[i], resource_, PathOf(item_path));
    read(item);
    item.Finish();
  }
}

// Without Finish, which would look for each name among all of them.
void Section::EachNamed(std::string_view field, const ReadNamed& read) {
  const YamlNode* node = Find(field);
  if (node == nullptr) return;
  if (node->type != YamlNode::Type::kMap) return Refuse(field, "", "must be a map of fields");
  if (node->items.size() > 2 * kNamesMax)
    return Refuse(field, "", std::format("must have at most {} names", kNamesMax));
  Section names(reading_, *node, resource_, PathOf(field));
  std::set<std::string_view> seen;
  for (size_t i = 0; i + 1 < node->items.size(); i += 2) {
    const YamlNode& name = *node->items[i];
    const YamlNode& value = *node->items[i + 1];
    if (name.type != YamlNode::Type::kScalar || name.text.empty() ||
        name.text.size() > kNameBytesMax || HasControls(name.text)) {
      names.RefuseAt(name.line, "", "",
                     "names must be texts of 1 to 256 bytes without control characters");
    } else if (!seen.insert(name.text).second) {
      names.RefuseAt(name.line, name.text, "", "must not be given twice");
    } else if (value.type != YamlNode::Type::kMap) {
      names.RefuseAt(name.line, name.text, "", "must be a map of fields");
    } else {
      Section entry(reading_, value, resource_, names.PathOf(name.text));
      read(name.text, entry);
      entry.Finish();
    }
  }
}

void Section::Refuse(std::string_view field, std::string_view value, std::string_view allowed) {
  RefuseAt(LineOf(field), field, value, allowed);
}

void Section::RefuseAt(int line, std::string_view field, std::string_view value,
                       std::string_view allowed) {
  reading_.violations.Add(resource_, PathOf(field), value,
                          std::format("{} ({}:{})", allowed, reading_.file_name, line));
}

// The value of an unknown field is never shown: it may be a secret under a mistyped name.
void Section::RefuseUnknown(const YamlNode& key) {
  // A file may hold millions of them: a suggestion for each that nobody reads is too dear.
  if (reading_.violations.full()) return reading_.violations.Add("", "", "", "");
  RefuseAt(key.line, key.text, "",
           std::format("this version does not know this field{}; it knows {}",
                       Suggestion(key.text, known_), Joined(known_)));
}

void Section::Finish() {
  for (size_t i = 0; i + 1 < map_.items.size(); i += 2) {
    const YamlNode& key = *map_.items[i];
    if (key.type != YamlNode::Type::kScalar) {
      RefuseAt(map_.line, "", "", "field names must be plain texts");
    } else if (!std::ranges::contains(known_, key.text)) {
      RefuseUnknown(key);
    }
  }
}

std::string Section::PathOf(std::string_view field) const {
  if (path_.empty() || field.empty()) return path_ + std::string(field);
  return std::format("{}.{}", path_, field);
}

int Section::LineOf(std::string_view field) const {
  for (size_t i = 0; i + 1 < map_.items.size(); i += 2) {
    if (map_.items[i]->text == field) return map_.items[i]->line;
  }
  return map_.line;
}

}  // namespace spillway::config
