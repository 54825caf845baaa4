#include "common/config/base_url.h"

#include <algorithm>
#include <charconv>

#include "common/config/host.h"

namespace spillway::config {
namespace {

constexpr size_t kUrlBytesMax = 2048;

std::unexpected<Error> Refuse(std::string message) {
  return Fail(ErrorCode::kInvalidConfig, std::move(message));
}

bool IsHexDigit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

bool IsSegment(std::string_view segment) {
  constexpr std::string_view kMarks = "-._~!$&'()*+,;=:@";
  for (size_t i = 0; i < segment.size(); ++i) {
    const char c = segment[i];
    const bool alphanumeric =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (alphanumeric || kMarks.contains(c)) continue;
    if (c != '%' || i + 2 >= segment.size() || !IsHexDigit(segment[i + 1]) ||
        !IsHexDigit(segment[i + 2])) {
      return false;
    }
    i += 2;
  }
  return true;
}

// "." and "..", plain or escaped: servers disagree on what they lead to.
bool IsDots(std::string_view segment) {
  std::string plain;
  for (size_t i = 0; i < segment.size(); ++i) {
    if (segment.substr(i, 3) == "%2e" || segment.substr(i, 3) == "%2E") {
      plain += '.';
      i += 2;
    } else {
      plain += segment[i];
    }
  }
  return plain == "." || plain == "..";
}

Result<std::string> ParsePath(std::string_view path) {
  if (path.ends_with('/')) path.remove_suffix(1);
  std::string_view rest = path;
  while (!rest.empty()) {
    rest.remove_prefix(1);  // the slash before each segment
    const size_t slash = std::min(rest.find('/'), rest.size());
    const std::string_view segment = rest.substr(0, slash);
    if (segment.empty() || !IsSegment(segment) || IsDots(segment))
      return Refuse(
          "the path must be plain segments without empty ones, dots or special characters");
    rest.remove_prefix(slash);
  }
  return std::string(path);
}

Result<uint16_t> ParsePort(std::string_view text, bool tls) {
  if (text.empty()) return static_cast<uint16_t>(tls ? 443 : 80);
  text.remove_prefix(1);  // the colon
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size() || port == 0)
    return Refuse("the port must be a number from 1 to 65535");
  return port;
}

// Host and port, which begins at its colon; an IPv6 host is in brackets.
struct Authority {
  std::string_view host;
  std::string_view port;
  bool bracketed = false;
};
Result<Authority> Split(std::string_view authority) {
  if (!authority.starts_with('[')) {
    const size_t colon = std::min(authority.find(':'), authority.size());
    return Authority{.host = authority.substr(0, colon), .port = authority.substr(colon)};
  }
  const size_t bracket = authority.find(']');
  if (bracket == std::string_view::npos) return Refuse("an IPv6 host must end with ]");
  const std::string_view port = authority.substr(bracket + 1);
  if (!port.empty() && !port.starts_with(':')) return Refuse("only a port may follow an IPv6 host");
  return Authority{.host = authority.substr(1, bracket - 1), .port = port, .bracketed = true};
}

std::string HostHeader(const BaseUrl& url, bool bracketed) {
  std::string header = bracketed ? "[" + url.host + "]" : url.host;
  if (url.port != (url.tls ? 443 : 80)) header += ":" + std::to_string(url.port);
  return header;
}

}  // namespace

Result<BaseUrl> ParseBaseUrl(std::string_view url) {
  if (url.empty()) return Refuse("is required: http(s)://host[:port][/path]");
  if (url.size() > kUrlBytesMax) return Refuse("must be at most 2048 characters long");
  if (url.contains("${")) return Refuse("holds a ${...} reference that was not resolved");
  BaseUrl result;
  result.tls = url.starts_with("https://");
  if (!result.tls && !url.starts_with("http://"))
    return Refuse("must begin with http:// or https://");
  url.remove_prefix(result.tls ? 8 : 7);
  if (url.contains('?') || url.contains('#')) return Refuse("must have no query and no fragment");
  const size_t slash = std::min(url.find('/'), url.size());
  const std::string_view authority_text = url.substr(0, slash);
  if (authority_text.contains('@'))
    return Refuse("must have no user or password: put them into credentials");
  SW_TRY(const Authority authority, Split(authority_text));
  SW_TRY(result.host, ParseHost(authority.host, authority.bracketed));
  SW_TRY(result.port, ParsePort(authority.port, result.tls));
  SW_TRY(result.path_prefix, ParsePath(url.substr(slash)));
  result.host_header = HostHeader(result, authority.bracketed);
  return result;
}

std::string_view ShownUrl(std::string_view url) {
  return url.contains('@') || url.contains('?') ? std::string_view() : url;
}

Result<void> CheckAlertUrl(std::string_view url) {
  if (url.size() > kUrlBytesMax) return Refuse("must be at most 2048 characters long");
  if (url.contains('#')) return Refuse("must have no fragment");
  SW_CHECK(ParseBaseUrl(url.substr(0, url.find('?'))));
  return {};
}

}  // namespace spillway::config
