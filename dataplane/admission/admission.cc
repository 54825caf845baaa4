#include "dataplane/admission/admission.h"

#include <algorithm>
#include <format>

namespace spillway {
namespace {

constexpr size_t kShownBytesMax = 128;

// By what it is addressed as: a route through its own name, a model through its own.
bool IsAllowed(const KeySpec& key, const RouteSpec& route) {
  if (key.routes.empty() && key.models.empty()) return true;
  return std::ranges::binary_search(route.is_model ? key.models : key.routes, route.name);
}

// The client's own text, cut where UTF-8 may be cut; JSON escaping is the answer's.
std::string_view Shown(std::string_view model) {
  if (model.size() <= kShownBytesMax) return model;
  size_t end = kShownBytesMax;
  while (end > 0 && (static_cast<unsigned char>(model[end]) & 0xC0) == 0x80) --end;
  return model.substr(0, end);
}

}  // namespace

Result<std::shared_ptr<const RouteSpec>> Admission::Admit(const Caller& caller,
                                                          const Snapshot& snapshot,
                                                          std::string_view model) {
  std::shared_ptr<const RouteSpec> route = snapshot.FindRoute(model);
  if (route != nullptr && IsAllowed(caller.key(), *route)) return route;
  return Fail(
      ErrorCode::kModelNotFound,
      std::format("The model '{}' does not exist, or this API key may not use it. GET /v1/models "
                  "lists what it may use.",
                  Shown(model)),
      "model");
}

std::vector<std::string_view> Admission::Allowed(const Caller& caller, const Snapshot& snapshot) {
  std::vector<std::string_view> names;
  for (const auto& route : snapshot.routes())
    if (IsAllowed(caller.key(), *route)) names.emplace_back(route->name);
  return names;
}

}  // namespace spillway
