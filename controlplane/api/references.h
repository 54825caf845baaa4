#pragma once

#include <vector>

#include "controlplane/store/config_store.h"
#include "spillway/v1/resources.pb.h"

namespace spillway::api {

// Every resource that this one may name. A fallback may be a model or a route: both are listed.
std::vector<EntryKey> ReferencesOf(const v1::Resource& resource);

}  // namespace spillway::api
