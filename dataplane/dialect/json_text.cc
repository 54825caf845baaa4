#include "dataplane/dialect/json_text.h"

#include <algorithm>
#include <cstdint>

namespace spillway::openai {
namespace {

uint32_t HexValue(std::string_view four) {
  uint32_t value = 0;
  for (const char c : four) {
    const uint32_t digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
    value = value << 4 | digit;
  }
  return value;
}

void AppendUtf8(uint32_t point, std::string& out) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | (point >> shift & 0x3f)); };
  if (point < 0x80) {
    out += static_cast<char>(point);
  } else if (point < 0x800) {
    out += static_cast<char>(0xc0 | point >> 6);
    tail(0);
  } else if (point < 0x10000) {
    out += static_cast<char>(0xe0 | point >> 12);
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xf0 | point >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

// `at` stands on the 'u'; returns the position behind the escape.
size_t AppendUnicodeEscape(std::string_view inside, size_t at, std::string& out) {
  uint32_t point = HexValue(inside.substr(at + 1, 4));
  at += 5;
  if (point >= 0xd800 && point < 0xdc00) {
    const uint32_t low = HexValue(inside.substr(at + 2, 4));
    point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
    at += 6;
  }
  AppendUtf8(point, out);
  return at;
}

char SimpleEscape(char c) {
  switch (c) {
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    default:
      return c;
  }
}

}  // namespace

std::string Unescape(std::string_view inside) {
  std::string out;
  out.reserve(inside.size());
  for (size_t at = 0; at < inside.size();) {
    const size_t escape = std::min(inside.find('\\', at), inside.size());
    out.append(inside, at, escape - at);
    if (escape == inside.size()) break;
    at = escape + 1;
    if (inside[at] == 'u') {
      at = AppendUnicodeEscape(inside, at, out);
    } else {
      out += SimpleEscape(inside[at++]);
    }
  }
  return out;
}

}  // namespace spillway::openai
