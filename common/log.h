#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "common/error.h"

namespace spillway::log {

// One JSON object a line on stderr: {"time","level","message", fields...}. Thread-safe,
// asynchronous is not needed: only operators' events come here, never one line per request (that is
// the access log's, dataplane/telemetry). Never pass a secret or a prompt.
enum class Level { kDebug, kInfo, kWarn, kError };
Result<void> SetLevel(std::string_view name);  // debug, info, warn, error

struct Field {
  std::string_view name;
  std::string value;
  bool number = false;  // written without quotes
  Field(std::string_view n, std::string v) : name(n), value(std::move(v)) {}
  Field(std::string_view n, std::string_view v) : name(n), value(v) {}
  Field(std::string_view n, const char* v) : name(n), value(v) {}
  Field(std::string_view n, int64_t v) : name(n), value(std::to_string(v)), number(true) {}
  Field(std::string_view n, int v) : name(n), value(std::to_string(v)), number(true) {}
  Field(std::string_view n, uint64_t v) : name(n), value(std::to_string(v)), number(true) {}
};
void Write(Level level, std::string_view message, std::initializer_list<Field> fields = {});
inline void Info(std::string_view m, std::initializer_list<Field> f = {}) {
  Write(Level::kInfo, m, f);
}
inline void Warn(std::string_view m, std::initializer_list<Field> f = {}) {
  Write(Level::kWarn, m, f);
}
inline void Fault(std::string_view m, std::initializer_list<Field> f = {}) {
  Write(Level::kError, m, f);
}
inline void Debug(std::string_view m, std::initializer_list<Field> f = {}) {
  Write(Level::kDebug, m, f);
}

}  // namespace spillway::log
