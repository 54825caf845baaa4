#include "common/config/violations.h"

#include <format>

#include "common/config/validate.h"
#include "common/utf8.h"

namespace spillway::config {

std::string Shown(std::string_view value) {
  constexpr size_t kBytesMax = 100;
  std::string shown;
  while (!value.empty()) {
    const size_t length = Utf8Length(value);
    if (shown.size() + length > kBytesMax) return shown + "...";
    const bool control = length == 1 && (value[0] < 0x20 || value[0] == 0x7F);
    const bool high_control = length == 2 && value[0] == '\xC2' && value[1] < '\xA0';
    if (length == 0 || control || high_control) {
      shown += '?';
    } else {
      shown += value.substr(0, length);
    }
    value.remove_prefix(length == 0 ? 1 : length);
  }
  return shown;
}

void ViolationList::Add(std::string_view resource, std::string_view field, std::string_view value,
                        std::string allowed) {
  if (full()) {
    ++left_out_;
    return;
  }
  v1::Violation& violation = violations_.emplace_back();
  violation.set_resource(Shown(resource));
  violation.set_field(Shown(field));
  violation.set_value(Shown(value));
  violation.set_allowed(std::move(allowed));
}

void ViolationList::Add(std::vector<v1::Violation> violations) {
  for (v1::Violation& violation : violations) {
    if (full()) {
      ++left_out_;
    } else {
      violations_.push_back(std::move(violation));
    }
  }
}

std::vector<v1::Violation> ViolationList::Take() && {
  if (left_out_ > 0) {
    violations_.emplace_back().set_allowed(
        std::format("{} more violations are not shown", left_out_));
  }
  return std::move(violations_);
}

std::string Describe(const v1::Violation& violation) {
  std::string line = violation.resource();
  if (!violation.field().empty()) {
    if (!line.empty()) line += ' ';
    line += violation.field();
  }
  if (!violation.value().empty()) line += " = " + violation.value();
  if (!line.empty()) line += ": ";
  return line + violation.allowed();
}

std::string Describe(const std::vector<v1::Violation>& violations) {
  std::string text;
  for (const v1::Violation& violation : violations) {
    if (!text.empty()) text += '\n';
    text += Describe(violation);
  }
  return text;
}

}  // namespace spillway::config
