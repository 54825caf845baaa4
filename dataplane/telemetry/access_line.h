#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "dataplane/exchange/exchange.h"

namespace spillway {

// Wall time as RFC 3339 with milliseconds, in UTC. Formats the date once a second. One thread.
class LogTime {
 public:
  // "2026-11-21T10:57:01.042Z"; valid until the next call.
  std::string_view Format(int64_t wall_ms);

 private:
  int64_t second_ = -1;
  char text_[25] = {};
};

// Appends one line of the access log: a JSON object and a newline. Text without a value is left
// out, and so are zero counts of the rarer kinds of tokens; other numbers are always there. Money
// is in nano-dollars; free tags are not logged. Control characters, quotes and what is no UTF-8 are
// escaped.
void AppendAccessLine(std::string& out, std::string_view time, std::string_view request_id,
                      const AccessRecord& record, int64_t duration_us);

}  // namespace spillway
