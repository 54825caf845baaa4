#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "common/error.h"
#include "spillway/v1/admin.pb.h"

namespace spillway::api {

// What the API needs of the fleet, wired by main (publish stands beside this folder, not below it).
// All three may be called from many threads at once.
struct FleetView {
  std::function<v1::ListFleetResponse()> list;
  // Blocks until every connected data plane runs `revision` or newer or has refused it, the time is
  // over, or `cancelled`, asked twice a second, says so.
  std::function<v1::WaitActiveResponse(int64_t revision, int64_t timeout_ms,
                                       const std::function<bool()>& cancelled)>
      wait_active;
  std::function<Result<v1::RetireInstanceResponse>(const v1::RetireInstanceRequest&)> retire;
};

// Says whether this process may write, and why not: it holds the epoch, no restore is undecided,
// ...
using MayWrite = std::function<Result<void>()>;

}  // namespace spillway::api
