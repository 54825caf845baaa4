#include "dataplane/upstream/response_head.h"

#include <catch2/catch_all.hpp>
#include <string>

namespace spillway {
namespace {

struct GoodRow {
  const char* name;
  std::string text;
  int status;
  BodyFraming framing;
  int64_t length;
  bool keep_alive;
};

TEST_CASE("response heads that providers send are understood") {
  const GoodRow rows[] = {
      {"length", "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", 200, BodyFraming::kLength, 12,
       true},
      {"length zero", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, BodyFraming::kNone, 0,
       true},
      {"same length twice", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\n",
       200, BodyFraming::kLength, 5, true},
      {"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", 200,
       BodyFraming::kChunked, 0, true},
      {"until close", "HTTP/1.1 200 OK\r\n\r\n", 200, BodyFraming::kUntilClose, 0, false},
      {"1.0", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", 200, BodyFraming::kLength, 1, false},
      {"1.0 keep-alive", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n",
       200, BodyFraming::kLength, 1, true},
      {"close", "HTTP/1.1 200 OK\r\nConnection: foo , Close\r\nContent-Length: 1\r\n\r\n", 200,
       BodyFraming::kLength, 1, false},
      {"no reason", "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\n", 200, BodyFraming::kLength, 1,
       true},
      {"empty reason", "HTTP/1.1 429 \r\nContent-Length: 1\r\n\r\n", 429, BodyFraming::kLength, 1,
       true},
      {"204", "HTTP/1.1 204 No Content\r\n\r\n", 204, BodyFraming::kNone, 0, true},
      {"304 with length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304,
       BodyFraming::kNone, 9, true},
      {"interim", "HTTP/1.1 100 Continue\r\n\r\n", 100, BodyFraming::kNone, 0, true},
      {"empty value", "HTTP/1.1 200 OK\r\nX-A:\r\nContent-Length: 3\r\n\r\n", 200,
       BodyFraming::kLength, 3, true},
      {"bytes above 127", "HTTP/1.1 200 OK\r\nX-A: \xc3\xa9\r\nContent-Length: 3\r\n\r\n", 200,
       BodyFraming::kLength, 3, true},
  };
  for (const GoodRow& row : rows) {
    DYNAMIC_SECTION(row.name) {
      UpstreamHead head;
      size_t scanned = 0;
      const std::string text = row.text + "rest";
      REQUIRE(ParseResponseHead(text, scanned, head) == HeadStatus::kDone);
      CHECK(head.status == row.status);
      CHECK(head.framing == row.framing);
      CHECK(head.content_length == row.length);
      CHECK(head.keep_alive == row.keep_alive);
      CHECK(head.bytes == row.text.size());
    }
  }
}

TEST_CASE("response heads that are no HTTP/1.1 are refused") {
  const std::pair<const char*, std::string> rows[] = {
      {"garbage", "SSH-2.0-OpenSSH\r\n\r\n"},
      {"http/2", "HTTP/2 200\r\n\r\n"},
      {"http/1.2", "HTTP/1.2 200 OK\r\n\r\n"},
      {"short status", "HTTP/1.1 20 OK\r\n\r\n"},
      {"long status", "HTTP/1.1 2000 OK\r\n\r\n"},
      {"status letters", "HTTP/1.1 2x0 OK\r\n\r\n"},
      {"status 099", "HTTP/1.1 099 OK\r\n\r\n"},
      {"status 600", "HTTP/1.1 600 OK\r\n\r\n"},
      {"upgrade", "HTTP/1.1 101 Switching\r\n\r\n"},
      {"length and chunked",
       "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n"},
      {"length list", "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\n"},
      {"signed length", "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\n"},
      {"negative length", "HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n"},
      {"hex length", "HTTP/1.1 200 OK\r\nContent-Length: 0x3\r\n\r\n"},
      {"huge length", "HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\n"},
      {"gzip, chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"},
      {"chunked twice",
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {"chunked on 1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {"folded line", "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\n\r\n"},
      {"space before colon", "HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\n"},
      {"no colon", "HTTP/1.1 200 OK\r\nContent-Length\r\n\r\n"},
      {"no name", "HTTP/1.1 200 OK\r\n: 3\r\n\r\n"},
      {"bare CR", "HTTP/1.1 200 OK\r\nX-A: b\rc\r\n\r\n"},
      {"bare LF", "HTTP/1.1 200 OK\r\nX-A: b\nX-B: c\r\n\r\n"},
      {"NUL", std::string("HTTP/1.1 200 OK\r\nX-A: b") + '\0' + "\r\n\r\n"},
      {"leading empty line", "\r\nHTTP/1.1 200 OK\r\n\r\n"},
  };
  for (const auto& [name, text] : rows) {
    DYNAMIC_SECTION(name) {
      UpstreamHead head;
      size_t scanned = 0;
      CHECK(ParseResponseHead(text, scanned, head) == HeadStatus::kBad);
    }
  }
}

TEST_CASE("a response head may arrive byte by byte") {
  const std::string text =
      "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nX-Request-Id:  r1 \r\nContent-Length: 2\r\n\r\nok";
  const size_t head_bytes = text.size() - 2;
  UpstreamHead head;
  size_t scanned = 0;
  for (size_t n = 1; n < head_bytes; ++n) {
    REQUIRE(ParseResponseHead(std::string_view(text).substr(0, n), scanned, head) ==
            HeadStatus::kMore);
  }
  REQUIRE(ParseResponseHead(text, scanned, head) == HeadStatus::kDone);
  CHECK(head.bytes == head_bytes);
  CHECK(head.Find("x-request-id") == "r1");
  CHECK(head.Find("absent").empty());
}

TEST_CASE("a response head has limits") {
  UpstreamHead head;
  size_t scanned = 0;
  std::string endless = "HTTP/1.1 200 OK\r\nX-A: ";
  endless.append(kResponseHeadBytesMax, 'a');
  CHECK(ParseResponseHead(endless, scanned, head) == HeadStatus::kBad);
  std::string many = "HTTP/1.1 200 OK\r\n";
  for (size_t i = 0; i <= kResponseHeadersMax; ++i) many += "a: b\r\n";
  scanned = 0;
  CHECK(ParseResponseHead(many + "\r\n", scanned, head) == HeadStatus::kBad);
}

}  // namespace
}  // namespace spillway
