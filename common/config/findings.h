#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "spillway/v1/admin.pb.h"
#include "spillway/v1/resources.pb.h"

namespace spillway::config {

// What is wrong with a set of resources, collected by several passes over it and given back in the
// order of the resources. Refers to the set; not thread-safe.
class Findings {
 public:
  explicit Findings(const std::vector<v1::Resource>& resources) : resources_(resources) {}

  // `index` is the resource's; `value` is never a secret.
  void Add(size_t index, std::string field, std::string_view value, std::string allowed);
  bool empty() const { return found_.empty(); }
  std::vector<v1::Violation> Sorted() &&;

 private:
  struct Finding {
    size_t index;
    std::string field;
    std::string value;
    std::string allowed;
  };
  const std::vector<v1::Resource>& resources_;
  std::vector<Finding> found_;
};

// The passes. Each looks at one thing in every resource. `as_written`: as in ValidateOptions.
void CheckFields(const std::vector<v1::Resource>& resources, bool as_written, Findings& findings);
// `keys_elsewhere`: keys are not among the resources, so none is missed.
void CheckReferences(const std::vector<v1::Resource>& resources, bool keys_elsewhere,
                     Findings& findings);
void CheckDowngradeCycles(const std::vector<v1::Resource>& resources, Findings& findings);
void CheckFallbackCycles(const std::vector<v1::Resource>& resources, Findings& findings);

}  // namespace spillway::config
