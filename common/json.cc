#include "common/json.h"

#include <array>
#include <cmath>

#include "common/number_text.h"
#include "common/utf8.h"

namespace spillway {
namespace {

// Plain bytes are copied in runs; everything else is looked at one by one.
constexpr std::array<bool, 256> kPlain = [] {
  std::array<bool, 256> plain{};
  for (int c = 0x20; c < 0x7F; ++c) plain[c] = c != '"' && c != '\\';
  return plain;
}();

void AppendUnicodeEscape(std::string& out, unsigned code) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += kHex[(code >> shift) & 0xF];
}

void AppendAsciiEscape(std::string& out, char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      AppendUnicodeEscape(out, static_cast<unsigned char>(c));
  }
}

// One byte or sequence that is not plain; returns how many bytes of `text` it took.
size_t AppendSpecial(std::string& out, std::string_view text) {
  const size_t length = Utf8Length(text);
  if (length == 0) {
    out += "\\ufffd";
    return 1;
  }
  if (length == 1) {
    AppendAsciiEscape(out, text[0]);
    return 1;
  }
  const std::string_view sequence = text.substr(0, length);
  if (sequence >= "\xC2\x80" && sequence <= "\xC2\x9F") {
    AppendUnicodeEscape(out, static_cast<unsigned char>(sequence[1]));
  } else if (sequence == "\xE2\x80\xA8" || sequence == "\xE2\x80\xA9") {
    AppendUnicodeEscape(out, 0x2000 | (static_cast<unsigned char>(sequence[2]) & 0x3F));
  } else {
    out += sequence;
  }
  return length;
}

}  // namespace

void AppendJsonString(std::string& out, std::string_view text) {
  out += '"';
  size_t start = 0;
  size_t i = 0;
  while (i < text.size()) {
    if (kPlain[static_cast<unsigned char>(text[i])]) {
      ++i;
      continue;
    }
    out.append(text, start, i - start);
    i += AppendSpecial(out, text.substr(i));
    start = i;
  }
  out.append(text, start);
  out += '"';
}

void JsonWriter::Separate() {
  if (comma_) out_ += ',';
  comma_ = true;
}

JsonWriter& JsonWriter::Open(char bracket) {
  Separate();
  out_ += bracket;
  comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::Close(char bracket) {
  out_ += bracket;
  comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::Key(std::string_view name) {
  Separate();
  AppendJsonString(out_, name);
  out_ += ':';
  comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::Value(std::string_view text) {
  Separate();
  AppendJsonString(out_, text);
  return *this;
}

JsonWriter& JsonWriter::Value(bool value) { return Raw(value ? "true" : "false"); }

JsonWriter& JsonWriter::Value(double value) {
  if (!std::isfinite(value)) return Null();
  Separate();
  AppendNumber(out_, value);
  return *this;
}

JsonWriter& JsonWriter::Null() { return Raw("null"); }

JsonWriter& JsonWriter::Raw(std::string_view json) {
  Separate();
  out_ += json;
  return *this;
}

JsonWriter& JsonWriter::Integer(int64_t value) {
  Separate();
  AppendNumber(out_, value);
  return *this;
}

JsonWriter& JsonWriter::UnsignedInteger(uint64_t value) {
  Separate();
  AppendNumber(out_, value);
  return *this;
}

}  // namespace spillway
