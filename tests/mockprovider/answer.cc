#include "tests/mockprovider/answer.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>

#include "common/json.h"

namespace spillway::mock {
namespace {

// When every answer was made: the mock provider's output depends on its input only.
constexpr std::string_view kCreated = "1760000000";

void AppendNumber(std::string& out, int64_t number) {
  std::array<char, 24> digits;
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), number);
  out.append(digits.data(), end);
}

void AppendText(std::string& out, const Answer& answer) {
  const int64_t width = TokenWidth(answer);
  for (int64_t i = 0; i < answer.tokens; ++i) AppendToken(out, i, width);
}

void AppendMessage(std::string& out, const Answer& answer) {
  if (!answer.request.wants_tool_call) {
    out += R"({"role":"assistant","content":")";
    AppendText(out, answer);
    out += R"(","refusal":null,"annotations":[]})";
    return;
  }
  out +=
      R"({"role":"assistant","content":null,"refusal":null,"annotations":[],"tool_calls":[{"id":"call_)";
  out += answer.id;
  out += R"(","type":"function","function":{"name":)";
  AppendJsonString(out, answer.request.tool_name);
  out += R"(,"arguments":")";
  for (int64_t i = 0; i < answer.tokens; ++i) AppendArguments(out, answer, i);
  out += R"("}}]})";
}

void AppendChoices(std::string& out, const Answer& answer) {
  for (int64_t i = 0; i < answer.request.choices; ++i) {
    out += i == 0 ? R"({"index":)" : R"(,{"index":)";
    AppendNumber(out, i);
    if (answer.request.operation == Operation::kChat) {
      out += R"(,"message":)";
      AppendMessage(out, answer);
    } else {
      out += R"(,"text":")";
      AppendText(out, answer);
      out += '"';
    }
    out += R"(,"logprobs":null,"finish_reason":")";
    out += FinishReason(answer);
    out += "\"}";
  }
}

// Components in [-1, 1) that depend on the input's bytes only.
std::vector<float> Embed(std::string_view input, int64_t dimensions) {
  uint64_t state = 0xcbf29ce484222325;
  for (const char c : input) state = (state ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  std::vector<float> vector(static_cast<size_t>(dimensions));
  for (float& component : vector) {
    state = state * 6364136223846793005 + 1442695040888963407;
    component = static_cast<float>(state >> 40) / static_cast<float>(1 << 23) - 1.0F;
  }
  return vector;
}

// Little-endian float32, as the SDKs expect it.
void AppendBase64(std::string& out, const std::vector<float>& vector) {
  static_assert(std::endian::native == std::endian::little);
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes(vector.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), vector.data(), bytes.size());
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t three = 0;
    for (size_t j = 0; j < 3; ++j) {
      three = three << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    }
    for (size_t j = 0; j < 4; ++j) {
      out += i + j <= bytes.size() ? kAlphabet[three >> (18 - 6 * j) & 63] : '=';
    }
  }
}

void AppendVector(std::string& out, const std::vector<float>& vector) {
  out += '[';
  for (size_t i = 0; i < vector.size(); ++i) {
    std::array<char, 48> digits;
    const auto [end, error] =
        std::to_chars(digits.data(), digits.data() + digits.size(), vector[i]);
    if (i > 0) out += ',';
    out.append(digits.data(), end);
  }
  out += ']';
}

void AppendEmbeddings(std::string& out, const Answer& answer) {
  out += R"({"object":"list","data":[)";
  for (size_t i = 0; i < answer.request.inputs.size(); ++i) {
    const std::vector<float> vector = Embed(answer.request.inputs[i], answer.request.dimensions);
    out += i == 0 ? "" : ",";
    out += R"({"object":"embedding","index":)";
    AppendNumber(out, static_cast<int64_t>(i));
    out += R"(,"embedding":)";
    if (answer.request.base64) {
      out += '"';
      AppendBase64(out, vector);
      out += '"';
    } else {
      AppendVector(out, vector);
    }
    out += '}';
  }
  out += R"(],"model":)";
  AppendJsonString(out, answer.request.model);
}

