#include "controlplane/cli/table.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <format>
#include <utility>

namespace spillway::cli {
namespace {

// Code points: bytes that do not continue one.
size_t WidthOf(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

bool IsNumbers(const std::string& heading) { return heading.starts_with('>'); }

void AppendCell(std::string& line, std::string_view cell, size_t width, bool right) {
  const size_t padding = width - std::min(width, WidthOf(cell));
  if (right) line.append(padding, ' ');
  line += cell;
  if (!right) line.append(padding, ' ');
}

}  // namespace

std::string Printable(std::string_view text) {
  std::string clean(text);
  for (size_t i = 0; i < clean.size(); ++i) {
    const auto c = static_cast<unsigned char>(clean[i]);
    // C1 controls are two bytes in UTF-8: C2 80 to C2 9F.
    const bool c1 =
        c == 0xC2 && i + 1 < clean.size() && static_cast<unsigned char>(clean[i + 1]) < 0xA0;
    if (c1) clean.replace(i, 2, "?");
    if (c < 0x20 || c == 0x7F) clean[i] = '?';
  }
  return clean;
}

void Table::Row(std::vector<std::string> cells) {
  cells.resize(headings_.size());
  for (std::string& cell : cells) cell = cell.empty() ? "-" : Printable(cell);
  rows_.push_back(std::move(cells));
}

std::string Table::Text() const {
  std::vector<std::string> titles;
  std::vector<size_t> widths;
  for (const std::string& heading : headings_) {
    titles.push_back(IsNumbers(heading) ? heading.substr(1) : heading);
    widths.push_back(WidthOf(titles.back()));
  }
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], WidthOf(row[i]));
  }
  std::string text;
  const auto add = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (size_t i = 0; i < cells.size(); ++i) {
      if (i != 0) line += "  ";
      AppendCell(line, cells[i], widths[i], IsNumbers(headings_[i]));
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  };
  add(titles);
  for (const auto& row : rows_) add(row);
  return text;
}

std::string Grouped(int64_t number) {
  std::string digits = std::to_string(number);
  const size_t first = number < 0 ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

std::string Joined(const std::vector<std::string>& parts, std::string_view separator) {
  std::string text;
  for (const std::string& part : parts) {
    if (!text.empty()) text += separator;
    text += part;
  }
  return text;
}

std::string SizeText(int64_t bytes) {
  constexpr std::array<std::string_view, 4> kUnits{"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return std::to_string(bytes) + " B";
  int64_t tenths = bytes * 10 / 1024;
  size_t unit = 0;
  for (; tenths >= 10'240 && unit + 1 < kUnits.size(); ++unit) tenths /= 1024;
  return std::format("{}.{} {}", tenths / 10, tenths % 10, kUnits[unit]);
}

}  // namespace spillway::cli
