#include "controlplane/publish/streams.h"

#include <string>

#include "common/subjects.h"

namespace spillway {
namespace {

constexpr int64_t kControlBytesMax = 1 << 20;

}  // namespace

StreamSpec ControlStream() {
  return {.name = std::string(subjects::kControlStream),
          .subjects = {std::string(subjects::kEpoch)},
          .bytes_max = kControlBytesMax,
          .messages_per_subject_max = 1,
          .allow_direct = true};
}

StreamSpec ConfigStream(const StreamLimits& limits) {
  return {.name = std::string(subjects::kConfigStream),
          .subjects = {std::string(subjects::kConfigAll)},
          .bytes_max = limits.config_bytes_max,
          .messages_per_subject_max = 1,
          .allow_direct = true};
}

StreamSpec UsageStream(const StreamLimits& limits) {
  return {.name = std::string(subjects::kUsageStream),
          .subjects = {std::string(subjects::kUsageAll)},
          .bytes_max = limits.usage_bytes_max,
          .discard_new = true};
}

Result<void> EnsureStreams(Bus& bus, const StreamLimits& limits) {
  SW_CHECK(bus.EnsureStream(ControlStream()));
  SW_CHECK(bus.EnsureStream(ConfigStream(limits)));
  return bus.EnsureStream(UsageStream(limits));
}

}  // namespace spillway
