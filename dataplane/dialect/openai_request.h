#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/error.h"

// Requests in the OpenAI wire format: read, and written for upstream. Formats: OpenAI's published
// OpenAPI description (CreateChatCompletionRequest, CreateCompletionRequest,
// CreateEmbeddingRequest).
namespace spillway::openai {

enum class Operation : uint8_t { kChat, kCompletions, kEmbeddings };
// "/v1/chat/completions" -> kChat; nullopt: no operation of this dialect.
std::optional<Operation> OperationOf(std::string_view path);
// The path behind a provider's base_url: "/chat/completions".
std::string_view UpstreamPath(Operation operation);

// Bytes [begin, end) of the body.
struct Span {
  uint32_t begin = 0;
  uint32_t end = 0;
  bool empty() const { return begin == end; }
};

// max_tokens or max_completion_tokens.
struct OutputLimit {
  Span value;          // empty: absent
  int64_t tokens = 0;  // 0: none, or null
};

// What policy needs of a request, and where it stands in the body.
struct Request {
  Operation operation = Operation::kChat;
  std::string model;  // unescaped
  Span model_value;   // with its quotes
  bool stream = false;
  bool include_usage = false;     // the client asked for the usage event
  Span stream_options;            // the value; empty: absent
  Span include_usage_value;       // inside stream_options; empty: absent
  uint32_t members_begin = 0;     // just behind the outermost '{'
  int64_t output_tokens_max = 0;  // of each answer: the larger of the next two; 0: none
  OutputLimit max_tokens;
  OutputLimit max_completion_tokens;
  int64_t choices = 1;   // answers that are made: n or best_of, times the prompts of a completion
  int64_t messages = 0;  // of a chat
  int64_t media_parts =
      0;  // of its messages: content parts that are no text, audio of earlier answers
  int64_t media_bytes = 0;   // of the body, theirs; no text, mostly base64
  std::string service_tier;  // as asked for; empty: not said
  std::string user;
  std::string metadata_user;     // metadata.user
  std::string metadata_feature;  // metadata.feature
  // The first 16 members of `metadata` that are texts under names of at most 64 bytes; values are
  // cut to 512 bytes.
  std::vector<std::pair<std::string, std::string>> metadata;
};

// Extra bytes that must be readable behind a body (simdjson's padding).
inline constexpr size_t kBodyPadding = 64;

// One strict pass over the whole body: valid UTF-8 without BOM, depth <= 128, one value and nothing
// behind it, no duplicate key at any depth (after unescaping), no top-level key that differs from a
// policy field by case only, policy fields of the right type. `body` must have kBodyPadding
// readable bytes behind it.
Result<Request> DecodeRequest(Operation operation, std::string_view body);

// The body for upstream as pieces in order: views into `body` and into the pieces' own text. Only
// the spliced fields differ from what the client sent: `model`; on streams
// stream_options.include_usage = true; and with an output_tokens_cap above 0, the most output
// tokens of each answer: max_tokens and max_completion_tokens that say more (or nothing: null, 0)
// say so much, and where both are absent, max_completion_tokens is added (max_tokens to a
// completion). Embeddings have no cap.
class SplicedBody {
 public:
  SplicedBody(const Request& request, std::string_view body, std::string_view upstream_model,
              int64_t output_tokens_cap = 0);
  SplicedBody(const SplicedBody&) = delete;
  SplicedBody& operator=(const SplicedBody&) = delete;

  const std::vector<std::string_view>& pieces() const { return pieces_; }
  size_t size() const { return size_; }

 private:
  std::string model_text_;
  std::string cap_text_;  // "max_tokens":N,
  std::vector<std::string_view> pieces_;
  size_t size_ = 0;
};

}  // namespace spillway::openai
