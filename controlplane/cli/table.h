#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace spillway::cli {

// Rows for people: columns as wide as their widest cell, two spaces between them, none at a line's
// end. A heading that begins with '>' is a column of numbers, aligned to the right.
class Table {
 public:
  explicit Table(std::vector<std::string> headings) : headings_(std::move(headings)) {}

  // As many cells as headings. Control characters are shown as '?': what comes from outside must
  // not steer a terminal.
  void Row(std::vector<std::string> cells);
  bool empty() const { return rows_.empty(); }
  std::string Text() const;

 private:
  std::vector<std::string> headings_;
  std::vector<std::vector<std::string>> rows_;
};

// 1234567 -> "1,234,567".
std::string Grouped(int64_t number);
std::string Joined(const std::vector<std::string>& parts, std::string_view separator);
// 1536 -> "1.5 KiB".
std::string SizeText(int64_t bytes);
// Without control characters.
std::string Printable(std::string_view text);

}  // namespace spillway::cli
