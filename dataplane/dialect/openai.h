#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "common/money.h"

// The OpenAI wire format, both directions: pure functions on bytes. Formats: OpenAI's published
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
  int64_t output_tokens_max = 0;  // max_completion_tokens or max_tokens; 0: none
  int64_t choices = 1;            // n
  std::string user;
  std::string metadata_user;     // metadata.user
  std::string metadata_feature;  // metadata.feature
};

// Extra bytes that must be readable behind a body (simdjson's padding).
inline constexpr size_t kBodyPadding = 64;

// One strict pass over the whole body: valid UTF-8 without BOM, depth <= 128, one value and nothing
// behind it, no duplicate key at any depth (after unescaping), no top-level key that differs from a
// policy field by case only, policy fields of the right type. `body` must have kBodyPadding
// readable bytes behind it.
Result<Request> DecodeRequest(Operation operation, std::string_view body);

// The body for upstream as pieces in order: views into `body` and into the pieces' own text. Only
// the spliced fields differ from what the client sent: `model`, and on streams
// stream_options.include_usage = true.
class SplicedBody {
 public:
  SplicedBody(const Request& request, std::string_view body, std::string_view upstream_model);
  SplicedBody(const SplicedBody&) = delete;
  SplicedBody& operator=(const SplicedBody&) = delete;

  const std::vector<std::string_view>& pieces() const { return pieces_; }
  size_t size() const { return size_; }

 private:
  std::string model_text_;
  std::vector<std::string_view> pieces_;
  size_t size_ = 0;
};

// What an unary answer says. Scans, does not validate what it skips.
struct Response {
  std::optional<TokenUsage> usage;
  bool is_object = false;     // false: not a JSON object at all
  bool is_error = false;      // top-level "error" that is not null
  int64_t content_bytes = 0;  // of all choices: for estimates; 0 when unknown
};
Response ScanResponse(Operation operation, std::string_view body);  // padded like DecodeRequest's
// Reads a provider's error body: message, type, code, param. Never fails.
struct ProviderError {
  std::string message;
  std::string type;
  std::string code;
};
ProviderError ScanError(std::string_view body);

// A streamed answer, scanned in place as it arrives; lines end by CR, LF or CRLF. Forwarded as it
// is but for the usage event nobody asked for, known by the empty array in its `choices`.
class StreamScanner {
 public:
  static constexpr size_t kEventBytesMax = 1 << 20;  // larger ones are broken
  StreamScanner(Operation operation, bool hide_usage_event);

  // Appends to `out` what may go to the client now (views into `bytes` and into held bytes; valid
  // until the next call). False: no SSE, or a broken event (too large, wrong UTF-8, no JSON object,
  // not "[DONE]"): `out` has what came before it, and the scanner is of no further use.
  bool Feed(std::string_view bytes, std::vector<std::string_view>& out);
  // The answer's body has ended properly: an event that only lacks its blank line counts as one,
  // and what was held back for it goes out. mid_event() still: it was cut, and stays held.
  void Finish(std::vector<std::string_view>& out);

  bool done() const { return done_; }                // "[DONE]" was seen
  bool finish_seen() const { return finish_seen_; }  // some finish_reason that is not null
  bool error_seen() const { return error_seen_; }    // an in-band error event
  bool mid_event() const { return mid_event_; }      // the last event is not complete
  bool any_event() const { return events_ > 0; }
  const std::optional<TokenUsage>& usage() const { return usage_; }
  // Output tokens relayed so far, estimated: at least one per content event.
  int64_t output_tokens_estimate() const;

 private:
  size_t FindBlockEnd(std::string_view bytes, size_t from);
  size_t TakeLateLineFeed(std::string_view bytes, std::vector<std::string_view>& out);
  bool Resume(std::string_view bytes, size_t& at, std::vector<std::string_view>& out);
  bool MustHold() const;
  bool OnBlock(std::string_view block, bool& hide);
  bool OnEvent(std::string_view data, std::string_view block, bool& hide);

  bool hide_usage_event_;
  bool done_ = false, finish_seen_ = false, error_seen_ = false, mid_event_ = false;
  bool started_ = false;       // the first block was seen
  bool at_line_begin_ = true;  // no byte of the current line was seen
  bool in_comment_ = false;    // the current line begins with ':'
  bool after_cr_ = false;      // the last byte seen was a CR: an LF belongs to it
  bool last_hidden_ = false;   // the last block was held back for good
  bool held_sent_ = false;     // the client has what held_ holds
  int block_lines_ = 0;        // complete lines of the current block
  int64_t events_ = 0, content_events_ = 0, content_bytes_ = 0;
  std::optional<TokenUsage> usage_;
  std::string held_;      // the current, incomplete block
  std::string released_;  // what the last call gave out of held_
};

// Prompt tokens of a request by its size: bytes / 4, rounded up.
int64_t EstimateInputTokens(size_t body_bytes);

// Our refusals in this dialect: {"error":{"message","type","param","code"}}.
std::string RenderError(const Error& error);
// The same as an in-band event, for streams that were committed: "data: {...}\n\n", no [DONE].
std::string RenderStreamError(const Error& error);

// GET /v1/models and /v1/models/{id}.
std::string RenderModelList(const std::vector<std::string_view>& names);
std::string RenderModel(std::string_view name);

}  // namespace spillway::openai
