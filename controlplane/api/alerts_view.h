#pragma once

#include <functional>

#include "common/error.h"
#include "spillway/v1/admin.pb.h"

namespace spillway::api {

// What the API needs of alerts, wired by main. Both may be called from many threads at once; where
// they are absent, alerts are not available.
struct AlertsView {
  std::function<Result<v1::ListAlertsResponse>(const v1::ListAlertsRequest&)> list;
  // Blocks until the sink has answered, or for a bounded time.
  std::function<Result<v1::TestAlertSinkResponse>(const v1::TestAlertSinkRequest&)> test;

  Result<v1::ListAlertsResponse> List(const v1::ListAlertsRequest& request) const {
    if (!list) return Absent();
    return list(request);
  }
  Result<v1::TestAlertSinkResponse> Test(const v1::TestAlertSinkRequest& request) const {
    if (!test) return Absent();
    return test(request);
  }

 private:
  static std::unexpected<Error> Absent() {
    return Fail(ErrorCode::kUnavailable, "this control plane sends no alerts");
  }
};

}  // namespace spillway::api
