#include "dataplane/server/head_parser.h"

#include <catch2/catch_all.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace spillway {
namespace {

using State = HeadParser::State;
using namespace std::string_literals;

constexpr std::string_view kHost = "Host: gw\r\n";

// Feeds the text in pieces of `step` bytes, from a buffer that moves each time, as the session's
// may.
State FeedInSteps(HeadParser& parser, const std::string& text, size_t step,
                  std::string& last_buffer) {
  State state = State::kMore;
  for (size_t size = std::min(step, text.size());; size = std::min(size + step, text.size())) {
    last_buffer = std::string(text, 0, size);
    last_buffer.reserve(size + 64 + size % 7);
    state = parser.Feed(last_buffer);
    if (state != State::kMore || size == text.size()) return state;
  }
}

struct GoodRow {
  std::string name;
  std::string text;
  std::string path;
  Method method;
  bool keep_alive;
  int64_t content_length;  // -1: none
  bool chunked;
};

TEST_CASE("good request heads are accepted, whole and byte by byte") {
  const auto row = GENERATE(values<GoodRow>({
      {"plain get", "GET /v1/models HTTP/1.1\r\nHost: gw\r\n\r\n", "/v1/models", Method::kGet, true,
       -1, false},
      {"post", "POST /v1/x HTTP/1.1\r\nHost: gw:8080\r\nContent-Length: 12\r\n\r\n", "/v1/x",
       Method::kPost, true, 12, false},
      {"head", "HEAD / HTTP/1.1\r\nHost: gw\r\n\r\n", "/", Method::kHead, true, -1, false},
      {"unknown method", "PURGE / HTTP/1.1\r\nHost: gw\r\n\r\n", "/", Method::kOther, true, -1,
       false},
      {"chunked", "POST / HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n", "/",
       Method::kPost, true, -1, true},
      {"chunked in capitals", "POST / HTTP/1.1\r\nhost: gw\r\nTRANSFER-ENCODING: CHUNKED\r\n\r\n",
       "/", Method::kPost, true, -1, true},
      {"connection close", "GET / HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n", "/",
       Method::kGet, false, -1, false},
      {"close among others", "GET / HTTP/1.1\r\nHost: gw\r\nConnection: keep-alive , CLOSE\r\n\r\n",
       "/", Method::kGet, false, -1, false},
      {"two connection headers",
       "GET / HTTP/1.1\r\nHost: gw\r\nConnection: x\r\nConnection: close\r\n\r\n", "/",
       Method::kGet, false, -1, false},
      {"1.0", "GET / HTTP/1.0\r\n\r\n", "/", Method::kGet, false, -1, false},
      {"1.0 kept alive", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "/", Method::kGet,
       true, -1, false},
      {"zero length", "POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: 0\r\n\r\n", "/",
       Method::kPost, true, 0, false},
      {"no space behind colon", "GET / HTTP/1.1\r\nHost:gw\r\n\r\n", "/", Method::kGet, true, -1,
       false},
      {"spaces around value", "GET / HTTP/1.1\r\nHost: \t gw \t\r\n\r\n", "/", Method::kGet, true,
       -1, false},
      {"empty value", "GET / HTTP/1.1\r\nHost: gw\r\nX-Empty:\r\n\r\n", "/", Method::kGet, true, -1,
       false},
      {"obs-text in value", "GET / HTTP/1.1\r\nHost: gw\r\nX: caf\xe9 \xc3\xa9\r\n\r\n", "/",
       Method::kGet, true, -1, false},
      {"tab in a long value",
       "GET / HTTP/1.1\r\nHost: gw\r\nX: 0123456789abcdef\t0123456789abcdef\r\n\r\n", "/",
       Method::kGet, true, -1, false},
      {"one blank line before", "\r\nGET / HTTP/1.1\r\nHost: gw\r\n\r\n", "/", Method::kGet, true,
       -1, false},
      {"upgrade is ignored",
       "GET / HTTP/1.1\r\nHost: gw\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", "/",
       Method::kGet, true, -1, false},
      {"escapes", "GET /a%2Fb/%7e HTTP/1.1\r\nHost: gw\r\n\r\n", "/a%2Fb/%7e", Method::kGet, true,
       -1, false},
      {"ipv6 host", "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "/", Method::kGet, true, -1,
       false},
      {"identity coding",
       "POST / HTTP/1.1\r\nHost: gw\r\nContent-Encoding: Identity\r\nContent-Length: 1\r\n\r\n",
       "/", Method::kPost, true, 1, false},
      {"query", "GET /p?a=b&c=/d? HTTP/1.1\r\nHost: gw\r\n\r\n", "/p", Method::kGet, true, -1,
       false},
      {"absolute-form", "POST http://gw/v1/x HTTP/1.1\r\nHost: gw\r\n\r\n", "/v1/x", Method::kPost,
       true, -1, false},
      {"absolute-form in capitals", "GET HTTPS://GW:8080/v1?a HTTP/1.1\r\nHost: gw:8080\r\n\r\n",
       "/v1", Method::kGet, true, -1, false},
      {"absolute-form without a path", "GET http://gw HTTP/1.1\r\nHost: gw\r\n\r\n", "/",
       Method::kGet, true, -1, false},
      {"absolute-form with a query only", "GET http://gw?a=/b HTTP/1.1\r\nHost: gw\r\n\r\n", "/",
       Method::kGet, true, -1, false},
      {"absolute-form on 1.0", "GET http://gw/v1 HTTP/1.0\r\n\r\n", "/v1", Method::kGet, false, -1,
       false},
  }));
  const size_t step = GENERATE(1, 2, 3, 7, 1'000);
  CAPTURE(row.name, step);
  HeadParser parser;
  parser.Reset();
  std::string buffer;
  REQUIRE(FeedInSteps(parser, row.text, step, buffer) == State::kDone);
  CHECK(parser.head_bytes() == row.text.size());
  const RequestHead& head = parser.head();
  CHECK(head.path == row.path);
  CHECK(head.method == row.method);
  CHECK(head.keep_alive == row.keep_alive);
  CHECK(head.content_length.value_or(-1) == row.content_length);
  CHECK(head.chunked == row.chunked);
}

TEST_CASE("views of a head point into the last buffer, and into a copy after moving") {
  const std::string text =
      "POST /v1/chat/completions?x=1 HTTP/1.1\r\nHost: gw\r\nAuthorization:  Bearer k \r\nExpect: "
      "100-Continue\r\n\r\nbody";
  HeadParser parser;
  std::string buffer;
  REQUIRE(FeedInSteps(parser, text, 5, buffer) == State::kDone);
  const std::string copy(buffer, 0, parser.head_bytes());
  parser.MoveTo(copy);
  std::ranges::fill(buffer, '#');
  CHECK(parser.head().query == "x=1");
  CHECK(parser.head().Find("authorization") == "Bearer k");
  CHECK(parser.head().expect_continue);
  CHECK(parser.head_bytes() == text.size() - 4);

  parser.Reset();
  CHECK(parser.head().headers.empty());
  CHECK_FALSE(parser.head().expect_continue);
  REQUIRE(parser.Feed("GET / HTTP/1.1\r\nHost: b\r\n\r\n") == State::kDone);
  CHECK(parser.head().Find("host") == "b");
}

struct BadRow {
  std::string name;
  std::string text;
  int status = 400;
};

std::string Get(const std::string& headers) { return "GET / HTTP/1.1\r\n" + headers + "\r\n"; }
std::string Post(const std::string& headers) {
  return "POST / HTTP/1.1\r\nHost: gw\r\n" + headers + "\r\n";
}

std::vector<BadRow> BadRows() {
  std::vector<BadRow> rows = {
      {"bare LF behind request line", "GET / HTTP/1.1\nHost: gw\r\n\r\n"},
      {"bare LF behind header", "GET / HTTP/1.1\r\nHost: gw\n\r\n"},
      {"bare LF as end", "GET / HTTP/1.1\r\nHost: gw\r\n\n"},
      {"bare CR in request line", "GET /\rHTTP/1.1\r\nHost: gw\r\n\r\n"},
      {"bare CR in value", Get("Host: gw\r\nX: a\rb\r\n")},
      {"bare CR in name", Get("Host: gw\r\nX\r: a\r\n")},
      {"CR CR LF", Get("Host: gw\r\nX: a\r\r\n")},
      {"NUL in value", Get("Host: gw\r\nX: a\0b\r\n"s)},
      {"NUL in name", Get("Host: gw\r\nX\0: b\r\n"s)},
      {"NUL in target", "GET /\0 HTTP/1.1\r\nHost: gw\r\n\r\n"s},
      {"escape character in value", Get("Host: gw\r\nX: \x1b[0m\r\n")},
      {"DEL in value", Get("Host: gw\r\nX: 0123456789abcdef\x7f\r\n")},
      {"control character past 16 bytes", Get("Host: gw\r\nX: 0123456789abcdefghij\x01\r\n")},
      {"control character within 16 bytes", Get("Host: gw\r\nX: 0123456\x01"
                                                "89abcdefghij\r\n")},
      {"folded header, space", Get("Host: gw\r\nX: a\r\n b\r\n")},
      {"folded header, tab", Get("Host: gw\r\nX: a\r\n\tb\r\n")},
      {"folded first header", Get(" Host: gw\r\n")},
      {"space before colon", Get("Host : gw\r\n")},
      {"tab before colon", Get("Host: gw\r\nX\t: a\r\n")},
      {"space in name", Get("Host: gw\r\nX Y: a\r\n")},
      {"no colon", Get("Host: gw\r\nX\r\n")},
      {"no name", Get("Host: gw\r\n: a\r\n")},
      {"parenthesis in name", Get("Host: gw\r\nX(: a\r\n")},
      {"non-ASCII name", Get("Host: gw\r\nX\xe9: a\r\n")},
      {"no host", Get("X: a\r\n")},
      {"two hosts", Get("Host: gw\r\nHost: gw\r\n")},
      {"two hosts in different case", Get("Host: gw\r\nhOST: other\r\n")},
      {"two hosts on 1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"},
      {"empty host", Get("Host:\r\n")},
      {"host with path", Get("Host: gw/x\r\n")},
      {"host with user", Get("Host: u@gw\r\n")},
      {"host list", Get("Host: a, b\r\n")},
      {"URL of another host", "GET http://other/ HTTP/1.1\r\nHost: gw\r\n\r\n"},
      {"URL of another port", "GET http://gw:81/ HTTP/1.1\r\nHost: gw:80\r\n\r\n"},
      {"URL without Host", "GET http://gw/ HTTP/1.1\r\n\r\n"},
      {"URL without a host", "GET http:///v1 HTTP/1.1\r\nHost: gw\r\n\r\n"},
      {"URL with a user", "GET http://u@gw/ HTTP/1.1\r\nHost: gw\r\n\r\n"},
      {"URL with a fragment", "GET http://gw#x HTTP/1.1\r\nHost: gw\r\n\r\n"},
      {"URL of another scheme", "GET ftp://gw/ HTTP/1.1\r\nHost: gw\r\n\r\n"},
      {"URL without a scheme", "GET ://gw/ HTTP/1.1\r\nHost: gw\r\n\r\n"},
      {"bad escape in a URL", "GET http://gw/%2 HTTP/1.1\r\nHost: gw\r\n\r\n"},
      {"authority-form", "CONNECT gw:443 HTTP/1.1\r\nHost: gw\r\n\r\n"},
      {"asterisk-form", "OPTIONS * HTTP/1.1\r\nHost: gw\r\n\r\n"},
      {"relative target", "GET v1 HTTP/1.1\r\nHost: gw\r\n\r\n"},
      {"empty target", "GET  HTTP/1.1\r\nHost: gw\r\n\r\n"},
      {"fragment", "GET /a#b HTTP/1.1\r\nHost: gw\r\n\r\n"},
      {"backslash", "GET /a\\b HTTP/1.1\r\nHost: gw\r\n\r\n"},
      {"quote in target", "GET /\"x HTTP/1.1\r\nHost: gw\r\n\r\n"},
      {"non-ASCII target", "GET /\xc3\xa9 HTTP/1.1\r\nHost: gw\r\n\r\n"},
      {"cut percent escape", "GET /a%2 HTTP/1.1\r\nHost: gw\r\n\r\n"},
      {"lone percent", "GET /a% HTTP/1.1\r\nHost: gw\r\n\r\n"},
      {"bad percent escape", "GET /a%zz HTTP/1.1\r\nHost: gw\r\n\r\n"},
      {"two spaces before version", "GET /  HTTP/1.1\r\nHost: gw\r\n\r\n"},
      {"tab as separator", "GET\t/ HTTP/1.1\r\nHost: gw\r\n\r\n"},
      {"space behind version", "GET / HTTP/1.1 \r\nHost: gw\r\n\r\n"},
      {"space before method", " GET / HTTP/1.1\r\nHost: gw\r\n\r\n"},
      {"no version", "GET /\r\nHost: gw\r\n\r\n"},
      {"no target", "GET\r\nHost: gw\r\n\r\n"},
      {"lower-case version", "GET / http/1.1\r\nHost: gw\r\n\r\n"},
      {"version 1.01", "GET / HTTP/1.01\r\nHost: gw\r\n\r\n"},
      {"version 1.2", "GET / HTTP/1.2\r\nHost: gw\r\n\r\n", 505},
      {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"method with bad character", "G(T / HTTP/1.1\r\nHost: gw\r\n\r\n"},
      {"method too long", std::string(33, 'A') + " / HTTP/1.1\r\nHost: gw\r\n\r\n"},
      {"two blank lines before", "\r\n\r\nGET / HTTP/1.1\r\nHost: gw\r\n\r\n"},
      {"TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\n"s},
      {"two lengths", Post("Content-Length: 1\r\nContent-Length: 1\r\n")},
      {"two different lengths", Post("Content-Length: 1\r\ncontent-length: 2\r\n")},
      {"length list", Post("Content-Length: 1, 1\r\n")},
      {"signed length", Post("Content-Length: +1\r\n")},
      {"negative length", Post("Content-Length: -1\r\n")},
      {"hexadecimal length", Post("Content-Length: 0x10\r\n")},
      {"underscore in length", Post("Content-Length: 1_0\r\n")},
      {"length with inner space", Post("Content-Length: 1 0\r\n")},
      {"fractional length", Post("Content-Length: 1.0\r\n")},
      {"empty length", Post("Content-Length:\r\n")},
      {"overflowing length", Post("Content-Length: 18446744073709551617\r\n")},
      {"19 digits", Post("Content-Length: 1000000000000000000\r\n")},
      {"length and chunked", Post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")},
      {"chunked and length", Post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n")},
      {"chunked twice", Post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")},
      {"chunked list", Post("Transfer-Encoding: chunked, chunked\r\n")},
      {"gzip, chunked", Post("Transfer-Encoding: gzip, chunked\r\n")},
      {"chunked, identity", Post("Transfer-Encoding: chunked, identity\r\n")},
      {"identity transfer coding", Post("Transfer-Encoding: identity\r\n")},
      {"unknown transfer coding", Post("Transfer-Encoding: xchunked\r\n")},
      {"quoted chunked", Post("Transfer-Encoding: \"chunked\"\r\n")},
      {"chunked with vertical tab", Post("Transfer-Encoding: \x0b"
                                         "chunked\r\n")},
      {"empty transfer coding", Post("Transfer-Encoding:\r\n")},
      {"chunked on 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {"other expectation", Post("Expect: 200-ok\r\n"), 417},
      {"expectation list", Post("Expect: 100-continue, x\r\n"), 417},
      {"gzip body", Post("Content-Encoding: gzip\r\nContent-Length: 1\r\n"), 415},
      {"coding list", Post("Content-Encoding: identity, gzip\r\nContent-Length: 1\r\n"), 415},
      {"request line too long",
       "GET /" + std::string(33'000, 'a') + " HTTP/1.1\r\nHost: gw\r\n\r\n", 431},
      {"header too long", Get("Host: gw\r\nX: " + std::string(33'000, 'a') + "\r\n"), 431},
      {"never ending line", std::string(40'000, 'a'), 431},
  };
  std::string many;
  for (int i = 0; i < 101; ++i) many += "X: a\r\n";
  rows.push_back({"101 headers", Get(many), 431});
  return rows;
}

TEST_CASE("hostile request heads are refused, whole and byte by byte") {
  const std::vector<BadRow> rows = BadRows();
  REQUIRE(rows.size() >= 60);
  for (const BadRow& row : rows) {
    for (const size_t step : {size_t{1}, size_t{2}, size_t{5}, size_t{100'000}}) {
      CAPTURE(row.name, step);
      HeadParser parser;
      std::string buffer;
      REQUIRE(FeedInSteps(parser, row.text, step, buffer) == State::kBad);
      CHECK(parser.error().HttpStatus() == row.status);
      CHECK_FALSE(parser.error().message.empty());
    }
  }
}

TEST_CASE("limits are exact") {
  std::string headers{kHost};
  for (int i = 0; i < 99; ++i) headers += "X: a\r\n";
  HeadParser parser;
  CHECK(parser.Feed(Get(headers)) == State::kDone);

  HeadParser small({.bytes_max = 64, .headers_max = 2});
  const std::string frame = Get("Host: gw\r\nX: \r\n");
  CHECK(small.Feed(Get("Host: gw\r\nX: " + std::string(64 - frame.size(), 'a') + "\r\n")) ==
        State::kDone);
  small.Reset();
  CHECK(small.Feed(Get("Host: gw\r\nX: " + std::string(65 - frame.size(), 'a') + "\r\n")) ==
        State::kBad);
  small.Reset();
  CHECK(small.Feed(Get("Host: gw\r\nA: \r\nB: \r\n")) == State::kBad);
}

TEST_CASE("a head that arrives slowly is not read again from its beginning") {
  // 32 KiB byte by byte: a quadratic reader would look at half a billion bytes.
  const std::string text = Get("Host: gw\r\nX: " + std::string(31'000, 'a') + "\r\n");
  HeadParser parser;
  State state = State::kMore;
  for (size_t size = 1; size <= text.size() && state == State::kMore; ++size) {
    state = parser.Feed(std::string_view(text).substr(0, size));
  }
  CHECK(state == State::kDone);
}

}  // namespace
}  // namespace spillway
