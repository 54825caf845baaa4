#include "dataplane/server/head_parser.h"

#include <algorithm>
#include <array>
#include <cstdint>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace spillway {
namespace {

// What a byte may be part of.
enum : uint8_t { kToken = 1, kTarget = 2, kHostByte = 4, kDigit = 8, kHexDigit = 16 };

constexpr std::array<uint8_t, 256> MakeClasses() {
  std::array<uint8_t, 256> classes{};
  const auto mark = [&classes](std::string_view bytes, uint8_t mask) {
    for (char c : bytes) classes[static_cast<unsigned char>(c)] |= mask;
  };
  for (char c = 'a'; c <= 'z'; ++c) mark({&c, 1}, kToken | kTarget | kHostByte);
  for (char c = 'A'; c <= 'Z'; ++c) mark({&c, 1}, kToken | kTarget | kHostByte);
  for (char c = '0'; c <= '9'; ++c)
    mark({&c, 1}, kToken | kTarget | kHostByte | kDigit | kHexDigit);
  mark("abcdefABCDEF", kHexDigit);
  mark("!#$%&'*+-.^_`|~", kToken);
  mark("-._~!$&'()*+,;=:@/?%", kTarget);
  mark("-._~!$&'()*+;=:[]%", kHostByte);
  return classes;
}
constexpr std::array<uint8_t, 256> kClasses = MakeClasses();

bool Is(char c, uint8_t mask) { return (kClasses[static_cast<unsigned char>(c)] & mask) != 0; }

bool All(std::string_view text, uint8_t mask) {
  for (char c : text) {
    if (!Is(c, mask)) return false;
  }
  return true;
}

bool IsFieldByte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
}

// Visible characters, obs-text, space and tab: no other control character, so no CR, LF or NUL.
bool IsFieldContent(std::string_view text) {
  size_t i = 0;
#ifdef __SSE2__
  const __m128i space = _mm_set1_epi8(0x20);
  for (; i + 16 <= text.size(); i += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + i));
    const __m128i is_high = _mm_cmpeq_epi8(_mm_max_epu8(bytes, space), bytes);
    const __m128i is_tab = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t'));
    const __m128i is_del = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
    const __m128i good = _mm_andnot_si128(is_del, _mm_or_si128(is_high, is_tab));
    if (_mm_movemask_epi8(good) != 0xffff) return false;
  }
#endif
  for (; i < text.size(); ++i) {
    if (!IsFieldByte(text[i])) return false;
  }
  return true;
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

Method MethodOf(std::string_view name) {
  if (name == "POST") return Method::kPost;
  if (name == "GET") return Method::kGet;
  if (name == "HEAD") return Method::kHead;
  return Method::kOther;
}

}  // namespace

void HeadParser::Reset() {
  head_.headers.clear();
  head_.method = Method::kOther;
  head_.path = head_.query = authority_ = {};
  head_.http11 = head_.keep_alive = true;
  head_.expect_continue = head_.chunked = false;
  head_.content_length.reset();
  error_ = {};
  base_ = nullptr;
  position_ = scanned_ = 0;
  request_line_seen_ = blank_line_skipped_ = host_seen_ = false;
  connection_close_ = connection_keep_alive_ = false;
}

void HeadParser::MoveTo(std::string_view bytes) {
  const char* copy = bytes.data();
  const auto move = [this, copy](std::string_view& view) {
    if (view.data() != nullptr) view = {copy + (view.data() - base_), view.size()};
  };
  if (base_ != nullptr && base_ != copy) {
    move(head_.path);
    move(head_.query);
    move(authority_);
    for (Header& header : head_.headers) {
      move(header.name);
      move(header.value);
    }
  }
  base_ = copy;
}

HeadParser::State HeadParser::Feed(std::string_view text) {
  MoveTo(text);
  while (true) {
    const size_t found = text.find('\n', std::max(position_, scanned_));
    const size_t end = std::min(found, text.size());
    if (end >= limits_.bytes_max) {
      error_ = {.code = ErrorCode::kHeadersTooLarge, .message = "the request head is too large"};
      return State::kBad;
    }
    if (found == text.npos) {
      scanned_ = text.size();
      return State::kMore;
    }
    if (end == position_ || text[end - 1] != '\r') {
      Bad("a line of the request head ends with a bare LF");
      return State::kBad;
    }
    const std::string_view line = text.substr(position_, end - 1 - position_);
    position_ = end + 1;
    if (line.empty() && request_line_seen_) return Finish() ? State::kDone : State::kBad;
    if (line.empty() && !blank_line_skipped_) {  // RFC 9112, 2.2: one may precede a request
      blank_line_skipped_ = true;
    } else if (!(request_line_seen_ ? ParseHeader(line) : ParseRequestLine(line))) {
      return State::kBad;
    }
  }
}

bool HeadParser::Bad(const char* message, int http_status) {
  error_ = {.code = ErrorCode::kInvalidRequest, .message = message, .http_status = http_status};
  return false;
}

bool HeadParser::ParseRequestLine(std::string_view line) {
  request_line_seen_ = true;
  const size_t first = line.find(' ');
  const size_t second = first == line.npos ? line.npos : line.find(' ', first + 1);
  if (second == line.npos || first == 0 || first > 32) return Bad("the request line is malformed");
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, second - first - 1);
  const std::string_view version = line.substr(second + 1);
  if (!All(method, kToken)) return Bad("the request method is malformed");
  if (version == "HTTP/1.0") {
    head_.http11 = false;
  } else if (version != "HTTP/1.1") {
    const bool other_version = version.size() == 8 && version.starts_with("HTTP/") &&
                               Is(version[5], kDigit) && version[6] == '.' &&
                               Is(version[7], kDigit);
    if (other_version) return Bad("only HTTP/1.1 and HTTP/1.0 are spoken here", 505);
    return Bad("the request line is malformed");
  }
  head_.method = MethodOf(method);
  return ParseTarget(target);
}

