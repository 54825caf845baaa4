#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "dataplane/exchange/caller.h"
#include "dataplane/snapshot/snapshot.h"

namespace spillway {

// Whether a caller may use what it names. Stateless; any thread.
class Admission {
 public:
  // The route or model named, when the caller's allow-lists permit it; kModelNotFound both for an
  // unknown name and for one of somebody else (nobody learns what exists), naming what to do.
  static Result<std::shared_ptr<const RouteSpec>> Admit(const Caller& caller,
                                                        const Snapshot& snapshot,
                                                        std::string_view model);
  // Everything the caller may name, sorted.
  static std::vector<std::string_view> Allowed(const Caller& caller, const Snapshot& snapshot);
};

}  // namespace spillway
