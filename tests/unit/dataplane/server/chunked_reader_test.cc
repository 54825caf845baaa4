#include "dataplane/server/chunked_reader.h"

#include <catch2/catch_all.hpp>
#include <string>
#include <string_view>

namespace spillway {
namespace {

using ReaderState = ChunkedReader::State;
using namespace std::string_literals;

struct Decoded {
  ReaderState state = ReaderState::kMore;
  std::string body;
  size_t consumed = 0;
};

Decoded Decode(std::string_view text, size_t step) {
  ChunkedReader reader;
  Decoded decoded;
  while (decoded.consumed < text.size() && decoded.state == ReaderState::kMore) {
    std::string_view piece = text.substr(decoded.consumed, step);
    while (!piece.empty() && decoded.state == ReaderState::kMore) {
      const ChunkedReader::Step result = reader.Next(piece);
      decoded.state = result.state;
      decoded.body += result.data;
      decoded.consumed += result.consumed;
      piece.remove_prefix(result.consumed);
    }
  }
  return decoded;
}

struct Row {
  std::string name;
  std::string text;
  ReaderState state;
  std::string body;
  size_t behind = 0;  // bytes that belong to the next request
};

TEST_CASE("chunked bodies are decoded strictly, however they are cut") {
  const auto row = GENERATE(values<Row>({
      {"empty", "0\r\n\r\n", ReaderState::kDone, ""},
      {"one chunk", "5\r\nhello\r\n0\r\n\r\n", ReaderState::kDone, "hello"},
      {"two chunks", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", ReaderState::kDone, "hello world"},
      {"hexadecimal", "a\r\n0123456789\r\nB\r\n0123456789a\r\n00\r\n\r\n", ReaderState::kDone,
       "01234567890123456789a"},
      {"leading zeros", "0005\r\nhello\r\n0\r\n\r\n", ReaderState::kDone, "hello"},
      {"CRLF as payload", "4\r\n\r\n\r\n\r\n0\r\n\r\n", ReaderState::kDone, "\r\n\r\n"},
      {"extension", "5;a=b;c=\"d e\"\r\nhello\r\n0;x\r\n\r\n", ReaderState::kDone, "hello"},
      {"trailers", "1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\n", ReaderState::kDone, "x"},
      {"next request behind", "1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1", ReaderState::kDone, "x", 14},
      {"unfinished size", "5", ReaderState::kMore, ""},
      {"unfinished chunk", "5\r\nhel", ReaderState::kMore, "hel"},
      {"no last chunk", "5\r\nhello\r\n", ReaderState::kMore, "hello"},
      {"unfinished trailers", "0\r\nA: b\r\n", ReaderState::kMore, ""},
      {"empty size", "\r\n", ReaderState::kBad, ""},
      {"prefix 0x", "0x5\r\nhello\r\n0\r\n\r\n", ReaderState::kBad, ""},
      {"sign", "+5\r\nhello\r\n0\r\n\r\n", ReaderState::kBad, ""},
      {"negative", "-1\r\n", ReaderState::kBad, ""},
      {"underscore", "1_0\r\n", ReaderState::kBad, ""},
      {"leading space", " 5\r\nhello\r\n", ReaderState::kBad, ""},
      {"space behind size", "5 \r\nhello\r\n", ReaderState::kBad, ""},
      {"tab before extension", "5\t;a\r\nhello\r\n", ReaderState::kBad, ""},
      {"no digit", "g\r\n", ReaderState::kBad, ""},
      {"bare LF behind size", "5\nhello\r\n0\r\n\r\n", ReaderState::kBad, ""},
      {"bare CR behind size", "5\rhello\r\n", ReaderState::kBad, ""},
      {"bare LF behind data", "5\r\nhello\n0\r\n\r\n", ReaderState::kBad, "hello"},
      {"chunk longer than its size", "4\r\nhello\r\n0\r\n\r\n", ReaderState::kBad, "hell"},
      {"chunk shorter than its size", "6\r\nhello\r\n0\r\n\r\n", ReaderState::kBad, "hello\r"},
      {"bare LF at the end", "0\r\n\n", ReaderState::kBad, ""},
      {"bare LF in extension", "5;a\nhello\r\n", ReaderState::kBad, ""},
      {"bare CR in extension", "5;a\rb\r\nhello\r\n", ReaderState::kBad, ""},
      {"NUL in extension", "5;a\0b\r\nhello\r\n"s, ReaderState::kBad, ""},
      {"trailer without colon", "0\r\nabc\r\n\r\n", ReaderState::kBad, ""},
      {"folded trailer", "0\r\nA: b\r\n c\r\n\r\n", ReaderState::kBad, ""},
      {"space in trailer name", "0\r\nA : b\r\n\r\n", ReaderState::kBad, ""},
      {"bare CR in trailer", "0\r\nA: b\rc\r\n\r\n", ReaderState::kBad, ""},
      {"overflow", "10000000000000005\r\nhello\r\n", ReaderState::kBad, ""},
      {"too large", "fffffffffff\r\n", ReaderState::kBad, ""},
      {"17 digits", "00000000000000005\r\nhello\r\n", ReaderState::kBad, ""},
  }));
  const size_t step = GENERATE(1, 2, 3, 5, 1'000);
  CAPTURE(row.name, step);
  const Decoded decoded = Decode(row.text, step);
  CHECK(decoded.state == row.state);
  CHECK(decoded.body == row.body);
  if (row.state == ReaderState::kDone) CHECK(decoded.consumed == row.text.size() - row.behind);
}

TEST_CASE("extensions and trailers are bounded over the whole body") {
  std::string extensions;
  for (int i = 0; i < 30; ++i) extensions += "1;abcdefgh\r\nx\r\n";  // 9 bytes each
  CHECK(Decode(extensions + "0\r\n\r\n", 100).state == ReaderState::kBad);
  CHECK(Decode("1;" + std::string(255, 'a') + "\r\nx\r\n0\r\n\r\n", 100).state ==
        ReaderState::kDone);
  CHECK(Decode("1;" + std::string(256, 'a') + "\r\nx\r\n0\r\n\r\n", 100).state ==
        ReaderState::kBad);
  CHECK(Decode("0\r\nA: " + std::string(5'000, 'b') + "\r\n\r\n", 100).state == ReaderState::kBad);
  std::string trailers = "0\r\n";
  for (int i = 0; i < 1'000; ++i) trailers += "A: b\r\n";
  CHECK(Decode(trailers + "\r\n", 100).state == ReaderState::kBad);
}

}  // namespace
}  // namespace spillway
