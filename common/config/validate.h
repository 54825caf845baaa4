#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/config/load.h"
#include "spillway/v1/admin.pb.h"
#include "spillway/v1/resources.pb.h"

namespace spillway::config {

// A set of resources that holds together: only Validate makes one.
struct Validation;
struct ValidateOptions;

class Validated {
 public:
  const std::vector<v1::Resource>& resources() const { return resources_; }

 private:
  friend Validation Validate(std::vector<v1::Resource> resources, const ValidateOptions& options);
  std::vector<v1::Resource> resources_;
};

// Checks a whole state (what is stored, with a change applied): names, required fields, ranges,
// URLs, references between resources, cyclic fallbacks and downgrades, empty credentials, models
// that nothing prices, duplicate key digests. All violations, in the order of the resources.
struct Validation {
  std::vector<v1::Violation> violations;
  Validated validated;  // meaningful only without violations
  bool ok() const { return violations.empty(); }
};
struct ValidateOptions {
  // Keys are kept apart: scopes that name one are not checked against it.
  bool keys_elsewhere = false;
  // As files have them, before ${...} is replaced: a base_url that holds one is not judged.
  bool as_written = false;
};
Validation Validate(std::vector<v1::Resource> resources, const ValidateOptions& options = {});
// The same for what was just read, after its prices are resolved (prices.h): each violation also
// names its place ("... (gateway.yaml:12)").
Validation ValidateLoaded(Unvalidated config, const ValidateOptions& options = {});

// One line a violation: "model/gpt-5 price.input = -1: must be 0 or more".
std::string Describe(const v1::Violation& violation);
std::string Describe(const std::vector<v1::Violation>& violations);

}  // namespace spillway::config
