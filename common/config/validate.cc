#include "common/config/validate.h"

#include <algorithm>
#include <format>
#include <unordered_map>

#include "common/config/findings.h"
#include "common/config/prices.h"
#include "common/config/resource.h"
#include "common/config/violations.h"

namespace spillway::config {
namespace {

std::string LabelOf(const v1::Resource& resource) {
  return std::format("{}/{}", NameOf(KindOf(resource)), NameOf(resource));
}

}  // namespace

void Findings::Add(size_t index, std::string field, std::string_view value, std::string allowed) {
  found_.push_back({index, std::move(field), Shown(value), std::move(allowed)});
}

std::vector<v1::Violation> Findings::Sorted() && {
  std::ranges::stable_sort(found_, {}, &Finding::index);
  ViolationList violations;
  for (Finding& finding : found_) {
    violations.Add(LabelOf(resources_[finding.index]), finding.field, finding.value,
                   std::move(finding.allowed));
  }
  return std::move(violations).Take();
}

Validation Validate(std::vector<v1::Resource> resources, const ValidateOptions& options) {
  Validation validation;
  Findings findings(resources);
  CheckFields(resources, options.as_written, findings);
  CheckReferences(resources, options.keys_elsewhere, findings);
  CheckFallbackCycles(resources, findings);
  CheckDowngradeCycles(resources, findings);
  validation.violations = std::move(findings).Sorted();
  if (validation.ok()) validation.validated.resources_ = std::move(resources);
  return validation;
}

Validation ValidateLoaded(Unvalidated config, const ValidateOptions& options) {
  std::unordered_map<std::string, std::string> places;
  const std::vector<std::string> written = std::move(config.places);
  ResolvePrices(config.resources);
  std::vector<std::string> labels;
  labels.reserve(written.size());
  for (const v1::Resource& resource : config.resources) labels.push_back(LabelOf(resource));
  Validation validation = Validate(std::move(config.resources), options);
  if (validation.ok()) return validation;
  for (size_t i = 0; i < std::min(labels.size(), written.size()); ++i)
    places.try_emplace(std::move(labels[i]), written[i]);
  for (v1::Violation& violation : validation.violations) {
    const auto found = places.find(violation.resource());
    if (found == places.end()) continue;
    violation.set_allowed(std::format("{} ({})", violation.allowed(), found->second));
  }
  return validation;
}

}  // namespace spillway::config
