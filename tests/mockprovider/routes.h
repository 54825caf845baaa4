#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tests/mockprovider/http_parse.h"
#include "tests/mockprovider/loop.h"

namespace spillway::mock {

struct RouteReply {
  int64_t status = 200;
  std::string_view content_type = "application/json";
  std::string body;
};

// /mock/behaviour (GET, PUT, DELETE [?model=NAME]), /mock/ledger (GET, DELETE), /mock/stats (GET).
RouteReply ServeMock(World& world, const HttpRequest& request);
// GET /models and /models/{id}; everything else is a 404.
RouteReply ServeModels(World& world, std::string_view method, std::string_view path);

}  // namespace spillway::mock
