#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tests/mockprovider/api_request.h"
#include "tests/mockprovider/behaviour.h"

namespace spillway::mock {

// One answer's facts, settled before its first byte.
struct Answer {
  ApiRequest request;
  Behaviour behaviour;
  std::string id;
  int64_t tokens = 0;    // of each choice
  bool limited = false;  // by the request's max_tokens

  int64_t output_tokens() const { return tokens * request.choices; }
};
// The parts of an answer's tokens, each within its whole, as usage says them.
struct TokenParts {
  int64_t cached = 0, cache_write = 0, audio_input = 0;  // of the input
  int64_t reasoning = 0, audio_output = 0;               // of the output
};
TokenParts PartsOf(const Behaviour& behaviour, int64_t input, int64_t output);
// The tier that an answer names: the behaviour's, else the request's, else "default".
std::string ServiceTier(const ApiRequest& request, const Behaviour& behaviour);

Answer MakeAnswer(ApiRequest request, const Behaviour& behaviour, std::string id);

// Appends token `index` of the deterministic text, padded to `width` bytes: "token7xx ".
void AppendToken(std::string& out, int64_t index, int64_t width);
// Bytes of each token so that the whole text has content_bytes.
int64_t TokenWidth(const Answer& answer);
// Token `index` of a tool call's arguments, escaped as it stands in a JSON string.
void AppendArguments(std::string& out, const Answer& answer, int64_t index);
void AppendUsage(std::string& out, const Answer& answer);
std::string_view FinishReason(const Answer& answer);

// The body of an unary answer.
void AppendBody(std::string& out, const Answer& answer);
// {"error": {...}} for a status, or what the behaviour says.
std::string ErrorBody(const Behaviour& behaviour);
std::string ErrorBody(int status, std::string_view message, std::string_view param);

// The head of an answer. `length` < 0: chunked.
struct Head {
  int64_t status = 200;
  std::string_view content_type = "application/json";
  int64_t length = 0;
  std::string_view request_id;
  int64_t retry_after = -1;
  int64_t retry_after_ms = -1;
  bool close = false;
};
void AppendHead(std::string& out, const Head& head);

}  // namespace spillway::mock
