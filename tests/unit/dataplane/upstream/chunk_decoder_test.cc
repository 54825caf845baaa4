#include "dataplane/upstream/chunk_decoder.h"

#include <catch2/catch_all.hpp>
#include <string>

namespace spillway {
namespace {

// Decodes `text` in reads of `step` bytes; "!" at the end: refused, "…": not complete.
std::string Decoded(const std::string& text, size_t step, size_t* left = nullptr) {
  ChunkDecoder decoder;
  std::string out;
  for (size_t at = 0; at < text.size() && !decoder.done();) {
    std::string part = text.substr(at, step);
    ChunkDecoder::Step done;
    if (!decoder.Decode(part.data(), part.size(), done)) return "!";
    out += done.payload;
    at += done.consumed;
    if (left != nullptr) *left = text.size() - at;
  }
  return decoder.done() ? out : out + "…";
}

TEST_CASE("chunked bodies decode the same however they arrive") {
  struct Row {
    const char* name;
    std::string text;
    std::string want;
  };
  const Row rows[] = {
      {"one", "5\r\nhello\r\n0\r\n\r\n", "hello"},
      {"two", "5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n", "hello, world"},
      {"empty", "0\r\n\r\n", ""},
      {"leading zeros", "0005\r\nhello\r\n000\r\n\r\n", "hello"},
      {"hex", "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"},
      {"extension", "5;name=value\r\nhello\r\n0;x\r\n\r\n", "hello"},
      {"space before extension", "5 ;a\r\nhello\r\n0\r\n\r\n", "hello"},
      {"trailers", "5\r\nhello\r\n0\r\nX-A: b\r\nX-C: d\r\n\r\n", "hello"},
      {"payload that looks like framing", "7\r\n0\r\n\r\n0\r\r\n0\r\n\r\n", "0\r\n\r\n0\r"},
      {"incomplete", "5\r\nhel", "hel…"},
      {"no last chunk", "5\r\nhello\r\n", "hello…"},
      {"no size", "\r\n", "!"},
      {"no digits", ";a\r\n", "!"},
      {"sign", "+5\r\nhello\r\n", "!"},
      {"prefix", "0x5\r\nhello\r\n", "!"},
      {"underscore", "1_0\r\n", "!"},
      {"bare LF", "5\nhello\r\n", "!"},
      {"LF in extension", "5;a\nhello", "!"},
      {"payload too long", "5\r\nhello!\r\n", "!"},
      {"overflow", "fffffffffffffffff\r\n", "!"},
      {"too large", "ffffffffffff\r\n", "!"},
      {"bare LF behind the payload", "5\r\nhello\n", "!"},
      {"LF in a trailer", "0\r\nX-A: b\n\r\n", "!"},
  };
  for (const Row& row : rows) {
    for (const size_t step : {size_t{1}, size_t{2}, size_t{3}, size_t{7}, size_t{4096}}) {
      DYNAMIC_SECTION(row.name << " in reads of " << step) {
        CHECK(Decoded(row.text, step) == row.want);
      }
    }
  }
}

TEST_CASE("bytes behind a chunked body stay where they are") {
  size_t left = 0;
  CHECK(Decoded("2\r\nok\r\n0\r\n\r\nHTTP", 4096, &left) == "ok");
  CHECK(left == 4);
}

TEST_CASE("extensions and trailers of a chunked body are bounded") {
  CHECK(Decoded("1;" + std::string(20'000, 'a') + "\r\na\r\n0\r\n\r\n", 4096) == "!");
  std::string trailers = "0\r\n";
  for (int i = 0; i < 5'000; ++i) trailers += "x: y\r\n";
  CHECK(Decoded(trailers + "\r\n", 4096) == "!");
}

TEST_CASE("many chunks of one read become one piece, in place") {
  std::string text;
  std::string want;
  for (int i = 0; i < 100; ++i) {
    text += "3\r\nab" + std::string(1, static_cast<char>('a' + i % 26)) + "\r\n";
    want += "ab" + std::string(1, static_cast<char>('a' + i % 26));
  }
  ChunkDecoder decoder;
  ChunkDecoder::Step step;
  REQUIRE(decoder.Decode(text.data(), text.size(), step));
  CHECK(step.payload == want);
  CHECK(step.payload.data() >= text.data());
  CHECK(step.payload.data() + step.payload.size() <= text.data() + text.size());
  CHECK(step.consumed == text.size());
}

}  // namespace
}  // namespace spillway
