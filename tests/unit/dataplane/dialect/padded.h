#pragma once

#include <string>
#include <string_view>

#include "dataplane/dialect/openai.h"

namespace spillway::openai {

// A body with the readable bytes behind it that the scanners ask for. They are hostile on purpose:
// whoever looks at them sees JSON that goes on.
class Padded {
 public:
  explicit Padded(std::string_view text) : size_(text.size()), bytes_(text) {
    while (bytes_.size() < size_ + kBodyPadding) bytes_ += R"(","model":"x"}9)";
  }
  std::string_view view() const { return std::string_view(bytes_).substr(0, size_); }

 private:
  size_t size_;
  std::string bytes_;
};

inline std::string Join(const std::vector<std::string_view>& pieces) {
  std::string joined;
  for (const std::string_view piece : pieces) joined += piece;
  return joined;
}

}  // namespace spillway::openai
