#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "controlplane/cli/table.h"
#include "controlplane/cli/value.h"
#include "spillway/v1/resources.pb.h"

namespace spillway::cli {

// Rows of one kind, with the columns that tell it best.
Table TableOf(v1::Kind kind, const std::vector<v1::Resource>& resources, int64_t now_ms);
// The message inside, for programs; a key also says its "state".
Value ResourceValue(const v1::Resource& resource, int64_t now_ms);
// "team=support, each user"; of no field: "everything".
std::string ScopeText(const v1::Scope& scope);
// active, no secret, revoked, expired.
std::string KeyState(const v1::Key& key, int64_t now_ms);
Value KeyValue(const v1::Key& key, int64_t now_ms);

}  // namespace spillway::cli
