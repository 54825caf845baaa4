#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "dataplane/exchange/exchange.h"

namespace spillway {

// How the end of an answer is found.
struct Framing {
  enum class Kind : uint8_t { kLength, kChunked, kUntilClose };
  Kind kind = Kind::kLength;
  size_t length = 0;
  bool http11 = true;
  bool close = false;  // the connection ends with this answer
};

// The Date header's value (RFC 9110, 5.6.7), formatted once a second. Loop thread only.
class HttpDate {
 public:
  // "Fri, 21 Nov 2026 10:57:01 GMT"; valid until the next call.
  std::string_view Format(int64_t wall_ms);

 private:
  int64_t second_ = -1;
  std::string text_;
};

// Appends the status line and every header, ours and the answer's, and the blank line.
void AppendResponseHead(std::string& out, const ResponseHead& head, const Framing& framing,
                        std::string_view date);

// True when a status is never followed by a body: 1xx, 204, 304.
bool HasNoBody(int status);

}  // namespace spillway
