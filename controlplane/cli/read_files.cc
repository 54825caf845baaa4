#include "controlplane/cli/read_files.h"

#include <algorithm>
#include <format>
#include <istream>
#include <iterator>
#include <utility>

#include "common/config/resource.h"
#include "common/config/validate.h"
#include "controlplane/cli/table.h"

namespace spillway::cli {
namespace {

constexpr size_t kInputBytesMax = size_t{16} << 20;

config::LoadOptions OptionsFor(Secrets secrets) {
  config::LoadOptions options;
  if (secrets == Secrets::kResolved) options.references = config::SystemReferences();
  return options;
}

Answer<std::string> ReadAll(std::istream& in) {
  std::string text(kInputBytesMax + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad()) return FailWith("cannot read standard input");
  // One byte over the limit is enough for the parser to refuse it.
  text.resize(static_cast<size_t>(in.gcount()));
  return text;
}

}  // namespace

Answer<config::LoadResult> ReadConfiguration(Session& session,
                                             const std::vector<std::string>& paths,
                                             Secrets secrets) {
  if (paths.empty()) {
    return FailUsage("say what to read: -f FILE, -f FOLDER, or -f - for standard input");
  }
  const config::LoadOptions options = OptionsFor(secrets);
  if (std::ranges::contains(paths, "-")) {
    if (paths.size() > 1) return FailUsage("-f - stands alone");
    SW_TRY(const std::string text, ReadAll(session.in()));
    return config::LoadYaml(text, "stdin", options);
  }
  SW_TRY(config::LoadResult loaded, config::LoadPaths(paths, options));
  return loaded;
}

Places PlacesOf(const config::Unvalidated& config) {
  Places places;
  for (size_t i = 0; i < config.resources.size() && i < config.places.size(); ++i) {
    const v1::Resource& resource = config.resources[i];
    places.emplace(
        std::format("{}/{}", config::NameOf(config::KindOf(resource)), config::NameOf(resource)),
        config.places[i]);
  }
  return places;
}

std::string ViolationsText(const std::vector<v1::Violation>& violations, const Places& places) {
  std::string text;
  for (const v1::Violation& violation : violations) {
    std::string line = config::Describe(violation);
    // What was found while reading names its own line already.
    const auto place = places.find(violation.resource());
    const bool placed = place != places.end() &&
                        line.contains("(" + place->second.substr(0, place->second.rfind(':') + 1));
    if (place != places.end() && !placed) line += std::format(" ({})", place->second);
    text += Printable(line) + "\n";
  }
  return text;
}

std::string Problems(size_t count) {
  return std::format("{} problem{}", count, count == 1 ? "" : "s");
}

}  // namespace spillway::cli
