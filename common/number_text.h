#pragma once

#include <array>
#include <charconv>
#include <string>

namespace spillway {

// Appends an integer, or the shortest text that reads back as the same floating-point number.
template <typename T>
void AppendNumber(std::string& out, T value) {
  std::array<char, 32> digits;
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  out.append(digits.data(), end);
}

}  // namespace spillway
