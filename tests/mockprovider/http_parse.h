#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace spillway::mock {

inline constexpr size_t kHeadBytesMax = size_t{64} * 1024;
inline constexpr size_t kBodyBytesMax = size_t{64} * 1024 * 1024;

// A request that is complete. Views into what was parsed, or into `decoded`.
struct HttpRequest {
  std::string_view method;
  std::string_view path;  // without query
  std::string_view query;
  std::string_view body;
  std::string_view attempt_id;  // x-spillway-attempt-id
  std::string_view api_key;     // Authorization: Bearer, api-key or x-api-key
  bool keep_alive = true;
  bool expect_continue = false;
  std::string decoded;  // a chunked body

  // The value of a query parameter; empty when absent. Not decoded.
  std::string_view QueryValue(std::string_view name) const;
};

struct HttpParsed {
  enum class State : uint8_t { kNeedMore, kReady, kBad };
  State state = State::kNeedMore;
  bool head_complete = false;
  size_t consumed = 0;
  int status = 0;  // kBad: what to answer
};

// Parses the request that `bytes` begins with. Bodies by Content-Length or chunked.
HttpParsed ParseHttp(std::string_view bytes, HttpRequest& request);

}  // namespace spillway::mock
