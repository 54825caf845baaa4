#include "controlplane/cli/csv.h"

#include <algorithm>

namespace spillway::cli {
namespace {

constexpr std::string_view kFormulaStarts = "=+-@\t\r";
constexpr std::string_view kSeparators = ",;|\t\r\n";
constexpr std::string_view kSkipped = " \"'";  // what may stand before a formula and is passed over

std::string Disarmed(std::string_view text) {
  std::string safe;
  bool at_start = true;
  for (const char c : text) {
    if (at_start && kFormulaStarts.contains(c)) safe += '\'';
    safe += c;
    at_start = kSeparators.contains(c) || (at_start && kSkipped.contains(c));
  }
  return safe;
}

}  // namespace

bool IsNumber(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  const bool digits =
      std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
  return digits && !text.empty() && text.front() != '.' && text.back() != '.' &&
         std::ranges::count(text, '.') <= 1;
}

std::string CsvCell(std::string_view text) {
  if (IsNumber(text)) return std::string(text);
  std::string safe = Disarmed(text);
  if (safe.find_first_of(",;\"\r\n\t|") == std::string::npos && !safe.starts_with(' ') &&
      !safe.ends_with(' ')) {
    return safe;
  }
  std::string quoted = "\"";
  for (const char c : safe) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

Csv::Csv(const std::vector<std::string>& headings) { Row(headings); }

void Csv::Row(const std::vector<std::string>& cells) {
  for (size_t i = 0; i < cells.size(); ++i) {
    if (i != 0) text_ += ',';
    text_ += CsvCell(cells[i]);
  }
  text_ += "\r\n";
}

}  // namespace spillway::cli
