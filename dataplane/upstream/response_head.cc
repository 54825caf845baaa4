#include "dataplane/upstream/response_head.h"

#include <array>
#include <optional>

namespace spillway {
namespace {

constexpr std::array<bool, 256> MakeTokenTable() {
  std::array<bool, 256> table{};
  for (char c = 'a'; c <= 'z'; ++c) table[static_cast<unsigned char>(c)] = true;
  for (char c = 'A'; c <= 'Z'; ++c) table[static_cast<unsigned char>(c)] = true;
  for (char c = '0'; c <= '9'; ++c) table[static_cast<unsigned char>(c)] = true;
  for (char c : std::string_view("!#$%&'*+-.^_`|~")) table[static_cast<unsigned char>(c)] = true;
  return table;
}
constexpr std::array<bool, 256> kToken = MakeTokenTable();

bool IsToken(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text) {
    if (!kToken[static_cast<unsigned char>(c)]) return false;
  }
  return true;
}

bool IsFieldText(std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && byte != '\t') || byte == 0x7f) return false;
  }
  return true;
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::optional<int64_t> ParseLength(std::string_view text) {
  if (text.empty() || text.size() > 18) return std::nullopt;
  int64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return value;
}

// "HTTP/1.1 200 OK": false when it is nothing of the kind. Sets status and the default keep-alive.
bool ParseStatusLine(std::string_view line, UpstreamHead& head, bool& http11) {
  if (line.size() < 12 || !line.starts_with("HTTP/1.") || line[8] != ' ') return false;
  if (line[7] != '0' && line[7] != '1') return false;
  if (line.size() > 12 && line[12] != ' ') return false;
  http11 = line[7] == '1';
  head.status = 0;
  for (const char c : line.substr(9, 3)) {
    if (c < '0' || c > '9') return false;
    head.status = head.status * 10 + (c - '0');
  }
  head.keep_alive = http11;
  return head.status >= 100 && head.status != 101 && head.status <= 599 && IsFieldText(line);
}

// A comma-separated list of connection options; only close and keep-alive matter.
void ApplyConnection(std::string_view value, UpstreamHead& head) {
  while (!value.empty()) {
    const size_t comma = value.find(',');
    const std::string_view option = Trim(value.substr(0, comma));
    if (EqualsIgnoreCase(option, "close")) head.keep_alive = false;
    if (EqualsIgnoreCase(option, "keep-alive") && head.framing != BodyFraming::kUntilClose) {
      head.keep_alive = true;
    }
    if (comma == std::string_view::npos) return;
    value.remove_prefix(comma + 1);
  }
}

struct Framing {
  std::optional<int64_t> length;
  bool chunked = false;
  std::string_view connection;
};

bool ApplyFramingHeader(const Header& header, bool http11, Framing& framing) {
  if (EqualsIgnoreCase(header.name, "content-length")) {
    const std::optional<int64_t> length = ParseLength(header.value);
    if (!length || (framing.length && *framing.length != *length)) return false;
    framing.length = length;
  } else if (EqualsIgnoreCase(header.name, "transfer-encoding")) {
    if (!http11 || framing.chunked || !EqualsIgnoreCase(header.value, "chunked")) return false;
    framing.chunked = true;
  }
  return true;
}

bool ParseHeaderLine(std::string_view line, Header& header) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || !IsToken(line.substr(0, colon))) return false;
  header.name = line.substr(0, colon);
  header.value = Trim(line.substr(colon + 1));
  return IsFieldText(header.value);
}

bool ConcludeFraming(const Framing& framing, UpstreamHead& head) {
  if (framing.chunked && framing.length) return false;
  head.content_length = framing.length.value_or(0);
  if (head.status < 200 || head.status == 204 || head.status == 304) {
    head.framing = BodyFraming::kNone;
  } else if (framing.chunked) {
    head.framing = BodyFraming::kChunked;
  } else if (framing.length) {
    head.framing = *framing.length == 0 ? BodyFraming::kNone : BodyFraming::kLength;
  } else {
    head.framing = BodyFraming::kUntilClose;
    head.keep_alive = false;
  }
  return true;
}

bool ParseLines(std::string_view text, UpstreamHead& head) {
  bool http11 = false;
  Framing framing;
  head.headers.clear();
  bool first = true;
  while (!text.empty()) {
    const size_t end = text.find("\r\n");
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 2);
    if (first) {
      if (!ParseStatusLine(line, head, http11)) return false;
      first = false;
      continue;
    }
    if (head.headers.size() == kResponseHeadersMax) return false;
    Header& header = head.headers.emplace_back();
    if (!ParseHeaderLine(line, header) || !ApplyFramingHeader(header, http11, framing))
      return false;
  }
  if (first || !ConcludeFraming(framing, head)) return false;
  for (const Header& header : head.headers) {
    if (EqualsIgnoreCase(header.name, "connection")) ApplyConnection(header.value, head);
  }
  return true;
}

}  // namespace

std::string_view UpstreamHead::Find(std::string_view name) const {
  for (const Header& header : headers) {
    if (EqualsIgnoreCase(header.name, name)) return header.value;
  }
  return {};
}

HeadStatus ParseResponseHead(std::string_view bytes, size_t& scanned, UpstreamHead& head) {
  // What cannot become a status line is refused at once, not after 64 KiB of it.
  constexpr std::string_view kStart = "HTTP/1.";
  if (!bytes.substr(0, kStart.size()).starts_with(kStart.substr(0, bytes.size()))) {
    return HeadStatus::kBad;
  }
  const size_t from = scanned > 3 ? scanned - 3 : 0;
  const size_t end = bytes.find("\r\n\r\n", from);
  if (end == std::string_view::npos) {
    scanned = bytes.size();
    return bytes.size() >= kResponseHeadBytesMax ? HeadStatus::kBad : HeadStatus::kMore;
  }
  if (end + 4 > kResponseHeadBytesMax) return HeadStatus::kBad;
  head.bytes = end + 4;
  return ParseLines(bytes.substr(0, end + 2), head) ? HeadStatus::kDone : HeadStatus::kBad;
}

}  // namespace spillway