std::string_view Reason(int64_t status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 413:
      return "Content Too Large";
    case 429:
      return "Too Many Requests";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    default:
      return "Status";
  }
}

struct ErrorNames {
  std::string_view type, code, message;
};

ErrorNames NamesOf(int64_t status) {
  switch (status) {
    case 401:
      return {"invalid_request_error", "invalid_api_key", "Incorrect API key provided."};
    case 403:
      return {"invalid_request_error", "unsupported_country_region_territory", "Not here."};
    case 404:
      return {"invalid_request_error", "model_not_found", "The model does not exist."};
    case 429:
      return {"requests", "rate_limit_exceeded", "Rate limit reached."};
    case 503:
      return {"service_unavailable_error", "server_is_overloaded", "Overloaded."};
    default:
      if (status < 500) return {"invalid_request_error", "", "The request is not valid."};
      return {"server_error", "", "The server had an error."};
  }
}

std::string WriteError(std::string_view message, std::string_view type, std::string_view param,
                       std::string_view code) {
  std::string out;
  JsonWriter json(out);
  json.BeginObject().Key("error").BeginObject().Field("message", message).Field("type", type);
  json.Key("param");
  param.empty() ? json.Null() : json.Value(param);
  json.Key("code");
  code.empty() ? json.Null() : json.Value(code);
  json.EndObject().EndObject();
  return out;
}

}  // namespace

Answer MakeAnswer(ApiRequest request, const Behaviour& behaviour, std::string id) {
  Answer answer{.request = std::move(request), .behaviour = behaviour, .id = std::move(id)};
  if (answer.request.operation == Operation::kEmbeddings) return answer;
  answer.tokens = std::max<int64_t>(behaviour.tokens, 0);
  const int64_t most = answer.request.tokens_max;
  answer.limited = most >= 0 && most < answer.tokens;
  if (answer.limited) answer.tokens = most;
  // Arguments without a token would be no JSON.
  if (answer.request.wants_tool_call) answer.tokens = std::max<int64_t>(answer.tokens, 1);
  return answer;
}

int64_t TokenWidth(const Answer& answer) {
  return answer.tokens == 0 ? 0 : answer.behaviour.content_bytes / answer.tokens;
}

void AppendToken(std::string& out, int64_t index, int64_t width) {
  const size_t begin = out.size();
  out += "token";
  AppendNumber(out, index);
  const size_t size = out.size() - begin + 1;
  if (width > static_cast<int64_t>(size)) out.append(static_cast<size_t>(width) - size, 'x');
  out += ' ';
}

void AppendArguments(std::string& out, const Answer& answer, int64_t index) {
  if (index == 0) {
    out += R"({\")";
    out += answer.request.tool_parameter;
    out += R"(\":\")";
  }
  AppendToken(out, index, TokenWidth(answer));
  if (index + 1 == answer.tokens) out += R"(\"})";
}

TokenParts PartsOf(const Behaviour& behaviour, int64_t input, int64_t output) {
  const auto take = [](int64_t wanted, int64_t& left) {
    const int64_t part = std::clamp<int64_t>(wanted, 0, left);
    left -= part;
    return part;
  };
  TokenParts parts;
  parts.cached = take(behaviour.cached_tokens, input);
  parts.cache_write = take(behaviour.cache_write_tokens, input);
  parts.audio_input = take(behaviour.audio_input_tokens, input);
  parts.reasoning = take(behaviour.reasoning_tokens, output);
  parts.audio_output = take(behaviour.audio_output_tokens, output);
  return parts;
}

std::string ServiceTier(const ApiRequest& request, const Behaviour& behaviour) {
  if (!behaviour.service_tier.empty()) return behaviour.service_tier;
  const bool said = !request.service_tier.empty() && request.service_tier != "auto";
  return said ? request.service_tier : "default";
}

