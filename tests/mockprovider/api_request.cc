#include "tests/mockprovider/api_request.h"

#include <simdjson.h>

#include <algorithm>

namespace spillway::mock {
namespace {

namespace ondemand = simdjson::ondemand;

constexpr size_t kInputsMax = 2048;
constexpr int64_t kChoicesMax = 128;
constexpr int64_t kDimensionsMax = 4096;

// The values of a body that are looked at in a second step, as JSON text in the body.
struct RawValues {
  std::string_view messages, tools, tool_choice, prompt, input;
};

simdjson::padded_string_view Padded(std::string_view text) {
  const size_t readable = text.size() + simdjson::SIMDJSON_PADDING;
  return simdjson::padded_string_view(text.data(), text.size(), readable);
}

// A part of a padded body is padded too. One parser per depth: a document lives in its parser.
bool Open(std::string_view text, ondemand::document& document) {
  thread_local ondemand::parser parser;
  return !text.empty() && parser.iterate(Padded(text)).get(document) == simdjson::SUCCESS;
}

std::unexpected<Error> Refuse(std::string message, std::string param) {
  return Fail(ErrorCode::kInvalidRequest, std::move(message), std::move(param));
}

int64_t TokensOf(std::string_view json) { return static_cast<int64_t>(json.size() + 3) / 4; }

void ReadStreamOptions(ondemand::value value, ApiRequest& request) {
  ondemand::object options;
  bool flag = false;
  if (value.get_object().get(options) != simdjson::SUCCESS) return;
  if (options["include_usage"].get(flag) == simdjson::SUCCESS) request.include_usage = flag;
}

bool TakeRaw(std::string_view key, ondemand::value value, RawValues& raw) {
  std::string_view* place = key == "messages"      ? &raw.messages
                            : key == "tools"       ? &raw.tools
                            : key == "tool_choice" ? &raw.tool_choice
                            : key == "prompt"      ? &raw.prompt
                            : key == "input"       ? &raw.input
                                                   : nullptr;
  if (place == nullptr) return false;
  std::ignore = value.raw_json().get(*place);
  return true;
}

// Members of other types than OpenAI's are ignored, except for those that decide.
Result<void> ReadMember(std::string_view key, ondemand::value value, ApiRequest& request,
                        int64_t& choices) {
  std::string_view text;
  if (key == "model") {
    if (value.get(text) != simdjson::SUCCESS) return Refuse("'model' must be a string", "model");
    request.model = text;
  } else if (key == "stream") {
    std::ignore = value.get(request.stream);
  } else if (key == "stream_options") {
    ReadStreamOptions(value, request);
  } else if (key == "service_tier") {
    std::string_view tier;
    if (value.get(tier) == simdjson::SUCCESS) request.service_tier = tier;
  } else if (key == "n") {
    std::ignore = value.get(choices);
    if (choices < 1 || choices > kChoicesMax) return Refuse("'n' must be 1 to 128", "n");
  } else if (key == "max_tokens" || key == "max_completion_tokens") {
    std::ignore = value.get(request.tokens_max);
  } else if (key == "dimensions") {
    std::ignore = value.get(request.dimensions);
    if (request.dimensions < 1 || request.dimensions > kDimensionsMax) {
      return Refuse("'dimensions' must be 1 to 4096", "dimensions");
    }
  } else if (key == "encoding_format") {
    request.base64 = value.get(text) == simdjson::SUCCESS && text == "base64";
  }
  return {};
}

Result<void> ReadMembers(std::string_view body, ApiRequest& request, RawValues& raw,
                         int64_t& choices) {
  thread_local ondemand::parser parser;
  ondemand::document document;
  ondemand::object object;
  if (parser.iterate(Padded(body)).get(document) || document.get_object().get(object)) {
    return Refuse("the body is not a JSON object", "");
  }
  for (auto member : object) {
    std::string_view key;
    ondemand::value value;
    if (member.unescaped_key().get(key) || member.value().get(value)) {
      return Refuse("the body is not valid JSON", "");
    }
    if (!TakeRaw(key, value, raw)) SW_CHECK(ReadMember(key, value, request, choices));
  }
  return document.is_alive() ? Result<void>() : Refuse("the body is not valid JSON", "");
}

bool UserSpokeLast(std::string_view messages) {
  ondemand::document document;
  ondemand::array list;
  if (!Open(messages, document) || document.get_array().get(list)) return false;
  bool user = false;
  for (auto element : list) {
    std::string_view role;
    user = element["role"].get(role) == simdjson::SUCCESS && role == "user";
  }
  return user;
}

// The first member's name of an object, when it needs no escapes; else "query".
std::string FirstName(ondemand::object object) {
  for (auto member : object) {
    std::string_view key;
    if (member.escaped_key().get(key) != simdjson::SUCCESS) break;
    const bool plain =
        std::ranges::all_of(key, [](char c) { return c > ' ' && c < 127 && c != '\\'; });
    if (plain && !key.empty()) return std::string(key);
    break;
  }
  return "query";
}

// The function that tool_choice names, or the first one that is offered.
void ReadTool(std::string_view tools, std::string_view wanted, ApiRequest& request) {
  ondemand::document document;
  ondemand::array list;
  if (!Open(tools, document) || document.get_array().get(list)) return;
  for (auto element : list) {
    ondemand::object function;
    std::string_view name;
    if (element["function"].get(function) || function["name"].get(name)) continue;
    if (!wanted.empty() && name != wanted) continue;
    request.tool_name = name;
    request.tool_parameter = "query";
    ondemand::object properties;
    if (!function["parameters"]["properties"].get(properties)) {
      request.tool_parameter = FirstName(properties);
    }
    request.wants_tool_call = true;
    return;
  }
}

std::string NamedTool(std::string_view tool_choice) {
  ondemand::document document;
  std::string_view name;
  if (!tool_choice.starts_with('{') || !Open(tool_choice, document)) return {};
  if (document["function"]["name"].get(name) != simdjson::SUCCESS) return {};
  return std::string(name);
}

Result<void> ReadChat(const RawValues& raw, ApiRequest& request) {
  if (raw.messages.size() < 3 || raw.messages[0] != '[') {
    return Refuse("'messages' must be an array with at least one message", "messages");
  }
  request.prompt_tokens = TokensOf(raw.messages);
  if (raw.tools.empty() || raw.tool_choice == "\"none\"" || !UserSpokeLast(raw.messages)) return {};
  ReadTool(raw.tools, NamedTool(raw.tool_choice), request);
  return {};
}

// The elements of an array of prompts or inputs; one element for a string or an array of tokens.
std::vector<std::string> Elements(std::string_view json) {
  ondemand::document document;
  ondemand::array list;
  std::vector<std::string> elements;
  if (!json.starts_with('[') || !Open(json, document) || document.get_array().get(list)) {
    return {std::string(json)};
  }
  for (auto element : list) {
    std::string_view raw;
    if (element.raw_json().get(raw) != simdjson::SUCCESS) break;
    if (!raw.starts_with('"') && !raw.starts_with('[')) return {std::string(json)};
    elements.emplace_back(raw);
    if (elements.size() > kInputsMax) break;
  }
  return elements;
}

Result<void> ReadEmbeddings(const RawValues& raw, ApiRequest& request) {
  if (raw.input.empty() || raw.input == "null") return Refuse("'input' is missing", "input");
  request.prompt_tokens = TokensOf(raw.input);
  request.inputs = Elements(raw.input);
  if (!request.inputs.empty() && request.inputs.size() <= kInputsMax) return {};
  return Refuse("'input' must have 1 to 2048 elements", "input");
}

}  // namespace

Result<ApiRequest> ParseApiRequest(Operation operation, std::string_view body) {
  ApiRequest request;
  request.operation = operation;
  RawValues raw;
  SW_CHECK(ReadMembers(body, request, raw, request.choices));
  if (request.model.empty()) return Refuse("you must provide a model parameter", "model");
  switch (operation) {
    case Operation::kChat:
      SW_CHECK(ReadChat(raw, request));
      break;
    case Operation::kCompletions:
      request.prompt_tokens = TokensOf(raw.prompt);
      request.choices *= static_cast<int64_t>(std::max<size_t>(1, Elements(raw.prompt).size()));
      if (request.choices > kChoicesMax) return Refuse("too many prompts", "prompt");
      break;
    case Operation::kEmbeddings:
      SW_CHECK(ReadEmbeddings(raw, request));
      request.stream = false;
      break;
  }
  return request;
}

}  // namespace spillway::mock
