#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace spillway::cli {

// Rows for spreadsheets and scripts, RFC 4180: comma, CR LF, quotes where needed. Text from outside
// that a spreadsheet would run as a formula is disarmed: an apostrophe before =, +, -, @, tab or CR
// where a cell begins, also behind what other locales take for a separator (; , tab |).
class Csv {
 public:
  explicit Csv(const std::vector<std::string>& headings);
  // As many cells as headings. A cell that IsNumber is left as it is.
  void Row(const std::vector<std::string>& cells);
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// One cell: disarmed, then quoted when it must be.
std::string CsvCell(std::string_view text);
// Digits with at most one point, and a minus in front at most.
bool IsNumber(std::string_view text);

}  // namespace spillway::cli
