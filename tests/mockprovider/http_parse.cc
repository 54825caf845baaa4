#include "tests/mockprovider/http_parse.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace spillway::mock {
namespace {

constexpr std::string_view kLineEnd = "\r\n";

bool SameName(std::string_view name, std::string_view lower) {
  return std::ranges::equal(name, lower, [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a | 0x20) : a) == b;
  });
}

std::string_view Trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

struct Framing {
  std::optional<size_t> length;
  bool chunked = false;
  bool bad = false;
};

template <typename T>
bool ParseAll(std::string_view text, T& value, int base) {
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() && rest == text.data() + text.size() && !text.empty();
}

// Looks only at headers that matter; the length of a name tells most of them apart.
void OnHeader(std::string_view name, std::string_view value, HttpRequest& request,
              Framing& framing) {
  switch (name.size()) {
    case 6:
      if (SameName(name, "expect")) request.expect_continue = SameName(value, "100-continue");
      break;
    case 7:
      if (SameName(name, "api-key")) request.api_key = value;
      break;
    case 9:
      if (SameName(name, "x-api-key")) request.api_key = value;
      break;
    case 10:
      if (SameName(name, "connection") && SameName(value, "close")) request.keep_alive = false;
      break;
    case 13:
      if (SameName(name, "authorization") && value.size() > 7)
        request.api_key = Trim(value.substr(7));
      break;
    case 14:
      if (SameName(name, "content-length")) {
        size_t length = 0;
        framing.bad |= framing.length.has_value() || !ParseAll(value, length, 10);
        framing.length = length;
      }
      break;
    case 17:
      if (SameName(name, "transfer-encoding")) framing.chunked = SameName(value, "chunked");
      break;
    case 21:
      if (SameName(name, "x-spillway-attempt-id")) request.attempt_id = value;
      break;
    default:
      break;
  }
}

bool ParseRequestLine(std::string_view line, HttpRequest& request) {
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == line.npos || last == first) return false;
  if (!line.substr(last + 1).starts_with("HTTP/1.")) return false;
  request.method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  const size_t query = std::min(target.find('?'), target.size());
  request.path = target.substr(0, query);
  request.query = target.substr(std::min(query + 1, target.size()));
  return !request.path.empty();
}

bool ParseHead(std::string_view head, HttpRequest& request, Framing& framing) {
  const size_t end = std::min(head.find(kLineEnd), head.size());
  if (!ParseRequestLine(head.substr(0, end), request)) return false;
  head.remove_prefix(std::min(end + 2, head.size()));
  while (!head.empty()) {
    const size_t line_end = std::min(head.find(kLineEnd), head.size());
    const std::string_view line = head.substr(0, line_end);
    head.remove_prefix(std::min(line_end + 2, head.size()));
    const size_t colon = line.find(':');
    if (colon == line.npos || colon == 0) return false;
    OnHeader(line.substr(0, colon), Trim(line.substr(colon + 1)), request, framing);
  }
  return !framing.bad && !(framing.chunked && framing.length);
}

HttpParsed Bad(int status) {
  return {.state = HttpParsed::State::kBad, .head_complete = true, .status = status};
}

// Decodes the chunks in `bytes`; consumed 0 in kNeedMore.
HttpParsed ParseChunks(std::string_view bytes, std::string& decoded) {
  decoded.clear();
  for (size_t at = 0;;) {
    const size_t line_end = bytes.find(kLineEnd, at);
    if (line_end == bytes.npos)
      return bytes.size() - at > 4096 ? Bad(400) : HttpParsed{.head_complete = true};
    std::string_view line = bytes.substr(at, line_end - at);
    line = line.substr(0, std::min(line.find(';'), line.size()));
    size_t size = 0;
    if (!ParseAll(Trim(line), size, 16)) return Bad(400);
    if (size > kBodyBytesMax || decoded.size() + size > kBodyBytesMax) return Bad(413);
    at = line_end + 2;
    if (size == 0) {
      const size_t end = bytes.substr(at).starts_with(kLineEnd) ? at : bytes.find("\r\n\r\n", at);
      if (end == bytes.npos) return {.head_complete = true};
      const size_t consumed = end == at ? at + 2 : end + 4;
      return {.state = HttpParsed::State::kReady, .head_complete = true, .consumed = consumed};
    }
    if (bytes.size() < at + size + 2) return {.head_complete = true};
    if (bytes.substr(at + size, 2) != kLineEnd) return Bad(400);
    decoded.append(bytes, at, size);
    at += size + 2;
  }
}

}  // namespace

std::string_view HttpRequest::QueryValue(std::string_view name) const {
  std::string_view rest = query;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('&'), rest.size());
    const std::string_view pair = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (pair.size() > name.size() && pair.starts_with(name) && pair[name.size()] == '=') {
      return pair.substr(name.size() + 1);
    }
  }
  return {};
}

HttpParsed ParseHttp(std::string_view bytes, HttpRequest& request) {
  const size_t head_end = bytes.substr(0, kHeadBytesMax).find("\r\n\r\n");
  if (head_end == bytes.npos) return bytes.size() >= kHeadBytesMax ? Bad(431) : HttpParsed();
  request = HttpRequest();
  Framing framing;
  if (!ParseHead(bytes.substr(0, head_end), request, framing)) return Bad(400);
  const std::string_view behind = bytes.substr(head_end + 4);
  if (framing.chunked) {
    // A body that is still coming is not decoded again with each read.
    if (!behind.ends_with(kLineEnd)) return {.head_complete = true};
    HttpParsed parsed = ParseChunks(behind, request.decoded);
    if (parsed.state == HttpParsed::State::kReady) parsed.consumed += head_end + 4;
    request.decoded.reserve(request.decoded.size() + 64);
    request.body = request.decoded;
    return parsed;
  }
  const size_t length = framing.length.value_or(0);
  if (length > kBodyBytesMax) return Bad(413);
  if (behind.size() < length) return {.head_complete = true};
  request.body = behind.substr(0, length);
  return {
      .state = HttpParsed::State::kReady, .head_complete = true, .consumed = head_end + 4 + length};
}

}  // namespace spillway::mock
