#include "common/log.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <mutex>

#include "common/clock.h"
#include "common/json.h"
#include "common/utc.h"

namespace spillway::log {
namespace {

// A runaway text must not fill the operator's disk.
constexpr size_t kValueBytesMax = 4096;
constexpr std::array<std::string_view, 4> kNames = {"debug", "info", "warn", "error"};

std::atomic<Level> threshold{Level::kInfo};

std::string_view Bounded(std::string_view text) { return text.substr(0, kValueBytesMax); }

// One line, one write where the kernel takes it whole; the lock keeps the rest of a cut one
// together.
void WriteLine(std::string_view line) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  while (!line.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // nobody reads: there is no better place to say so
    line.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace

Result<void> SetLevel(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] != name) continue;
    threshold = static_cast<Level>(i);
    return {};
  }
  return Fail(ErrorCode::kInvalidConfig,
              "log level \"" + std::string(name) + "\": must be debug, info, warn or error");
}

void Write(Level level, std::string_view message, std::initializer_list<Field> fields) {
  if (level < threshold.load(std::memory_order_relaxed)) return;
  std::string line;
  JsonWriter json(line);
  json.BeginObject()
      .Field("time", FormatUtc(SystemClock().WallMs()))
      .Field("level", kNames[static_cast<size_t>(level)])
      .Field("message", Bounded(message));
  for (const Field& field : fields) {
    json.Key(field.name);
    if (field.number) {
      json.Raw(field.value);
    } else {
      json.Value(Bounded(field.value));
    }
  }
  json.EndObject();
  line += '\n';
  WriteLine(line);
}

}  // namespace spillway::log
