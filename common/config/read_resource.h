#pragma once

#include <optional>
#include <string>

#include "common/config/section.h"
#include "common/config/yaml_tree.h"
#include "spillway/v1/resources.pb.h"

namespace spillway::config {

// One entry of a section such as `models:`, number `index` in it. What is wrong with it becomes
// violations; nullopt: it has no usable name, so nothing can be said about it any further.
std::optional<v1::Resource> ReadResource(v1::Kind kind, const YamlNode& node, size_t index,
                                         Reading& reading);

}  // namespace spillway::config
