#include "dataplane/dialect/openai.h"

namespace spillway::openai {
namespace {

constexpr std::string_view kPrefix = "/v1";

}  // namespace

std::string_view UpstreamPath(Operation operation) {
  switch (operation) {
    case Operation::kChat:
      return "/chat/completions";
    case Operation::kCompletions:
      return "/completions";
    case Operation::kEmbeddings:
      return "/embeddings";
  }
  return {};
}

std::optional<Operation> OperationOf(std::string_view path) {
  if (!path.starts_with(kPrefix)) return std::nullopt;
  path.remove_prefix(kPrefix.size());
  for (const Operation operation :
       {Operation::kChat, Operation::kCompletions, Operation::kEmbeddings}) {
    if (path == UpstreamPath(operation)) return operation;
  }
  return std::nullopt;
}

int64_t EstimateInputTokens(size_t body_bytes) {
  return static_cast<int64_t>(body_bytes / 4 + (body_bytes % 4 != 0 ? 1 : 0));
}

}  // namespace spillway::openai
