#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "common/money.h"
#include "dataplane/dialect/openai_request.h"

// The OpenAI wire format, both directions: pure functions on bytes. Requests are in
// openai_request.h.
namespace spillway::openai {

// What an unary answer says. Scans, does not validate what it skips.
struct Response {
  std::optional<TokenUsage> usage;
  bool is_object = false;     // false: not a JSON object at all
  bool is_error = false;      // top-level "error" that is not null
  int64_t content_bytes = 0;  // of all choices: for estimates; 0 when unknown
  std::string service_tier;   // as BilledTier has it
};

// The tier that an answer says it was served in: "flex", "priority", ...; empty: the standard one
// ("default", "standard", "auto"), or no word of at most 32 letters, digits and underscores.
std::string BilledTier(std::string_view reported);
Response ScanResponse(Operation operation, std::string_view body);  // padded like DecodeRequest's
// Reads a provider's error body: message, type, code, param. Never fails.
struct ProviderError {
  std::string message;
  std::string type;
  std::string code;
};
ProviderError ScanError(std::string_view body);

// A streamed answer, scanned in place as it arrives; lines end by CR, LF or CRLF. Whole events are
// forwarded as they are, but for the usage event nobody asked for, known by the empty array in its
// `choices`. What is incomplete waits for its end: half an event never goes out.
class StreamScanner {
 public:
  static constexpr size_t kEventBytesMax = 1 << 20;  // larger ones are broken
  // `secret`: what no error event may repeat; empty: nothing. Must outlive the scanner.
  StreamScanner(Operation operation, bool hide_usage_event, std::string_view secret = {});

  // Appends to `out` what may go to the client now (views into `bytes` and into held bytes; valid
  // until the next call). False: no SSE, or a broken event (too large, wrong UTF-8, neither in
  // braces nor "[DONE]"; parsed are only those with usage or an error), or an error event that is
  // withheld: `out` has what came before it, and the scanner is of no further use.
  bool Feed(std::string_view bytes, std::vector<std::string_view>& out);
  // The answer's body has ended properly: an event that only lacks its blank line counts as one,
  // and what was held back for it goes out. mid_event() still: it was cut, and stays held.
  void Finish(std::vector<std::string_view>& out);

  bool done() const { return done_; }              // "[DONE]" was seen
  int64_t finishes() const { return finishes_; }   // each finish_reason that is not null
  bool error_seen() const { return error_seen_; }  // an in-band error event
  bool withheld() const { return withheld_; }      // one that repeats the secret
  bool mid_event() const { return mid_event_; }    // the last event is not complete
  bool any_event() const { return events_ > 0; }
  const std::optional<TokenUsage>& usage() const { return usage_; }
  bool usage_outdated() const { return usage_outdated_; }  // content came behind it
  // As BilledTier has it; of the last event that named one.
  std::string service_tier() const { return BilledTier(tier_); }
  // Output tokens relayed so far, estimated by their text's length (at most `most`): at least one
  // per content event.
  int64_t OutputTokensEstimate(int64_t most = std::numeric_limits<int64_t>::max()) const;

 private:
  size_t FindBlockEnd(std::string_view bytes, size_t from);
  size_t TakeLateLineFeed(std::string_view bytes, std::vector<std::string_view>& out);
  bool Resume(std::string_view bytes, size_t& at, std::vector<std::string_view>& out);
  bool OnBlock(std::string_view block, bool& hide);
  bool OnEvent(std::string_view data, bool& hide);

  bool hide_usage_event_;
  std::string_view secret_;
  bool done_ = false, error_seen_ = false, mid_event_ = false, usage_outdated_ = false;
  bool withheld_ = false;
  bool started_ = false;       // the first block was seen
  bool at_line_begin_ = true;  // no byte of the current line was seen
  bool in_comment_ = false;    // the current line begins with ':'
  bool after_cr_ = false;      // the last byte seen was a CR: an LF belongs to it
  bool last_hidden_ = false;   // the last block was held back for good
  int block_lines_ = 0;        // complete lines of the current block
  int64_t events_ = 0, finishes_ = 0, content_events_ = 0, content_bytes_ = 0;
  std::optional<TokenUsage> usage_;
  std::string tier_;      // as reported
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
