// One request head and its chunked body. The first byte chooses how the rest is cut; the verdict
// and everything parsed must not depend on it.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "dataplane/server/chunked_reader.h"
#include "dataplane/server/head_parser.h"

namespace spillway {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

// A copy of exactly its size: reading behind it is an error that the sanitizer sees.
struct ExactCopy {
  explicit ExactCopy(std::string_view text) : bytes(new char[text.size()]), size(text.size()) {
    std::ranges::copy(text, bytes.get());
  }
  std::string_view view() const { return {bytes.get(), size}; }
  std::unique_ptr<char[]> bytes;
  size_t size;
};

size_t NextCut(size_t at, uint8_t seed) {
  const size_t mix = (at * 2654435761U) ^ (size_t{seed} * 40503U);
  return seed % 4 == 0 ? 1 : 1 + mix % (seed % 4 == 1 ? 3 : 61);
}

int Count(const RequestHead& head, std::string_view name) {
  return static_cast<int>(std::ranges::count_if(
      head.headers, [name](const Header& header) { return EqualsIgnoreCase(header.name, name); }));
}

void CheckHead(const HeadParser& parser, std::string_view text) {
  const RequestHead& head = parser.head();
  Require(parser.head_bytes() <= text.size());
  Require(head.path.starts_with('/'));
  Require(!(head.chunked && head.content_length.has_value()));
  Require(!head.chunked || head.http11);
  Require(!head.http11 || Count(head, "host") == 1);
  Require(Count(head, "content-length") <= 1 && Count(head, "transfer-encoding") <= 1);
  for (const Header& header : head.headers) {
    Require(!header.name.empty());
    for (const std::string_view part : {header.name, header.value}) {
      Require(part.find_first_of(std::string_view("\r\n\0", 3)) == part.npos);
      Require(part.empty() || (part.data() >= text.data() &&
                               part.data() + part.size() <= text.data() + text.size()));
    }
  }
}

bool SameHead(const RequestHead& a, const RequestHead& b) {
  if (a.method != b.method || a.path != b.path || a.query != b.query || a.http11 != b.http11)
    return false;
  if (a.keep_alive != b.keep_alive || a.expect_continue != b.expect_continue) return false;
  if (a.chunked != b.chunked || a.content_length != b.content_length) return false;
  return std::ranges::equal(a.headers, b.headers, [](const Header& x, const Header& y) {
    return x.name == y.name && x.value == y.value;
  });
}

// Feeds growing copies at ever new addresses, as a session's buffer may move.
HeadParser::State FeedCut(HeadParser& parser, std::string_view text, uint8_t seed,
                          std::unique_ptr<ExactCopy>& last) {
  HeadParser::State state = HeadParser::State::kMore;
  for (size_t size = 0; size < text.size() && state == HeadParser::State::kMore;) {
    size = std::min(text.size(), size + NextCut(size, seed));
    auto copy = std::make_unique<ExactCopy>(text.substr(0, size));
    state = parser.Feed(copy->view());
    last = std::move(copy);
  }
  return state;
}

struct Decoded {
  ChunkedReader::State state = ChunkedReader::State::kMore;
  std::string body;
  size_t consumed = 0;
};

Decoded Decode(std::string_view text, uint8_t seed, bool whole) {
  ChunkedReader reader;
  Decoded decoded;
  while (decoded.consumed < text.size() && decoded.state == ChunkedReader::State::kMore) {
    const size_t cut = whole ? text.size() : NextCut(decoded.consumed, seed);
    const ExactCopy piece(text.substr(decoded.consumed, cut));
    std::string_view left = piece.view();
    while (!left.empty() && decoded.state == ChunkedReader::State::kMore) {
      const ChunkedReader::Step step = reader.Next(left);
      Require(step.consumed <= left.size());
      Require(step.consumed > 0 || step.state != ChunkedReader::State::kMore);
      decoded.state = step.state;
      decoded.body += step.data;
      decoded.consumed += step.consumed;
      left.remove_prefix(step.consumed);
    }
  }
  return decoded;
}

void CheckChunked(std::string_view text, uint8_t seed) {
  const Decoded whole = Decode(text, seed, true);
  const Decoded cut = Decode(text, seed, false);
  Require(whole.state == cut.state && whole.body == cut.body && whole.consumed == cut.consumed);
  Require(whole.body.size() <= text.size());
}

void Check(std::string_view text, uint8_t seed) {
  HeadParser whole;
  whole.Reset();
  const ExactCopy copy(text);
  const HeadParser::State state = whole.Feed(copy.view());
  HeadParser cut;
  cut.Reset();
  std::unique_ptr<ExactCopy> last;
  const HeadParser::State cut_state = FeedCut(cut, text, seed, last);
  Require(state == cut_state);
  if (state == HeadParser::State::kBad) {
    Require(whole.error().HttpStatus() == cut.error().HttpStatus() &&
            whole.error().HttpStatus() >= 400);
  }
  if (state != HeadParser::State::kDone) return CheckChunked(text, seed);
  CheckHead(whole, copy.view());
  Require(whole.head_bytes() == cut.head_bytes() && SameHead(whole.head(), cut.head()));
  const ExactCopy moved(text.substr(0, cut.head_bytes()));
  cut.MoveTo(moved.view());
  last.reset();
  CheckHead(cut, moved.view());
  Require(SameHead(whole.head(), cut.head()));
  CheckChunked(text.substr(whole.head_bytes()), seed);
}

}  // namespace
}  // namespace spillway

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  spillway::Check({reinterpret_cast<const char*>(data) + 1, size - 1}, data[0]);
  return 0;
}
