// Any text as a configuration file: reading and validating it must end, without a crash or an
// exception, and what is accepted must survive being written and read again.
#include <google/protobuf/util/message_differencer.h>

#include <cstdio>
#include <cstdlib>
#include <print>
#include <string_view>

#include "common/config/compile.h"
#include "common/config/load.h"
#include "common/config/resource.h"
#include "common/config/validate.h"

namespace {

using spillway::Result;
namespace config = spillway::config;
namespace v1 = spillway::v1;

Result<std::string> ReadReference(std::string_view, std::string_view name) {
  if (name.empty()) return spillway::Fail(spillway::ErrorCode::kUnavailable, "is not set");
  return std::string(name);
}

void Require(bool good, const char* what, const std::string& text) {
  if (good) return;
  std::println(stderr, "{}\n{}", what, text);
  std::abort();
}

void CheckRoundTrip(const std::vector<v1::Resource>& resources) {
  const std::string yaml = config::RenderYaml(resources);
  const config::LoadResult again = config::LoadYaml(yaml, "again.yaml", {});
  Require(again.violations.empty(), config::Describe(again.violations).c_str(), yaml);
  Require(config::RenderYaml(again.config.resources) == yaml, "rendered differently", yaml);
}

void CheckEntries(const config::Validated& validated) {
  for (const v1::Entry& entry : config::ToEntries(validated)) {
    const auto resource = config::FromEntry(entry);
    Require(resource.has_value(), "an entry is not readable", entry.ShortDebugString());
    Require(config::ToEntry(*resource).bytes() == entry.bytes(), "entry bytes differ",
            entry.ShortDebugString());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const bool standalone = size % 2 == 1;
  config::LoadResult loaded =
      config::LoadYaml(text, "fuzz.yaml", {.references = &ReadReference, .standalone = standalone});
  Require(loaded.config.places.size() == loaded.config.resources.size(), "places", "");
  (void)config::Describe(loaded.violations);
  const bool readable = loaded.violations.empty();
  const config::Validation validation = config::ValidateLoaded(std::move(loaded.config));
  (void)config::Describe(validation.violations);
  if (!readable || !validation.ok()) return 0;
  CheckEntries(validation.validated);
  if (!standalone) CheckRoundTrip(validation.validated.resources());
  return 0;
}
