#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/config/load.h"
#include "controlplane/cli/session.h"
#include "spillway/v1/admin.pb.h"

namespace spillway::cli {

// Configuration as the command line names it: files, folders, "-" for stdin.
enum class Secrets : uint8_t {
  kResolved,    // ${...} is replaced where the CLI runs
  kReferences,  // stays as written
};
Answer<config::LoadResult> ReadConfiguration(Session& session,
                                             const std::vector<std::string>& paths,
                                             Secrets secrets);

// "file.yaml:12" of each resource, by "model/gpt-5".
using Places = std::map<std::string, std::string>;
Places PlacesOf(const config::Unvalidated& config);
// One line each; `places` adds where the resource stands when the line does not say it.
std::string ViolationsText(const std::vector<v1::Violation>& violations, const Places& places = {});
std::string Problems(size_t count);  // "1 problem", "3 problems"

}  // namespace spillway::cli