// RFC 9112, 3.2.2: a server accepts the absolute-form too. Leaves the path and the query.
bool HeadParser::TakeAuthority(std::string_view& target) {
  if (target.starts_with('/')) return true;
  const size_t colon = target.find("://");
  const std::string_view scheme = target.substr(0, colon);
  if (colon == target.npos ||
      (!EqualsIgnoreCase(scheme, "http") && !EqualsIgnoreCase(scheme, "https"))) {
    return Bad("the request target must be a path or an http URL");
  }
  const std::string_view rest = target.substr(colon + 3);
  const size_t end = std::min(rest.find_first_of("/?"), rest.size());
  authority_ = rest.substr(0, end);
  if (authority_.empty() || !All(authority_, kHostByte)) {
    return Bad("the host of the request target is malformed");
  }
  target = rest.substr(end);
  return true;
}

bool HeadParser::ParseTarget(std::string_view target) {
  const std::string_view whole = target;
  if (!TakeAuthority(target)) return false;
  if (!All(target, kTarget))
    return Bad("the request target holds a character that must be encoded");
  for (size_t i = target.find('%'); i != target.npos; i = target.find('%', i + 1)) {
    if (i + 2 >= target.size() || !Is(target[i + 1], kHexDigit) || !Is(target[i + 2], kHexDigit)) {
      return Bad("the request target holds a bad percent escape");
    }
  }
  const size_t question_mark = target.find('?');
  head_.path = target.substr(0, question_mark);
  // A URL without a path means "/"; its scheme's slash stands for it, since views lie in the text.
  if (head_.path.empty()) head_.path = whole.substr(whole.find('/'), 1);
  if (question_mark != target.npos) head_.query = target.substr(question_mark + 1);
  return true;
}

bool HeadParser::ParseHeader(std::string_view line) {
  if (head_.headers.size() == limits_.headers_max) {
    error_ = {.code = ErrorCode::kHeadersTooLarge, .message = "the request has too many headers"};
    return false;
  }
  if (line.front() == ' ' || line.front() == '\t')
    return Bad("folded header lines are not accepted");
  const size_t colon = line.find(':');
  if (colon == line.npos || colon == 0) return Bad("a header line has no name");
  const Header header{.name = line.substr(0, colon), .value = Trim(line.substr(colon + 1))};
  if (!All(header.name, kToken)) return Bad("a header name holds a character that is not allowed");
  if (!IsFieldContent(header.value)) return Bad("a header value holds a control character");
  head_.headers.push_back(header);
  return OnKnownHeader(header);
}

bool HeadParser::OnKnownHeader(const Header& header) {
  const auto is = [&header](std::string_view name) { return EqualsIgnoreCase(header.name, name); };
  switch (header.name.size()) {
    case 4:
      return !is("host") || OnHost(header.value);
    case 6:
      if (!is("expect")) return true;
      if (!EqualsIgnoreCase(header.value, "100-continue")) {
        return Bad("this expectation cannot be met", 417);
      }
      head_.expect_continue = true;
      return true;
    case 10:
      return !is("connection") || OnConnection(header.value);
    case 14:
      return !is("content-length") || OnContentLength(header.value);
    case 16:
      if (!is("content-encoding") || EqualsIgnoreCase(header.value, "identity")) return true;
      error_ = {.code = ErrorCode::kUnsupportedEncoding,
                .message = "a request body must not be compressed (Content-Encoding: identity)"};
      return false;
    case 17:
      if (!is("transfer-encoding")) return true;
      if (head_.chunked || !EqualsIgnoreCase(header.value, "chunked")) {
        return Bad("Transfer-Encoding must be exactly \"chunked\"");
      }
      head_.chunked = true;
      return true;
    default:
      return true;
  }
}

bool HeadParser::OnContentLength(std::string_view value) {
  if (head_.content_length.has_value()) return Bad("Content-Length was sent twice");
  if (value.empty() || value.size() > 18 || !All(value, kDigit)) {
    return Bad("Content-Length must be a decimal number");
  }
  int64_t length = 0;
  for (char c : value) length = length * 10 + (c - '0');
  head_.content_length = length;
  return true;
}

bool HeadParser::OnConnection(std::string_view value) {
  while (true) {
    const size_t comma = value.find(',');
    const std::string_view option = Trim(value.substr(0, comma));
    if (EqualsIgnoreCase(option, "close")) connection_close_ = true;
    if (EqualsIgnoreCase(option, "keep-alive")) connection_keep_alive_ = true;
    if (comma == value.npos) return true;
    value.remove_prefix(comma + 1);
  }
}

bool HeadParser::OnHost(std::string_view value) {
  if (host_seen_) return Bad("Host was sent twice");
  if (value.empty() || !All(value, kHostByte)) return Bad("Host is malformed");
  host_seen_ = true;
  return true;
}

bool HeadParser::Finish() {
  if (head_.http11 && !host_seen_) return Bad("Host is missing");
  if (host_seen_ && !authority_.empty() && !EqualsIgnoreCase(authority_, head_.Find("host"))) {
    return Bad("the request target names another host than Host");
  }
  if (head_.chunked && head_.content_length.has_value()) {
    return Bad("Content-Length and Transfer-Encoding were both sent");
  }
  if (head_.chunked && !head_.http11) return Bad("Transfer-Encoding needs HTTP/1.1");
  if (!head_.http11) head_.expect_continue = false;
  head_.keep_alive = !connection_close_ && (head_.http11 || connection_keep_alive_);
  return true;
}

}  // namespace spillway
