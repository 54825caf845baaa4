#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "dataplane/exchange/request.h"

namespace spillway {

// How the end of an answer's body is known (RFC 9112 §6.3).
enum class BodyFraming : uint8_t { kNone, kLength, kChunked, kUntilClose };

// The head of a provider's answer. Views point into the bytes that were parsed.
struct UpstreamHead {
  int status = 0;
  bool keep_alive = false;
  BodyFraming framing = BodyFraming::kNone;
  int64_t content_length = 0;  // for kLength
  size_t bytes = 0;            // of the head, with its empty line
  std::vector<Header> headers;

  // The first header of that name; empty when absent.
  std::string_view Find(std::string_view name) const;
};

enum class HeadStatus : uint8_t { kDone, kMore, kBad };

inline constexpr size_t kResponseHeadBytesMax = size_t{64} * 1024;
inline constexpr size_t kResponseHeadersMax = 256;

// Parses the head at the start of `bytes`: HTTP/1.0 or 1.1, CRLF line ends, no folding, one framing
// only (never Content-Length with Transfer-Encoding), equal duplicates of Content-Length. Pure.
// `scanned` starts at 0 and keeps the place between calls while more bytes arrive at the end. 1xx
// heads are reported like any other (framing kNone); 101 is kBad. `head` is reused storage.
HeadStatus ParseResponseHead(std::string_view bytes, size_t& scanned, UpstreamHead& head);

}  // namespace spillway
