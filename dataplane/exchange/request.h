#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace spillway {

struct Header {
  std::string_view name;   // as sent
  std::string_view value;  // without white space around it
};

// ASCII case-insensitive comparison.
bool EqualsIgnoreCase(std::string_view a, std::string_view b);

enum class Method : uint8_t { kGet, kPost, kHead, kOther };

// A parsed request head. Every view points into the session's buffer and is valid until the session
// reads its next request.
struct RequestHead {
  Method method = Method::kOther;
  std::string_view path;   // without query, not decoded
  std::string_view query;  // behind '?'
  std::vector<Header> headers;
  bool http11 = true;
  bool keep_alive = true;
  bool expect_continue = false;
  bool chunked = false;
  std::optional<int64_t> content_length;

  // The first header of that name; empty when absent.
  std::string_view Find(std::string_view name) const;
};

}  // namespace spillway
