#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"

namespace spillway::mock {

enum class Operation : uint8_t { kChat, kCompletions, kEmbeddings };

// What the mock provider needs of a request.
struct ApiRequest {
  Operation operation = Operation::kChat;
  std::string model;
  bool stream = false;
  bool include_usage = false;
  int64_t choices = 1;           // n, times the prompts of a completion
  int64_t tokens_max = -1;       // -1: not limited
  int64_t prompt_tokens = 0;     // bytes of messages, prompt or input / 4, rounded up
  bool wants_tool_call = false;  // tools are offered, and the user spoke last
  std::string service_tier;      // as asked for; empty: not said
  std::string tool_name;
  std::string tool_parameter;       // the first one of that tool
  std::vector<std::string> inputs;  // of embeddings, as JSON
  int64_t dimensions = 16;
  bool base64 = false;
};

// `body` has 64 readable bytes behind it. Refuses what OpenAI refuses.
Result<ApiRequest> ParseApiRequest(Operation operation, std::string_view body);

}  // namespace spillway::mock
