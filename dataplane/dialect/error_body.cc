#include <simdjson.h>

#include "common/json.h"
#include "dataplane/dialect/openai.h"

namespace spillway::openai {
namespace {

constexpr size_t kErrorBodyMax = size_t{64} * 1024;
constexpr size_t kErrorTextMax = size_t{2} * 1024;

void FieldOrNull(JsonWriter& json, std::string_view key, std::string_view value) {
  json.Key(key);
  if (value.empty()) {
    json.Null();
  } else {
    json.Value(value);
  }
}

// Providers put numbers where OpenAI has strings: `code` is the HTTP status in several servers.
std::string TextOf(simdjson::simdjson_result<simdjson::dom::element> element) {
  std::string_view text;
  int64_t number = 0;
  if (element.get(text) == simdjson::SUCCESS) return std::string(text.substr(0, kErrorTextMax));
  if (element.get(number) == simdjson::SUCCESS) return std::to_string(number);
  return {};
}

// {"error": {...}}, {"error": "text"}, the bare object of vLLM, {"detail": "text"} of FastAPI.
ProviderError ReadObject(const simdjson::dom::object& object) {
  simdjson::dom::object inner;
  if (object["error"].get(inner) != simdjson::SUCCESS) inner = object;
  ProviderError error{.message = TextOf(inner["message"]),
                      .type = TextOf(inner["type"]),
                      .code = TextOf(inner["code"])};
  if (error.message.empty()) error.message = TextOf(object["error"]);
  if (error.message.empty()) error.message = TextOf(object["detail"]);
  return error;
}

}  // namespace

ProviderError ScanError(std::string_view body) {
  if (body.empty() || body.size() > kErrorBodyMax) return {};
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  if (parser.parse(simdjson::padded_string(body)).get(root) != simdjson::SUCCESS) return {};
  simdjson::dom::array list;
  if (root.get(list) == simdjson::SUCCESS && list.at(0).get(root) != simdjson::SUCCESS) return {};
  simdjson::dom::object object;
  if (root.get(object) != simdjson::SUCCESS) return {};
  return ReadObject(object);
}

std::string RenderError(const Error& error) {
  const ErrorInfo& info = InfoOf(error.code);
  std::string out;
  JsonWriter json(out);
  // Clients show the message as it is: it is a string even when there is nothing to say.
  json.BeginObject().Key("error").BeginObject().Field("message", error.message);
  FieldOrNull(json, "type", info.openai_type);
  FieldOrNull(json, "param", error.param);
  FieldOrNull(json, "code", info.name);
  json.EndObject().EndObject();
  return out;
}

std::string RenderStreamError(const Error& error) { return "data: " + RenderError(error) + "\n\n"; }

namespace {

// The time of creation is not known to a gateway, and the field is required.
void WriteModel(JsonWriter& json, std::string_view name) {
  json.BeginObject().Field("id", name).Field("object", "model").Field("created", 0);
  json.Field("owned_by", "spillway").EndObject();
}

}  // namespace

std::string RenderModel(std::string_view name) {
  std::string out;
  JsonWriter json(out);
  WriteModel(json, name);
  return out;
}

std::string RenderModelList(const std::vector<std::string_view>& names) {
  std::string out;
  JsonWriter json(out);
  json.BeginObject().Field("object", "list").Key("data").BeginArray();
  for (const std::string_view name : names) WriteModel(json, name);
  json.EndArray().EndObject();
  return out;
}

}  // namespace spillway::openai
