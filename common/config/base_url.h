#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/error.h"

namespace spillway::config {

struct BaseUrl {
  bool tls = false;
  std::string host;         // lower-case, without brackets
  uint16_t port = 0;        // 80 or 443 when absent
  std::string host_header;  // with brackets, and with the port unless it is the scheme's own
  std::string path_prefix;  // without a slash at its end
};
// http or https, no user info, no query, no fragment; numeric hosts in canonical notation only, and
// none that only a machine's own metadata service answers on (host.h). The error says what is
// allowed and never repeats the text: it may hold a password.
Result<BaseUrl> ParseBaseUrl(std::string_view url);
// The URL as it may stand in a message: empty when it may hold a password.
std::string_view ShownUrl(std::string_view url);
// Where alerts go: the same, but a query is allowed. The error never repeats the text.
Result<void> CheckAlertUrl(std::string_view url);

}  // namespace spillway::config
