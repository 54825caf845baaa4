#include "tests/mockprovider/routes.h"

#include "common/json.h"
#include "tests/mockprovider/answer.h"

namespace spillway::mock {
namespace {

RouteReply NotFound(std::string_view what) {
  return {.status = 404, .body = ErrorBody(404, "Unknown " + std::string(what) + ".", "")};
}

RouteReply ServeBehaviour(BehaviourBook& book, const HttpRequest& request) {
  if (request.method == "GET") return {.body = book.Render()};
  if (request.method == "PUT" || request.method == "POST") {
    if (auto put = book.Put(request.body); !put) {
      return {.status = 400, .body = ErrorBody(400, put.error().message, put.error().param)};
    }
    return {.body = book.Render()};
  }
  if (request.method != "DELETE") return NotFound("method");
  const std::string_view model = request.QueryValue("model");
  model.empty() ? book.Clear() : book.Remove(model);
  return {.body = book.Render()};
}

void WriteModel(JsonWriter& json, std::string_view id) {
  json.BeginObject().Field("id", id).Field("object", "model").Field("created", 1760000000);
  json.Field("owned_by", "mock").EndObject();
}

}  // namespace

RouteReply ServeMock(World& world, const HttpRequest& request) {
  if (request.path == "/mock/behaviour") return ServeBehaviour(world.book, request);
  if (request.path == "/mock/ledger" && request.method == "DELETE") {
    world.ledger.Clear();
    return {.body = "{}\n"};
  }
  if (request.path == "/mock/ledger") {
    return {.content_type = "application/x-ndjson", .body = world.ledger.RenderLines()};
  }
  if (request.path == "/mock/stats") return {.body = world.ledger.RenderStats()};
  return NotFound("path");
}

RouteReply ServeModels(World& world, std::string_view method, std::string_view path) {
  constexpr std::string_view kModels[] = {"mock-large", "mock-small", "mock-embedding"};
  if (method != "GET" || !path.starts_with("/models")) return NotFound("path");
  path.remove_prefix(std::string_view("/models").size());
  std::string body;
  JsonWriter json(body);
  if (!path.empty()) {
    if (path.size() < 2 || path[0] != '/') return NotFound("path");
    const std::shared_ptr<Plan> plan = world.book.Resolve(path.substr(1));
    if (plan->faulty.status >= 400) {
      return {.status = plan->faulty.status, .body = ErrorBody(plan->faulty)};
    }
    WriteModel(json, path.substr(1));
    return {.body = body};
  }
  json.BeginObject().Field("object", "list").Key("data").BeginArray();
  for (const std::string_view model : kModels) WriteModel(json, model);
  for (const std::string& model : world.book.Models()) WriteModel(json, model);
  json.EndArray().EndObject();
  return {.body = body};
}

}  // namespace spillway::mock
