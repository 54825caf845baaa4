#pragma once

#include <cstddef>
#include <string_view>

#include "common/error.h"
#include "dataplane/exchange/request.h"

namespace spillway {

// Reads one HTTP/1.1 request head, strictly (RFC 9110, RFC 9112): whatever two parsers might
// understand differently is refused. No I/O, no allocation beyond the reused vector of headers.
// Looks at every byte once, however slowly they arrive. One thread.
class HeadParser {
 public:
  struct Limits {
    size_t bytes_max = size_t{32} * 1024;
    size_t headers_max = 100;
  };
  enum class State { kMore, kDone, kBad };

  explicit HeadParser(Limits limits) : limits_(limits) {}
  HeadParser() : HeadParser(Limits{}) {}

  // `text` is everything received since the last Reset; it may have moved since the last call.
  // After kDone the head's views point into it; after kBad those parsed so far do.
  State Feed(std::string_view text);
  // Makes the views point into a copy of the bytes fed, of the head at least.
  void MoveTo(std::string_view copy);
  void Reset();

  const RequestHead& head() const { return head_; }
  size_t head_bytes() const { return position_; }  // kDone: bytes of the head, blank line included
  // kBad: kInvalidRequest (400, 417, 505), kUnsupportedEncoding, kHeadersTooLarge.
  const Error& error() const { return error_; }

 private:
  bool ParseRequestLine(std::string_view line);
  bool ParseTarget(std::string_view target);
  bool TakeAuthority(std::string_view& target);
  bool ParseHeader(std::string_view line);
  bool OnKnownHeader(const Header& header);
  bool OnContentLength(std::string_view value);
  bool OnConnection(std::string_view value);
  bool OnHost(std::string_view value);
  bool Finish();
  bool Bad(const char* message, int http_status = 0);

  Limits limits_;
  RequestHead head_;
  std::string_view authority_;  // of a target that is a whole URL
  Error error_;
  const char* base_ = nullptr;  // where the views point into
  size_t position_ = 0;         // begin of the line that is not complete
  size_t scanned_ = 0;          // bytes known to hold no further line end
  bool request_line_seen_ = false;
  bool blank_line_skipped_ = false;
  bool host_seen_ = false;
  bool connection_close_ = false;
  bool connection_keep_alive_ = false;
};

}  // namespace spillway