void AppendUsage(std::string& out, const Answer& answer) {
  const bool zero = answer.behaviour.explicit_zero_usage;
  const int64_t input = zero ? 0 : answer.request.prompt_tokens;
  const int64_t output = zero ? 0 : answer.output_tokens();
  out += R"({"prompt_tokens":)";
  AppendNumber(out, input);
  if (answer.request.operation != Operation::kEmbeddings) {
    out += R"(,"completion_tokens":)";
    AppendNumber(out, output);
  }
  out += R"(,"total_tokens":)";
  AppendNumber(out, input + output);
  if (answer.request.operation != Operation::kEmbeddings) {
    const TokenParts parts = PartsOf(answer.behaviour, input, output);
    out += R"(,"prompt_tokens_details":{"cached_tokens":)";
    AppendNumber(out, parts.cached);
    out += R"(,"cache_write_tokens":)";
    AppendNumber(out, parts.cache_write);
    out += R"(,"audio_tokens":)";
    AppendNumber(out, parts.audio_input);
    out += R"(},"completion_tokens_details":{"reasoning_tokens":)";
    AppendNumber(out, parts.reasoning);
    out += R"(,"audio_tokens":)";
    AppendNumber(out, parts.audio_output);
    out += "}}";
  } else {
    out += '}';
  }
}

std::string_view FinishReason(const Answer& answer) {
  if (answer.request.wants_tool_call) return "tool_calls";
  return answer.limited ? "length" : "stop";
}

void AppendBody(std::string& out, const Answer& answer) {
  if (answer.request.operation == Operation::kEmbeddings) {
    AppendEmbeddings(out, answer);
  } else {
    const bool chat = answer.request.operation == Operation::kChat;
    out += chat ? R"({"id":"chatcmpl-)" : R"({"id":"cmpl-)";
    out += answer.id;
    out += chat ? R"(","object":"chat.completion","created":)"
                : R"(","object":"text_completion","created":)";
    out += kCreated;
    out += R"(,"model":)";
    AppendJsonString(out, answer.request.model);
    out += R"(,"choices":[)";
    AppendChoices(out, answer);
    out += R"(],"service_tier":)";
    AppendJsonString(out, ServiceTier(answer.request, answer.behaviour));
    out += R"(,"system_fingerprint":"fp_mock")";
  }
  if (!answer.behaviour.no_usage) {
    out += R"(,"usage":)";
    AppendUsage(out, answer);
  }
  out += '}';
}

std::string ErrorBody(const Behaviour& behaviour) {
  if (!behaviour.body.empty()) return behaviour.body;
  const ErrorNames names = NamesOf(behaviour.status);
  const auto pick = [](const std::string& own, std::string_view usual) {
    return own.empty() ? usual : std::string_view(own);
  };
  return WriteError(pick(behaviour.error_message, names.message),
                    pick(behaviour.error_type, names.type), "",
                    pick(behaviour.error_code, names.code));
}

std::string ErrorBody(int status, std::string_view message, std::string_view param) {
  const ErrorNames names = NamesOf(status);
  return WriteError(message, names.type, param, names.code);
}

void AppendHead(std::string& out, const Head& head) {
  out += "HTTP/1.1 ";
  AppendNumber(out, head.status);
  out += ' ';
  out += Reason(head.status);
  out += "\r\ncontent-type: ";
  out += head.content_type;
  if (head.length >= 0) {
    out += "\r\ncontent-length: ";
    AppendNumber(out, head.length);
  } else {
    out += "\r\ncache-control: no-cache\r\ntransfer-encoding: chunked";
  }
  if (!head.request_id.empty()) {
    out += "\r\nx-request-id: req_";
    out += head.request_id;
    out += "\r\nopenai-version: 2020-10-01\r\nopenai-processing-ms: 1";
  }
  if (head.retry_after >= 0) {
    out += "\r\nretry-after: ";
    AppendNumber(out, head.retry_after);
  }
  if (head.retry_after_ms >= 0) {
    out += "\r\nretry-after-ms: ";
    AppendNumber(out, head.retry_after_ms);
  }
  if (head.close) out += "\r\nconnection: close";
  out += "\r\n\r\n";
}

}  // namespace spillway::mock
