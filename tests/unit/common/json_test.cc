#include "common/json.h"

#include <catch2/catch_all.hpp>
#include <cmath>
#include <limits>

#include "common/utf8.h"

namespace spillway {
namespace {

std::string Quoted(std::string_view text) {
  std::string out;
  AppendJsonString(out, text);
  return out;
}

}  // namespace

TEST_CASE("JSON strings are escaped") {
  struct Row {
    std::string name;
    std::string input;
    std::string want;
  };
  const auto row = GENERATE(values<Row>({
      {"empty", "", R"("")"},
      {"plain", "abc ~", R"("abc ~")"},
      {"quotes and backslash", R"(a"b\c)", R"("a\"b\\c")"},
      {"common controls", "\n\r\t", R"("\n\r\t")"},
      {"other controls", std::string("\0\x01\x1F", 3), R"("\u0000\u0001\u001f")"},
      {"escape sequence of a terminal", "\x1B[31m", R"("\u001b[31m")"},
      {"DEL", "\x7F", R"("\u007f")"},
      {"C1 control", "\xC2\x9B", R"("\u009b")"},
      {"first above C1", "\xC2\xA0", "\"\xC2\xA0\""},
      {"line separators", "\xE2\x80\xA8\xE2\x80\xA9", R"("\u2028\u2029")"},
      {"UTF-8 stays", "\xC3\xA9\xE6\x97\xA5\xF0\x9F\x98\x80",
       "\"\xC3\xA9\xE6\x97\xA5\xF0\x9F\x98\x80\""},
      {"lone continuation", "a\x80z", R"("a\ufffdz")"},
      {"overlong slash", "\xC0\xAF", R"("\ufffd\ufffd")"},
      {"surrogate", "\xED\xA0\x80", R"("\ufffd\ufffd\ufffd")"},
      {"above U+10FFFF", "\xF4\x90\x80\x80", R"("\ufffd\ufffd\ufffd\ufffd")"},
      {"cut at the end", "a\xE6\x97", R"("a\ufffd\ufffd")"},
  }));
  CAPTURE(row.name);
  CHECK(Quoted(row.input) == row.want);
}

TEST_CASE("no byte at all breaks out of a JSON string") {
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      const std::string out =
          Quoted(std::string{static_cast<char>(first), static_cast<char>(second)});
      REQUIRE(IsUtf8(out));
      for (size_t i = 1; i + 1 < out.size(); ++i) {
        REQUIRE(static_cast<unsigned char>(out[i]) >= 0x20);
        if (out[i] == '\\')
          ++i;
        else
          REQUIRE(out[i] != '"');
      }
    }
  }
}

TEST_CASE("the writer places commas and colons") {
  std::string out;
  JsonWriter json(out);
  json.BeginObject()
      .Field("text", "a")
      .Field("flag", true)
      .Field("count", 3)
      .Key("list")
      .BeginArray()
      .Value(int64_t{-1})
      .Value(uint64_t{18446744073709551615U})
      .BeginObject()
      .EndObject()
      .BeginArray()
      .EndArray()
      .Null()
      .EndArray()
      .Field("std", std::string("b"))
      .Key("raw")
      .Raw("{\"x\":1}")
      .EndObject();
  CHECK(out == R"({"text":"a","flag":true,"count":3,"list":[-1,18446744073709551615,{},[],null],)"
               R"("std":"b","raw":{"x":1}})");
}

TEST_CASE("numbers are shortest and always JSON") {
  struct Row {
    double input;
    std::string want;
  };
  const auto row = GENERATE(values<Row>({{0.1, "0.1"},
                                         {-2.5, "-2.5"},
                                         {1e300, "1e+300"},
                                         {std::nan(""), "null"},
                                         {std::numeric_limits<double>::infinity(), "null"}}));
  std::string out;
  JsonWriter(out).BeginArray().Value(row.input).EndArray();
  CHECK(out == "[" + row.want + "]");
}

TEST_CASE("UTF-8 is told from what is none") {
  CHECK(IsUtf8(""));
  CHECK(IsUtf8("a\xC3\xA9\xF4\x8F\xBF\xBF"));
  CHECK_FALSE(IsUtf8("\xFF"));
  CHECK_FALSE(IsUtf8("\xE0\x80\x80"));
  CHECK_FALSE(IsUtf8("\xF0\x8F\xBF\xBF"));
  CHECK(Utf8Length("\xE2\x82\xACx") == 3);
  CHECK(Utf8Length("") == 0);
}

}  // namespace spillway
