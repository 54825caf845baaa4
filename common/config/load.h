#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "spillway/v1/admin.pb.h"
#include "spillway/v1/resources.pb.h"

namespace spillway::config {

// What a configuration says, as written: not checked against itself yet.
struct Unvalidated {
  std::vector<v1::Resource> resources;
  // Where each came from, "gateway.yaml:12", parallel to resources.
  std::vector<std::string> places;
};

// How "${env:NAME}" and "${file:PATH}" are resolved; tests pass their own.
using ReadReference =
    std::function<Result<std::string>(std::string_view scheme, std::string_view name)>;
// The process's environment, and files of at most 64 KiB without their final line feeds.
ReadReference SystemReferences();

struct LoadOptions {
  ReadReference references = {};  // empty: references stay unresolved (validate without secrets)
  bool standalone = false;        // keys may carry secret or secret_sha256
};

// One YAML text. Unknown fields, wrong types, aliases that explode and documents over 16 MiB are
// violations; every violation found is reported, not only the first. Limits: depth 32.
struct LoadResult {
  Unvalidated config;
  std::vector<v1::Violation> violations;
};
LoadResult LoadYaml(std::string_view text, std::string_view file_name, const LoadOptions& options);
// Files and folders (their *.yaml and *.yml, sorted), merged. A resource named twice is a
// violation.
Result<LoadResult> LoadPaths(const std::vector<std::string>& paths, const LoadOptions& options);

// A secret is written as "${env:NAME}" or "${file:PATH}"; as a literal, which is then shown as
// "(literal)"; or as {reference: TEXT}, which means the value already stored under that text (so
// what RenderYaml wrote never turns into a secret itself).

// The YAML form of resources, for `spillway get -o yaml`; what LoadYaml reads back to the same.
std::string RenderYaml(const std::vector<v1::Resource>& resources);

}  // namespace spillway::config
