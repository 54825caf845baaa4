#include "dataplane/server/response_head.h"

#include <charconv>
#include <chrono>
#include <format>

namespace spillway {
namespace {

std::string_view ReasonOf(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 402:
      return "Payment Required";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Status";
  }
}

void AppendNumber(std::string& out, size_t value) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

}  // namespace

std::string_view HttpDate::Format(int64_t wall_ms) {
  const int64_t second = wall_ms / 1000;
  if (second != second_) {
    second_ = second;
    text_ = std::format("{:%a, %d %b %Y %H:%M:%S} GMT",
                        std::chrono::sys_seconds(std::chrono::seconds(second)));
  }
  return text_;
}

bool HasNoBody(int status) { return status < 200 || status == 204 || status == 304; }

void AppendResponseHead(std::string& out, const ResponseHead& head, const Framing& framing,
                        std::string_view date) {
  if (head.status == 200) {
    out += "HTTP/1.1 200 OK\r\nDate: ";
  } else {
    out += "HTTP/1.1 ";
    AppendNumber(out, static_cast<size_t>(head.status));
    out += ' ';
    out += ReasonOf(head.status);
    out += "\r\nDate: ";
  }
  out += date;
  if (!head.content_type.empty()) {
    out += "\r\nContent-Type: ";
    out += head.content_type;
  }
  if (framing.kind == Framing::Kind::kChunked) {
    out += "\r\nTransfer-Encoding: chunked";
  } else if (framing.kind == Framing::Kind::kLength && !HasNoBody(head.status)) {
    out += "\r\nContent-Length: ";
    AppendNumber(out, framing.length);
  }
  if (framing.close) {
    out += "\r\nConnection: close\r\n";
  } else if (!framing.http11) {
    out += "\r\nConnection: keep-alive\r\n";
  } else {
    out += "\r\n";
  }
  out += head.headers;
  out += "\r\n";
}

}  // namespace spillway
