#pragma once

#include <vector>

#include "common/config/validate.h"
#include "spillway/v1/snapshot.pb.h"

namespace spillway::config {

// What a snapshot holds: one entry per resource, in the order of kinds and names, so that the same
// state always gives the same bytes. Secrets travel as they are in the resources: the control plane
// seals them before they get here, a standalone data plane keeps them in memory only.
std::vector<v1::Entry> ToEntries(const Validated& config);

}  // namespace spillway::config
