#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "common/error.h"
#include "common/money.h"
#include "dataplane/exchange/loop.h"
#include "dataplane/exchange/request.h"
#include "spillway/v1/usage.pb.h"

namespace spillway {

// What the access log line and the metrics of one request say; filled by the stages as they learn
// it. Views stay valid as long as the exchange: they point into specs held by it or into static
// text.
struct AccessRecord {
  std::string key, organization, team, user, feature;
  // Names of the configuration, never the client's own text: they become labels and log fields.
  std::string route, model, provider;
  int status = 0;            // sent downstream; 0: none
  std::string_view refusal;  // error code name; empty: served
  int attempts = 0;
  bool stream = false;
  bool fallback = false;
  std::string_view end;  // finished, upstream_cut, client_left, ...; empty: not relayed
  TokenUsage usage;
  Nanos cost = 0;
  std::string_view usage_source;  // provider, estimated, none
  int64_t upstream_us = 0;        // waiting for providers
  int64_t first_token_us = 0;     // from accept to the first byte of the answer; 0: none
  int64_t request_bytes = 0;
  int64_t response_bytes = 0;
  int64_t revision = 0;
  // "rate_limit/NAME" or "budget/NAME" that refused the request or sent it down; empty: none.
  std::string limit;
  std::string downgraded;      // the cheaper route or model it went to
  std::string budget_warning;  // a budget at its end that only warns
};

struct ResponseHead {
  int status = 200;
  std::string_view content_type = "application/json";
  std::string headers;  // complete further lines, "name: value\r\n" each; framing is the writer's
};

// The downstream side of one exchange; implemented by server/. Everything runs on the loop's
// thread. A failed write means that the client has left (kCancelled).
class ResponseWriter {
 public:
  virtual ~ResponseWriter() = default;
  // A whole answer: head with Content-Length and body, in one write.
  virtual Task<Result<void>> Send(const ResponseHead& head, std::string_view body) = 0;
  // A stream: chunked for HTTP/1.1, ended by close for 1.0. Begin sends nothing by itself: the head
  // goes out with the first Write.
  virtual void Begin(const ResponseHead& head) = 0;
  virtual Task<Result<void>> Write(std::span<const std::string_view> pieces) = 0;
  virtual Task<Result<void>> End() = 0;
  // The last pieces (perhaps none) and the end. A writer that can sends both at once.
  virtual Task<Result<void>> WriteLast(std::span<const std::string_view> pieces) {
    Result<void> written = co_await Write(pieces);
    if (written) written = co_await End();
    co_return written;
  }
  // Ends the connection without a proper end: what was sent never looks complete.
  virtual void Abort() = 0;
  virtual bool committed() const = 0;  // a byte of an answer may have gone out
  // Calls `gone` once when the client closes or resets while nothing is being read; one watch at a
  // time, cleared by passing nullptr. Costs a system call: start it late for unary answers.
  virtual void WatchClient(std::function<void()> gone) = 0;
};

// The request body; implemented by server/.
class BodyReader {
 public:
  virtual ~BodyReader() = default;
  // Reads all of it (answering Expect: 100-continue first), once. The view is followed by
  // openai::kBodyPadding readable bytes and lives as long as the exchange, or until Release.
  // kBodyTooLarge, kRequestTimeout, kInvalidRequest (bad chunking), kCancelled (client left).
  virtual Task<Result<std::string_view>> ReadAll() = 0;
  // Gives the memory back early, once no attempt can need it any more.
  virtual void Release() = 0;
};

// One request and response. Owned by the session's coroutine.
struct Exchange {
  Loop& loop;
  const RequestHead& head;
  BodyReader& body;
  std::string request_id;   // ours, or the client's x-request-id when it is sane
  int64_t accepted_ns = 0;  // when the head was complete
  AccessRecord record = {};
  // Complete header lines that every answer carries, refusals included ("name: value\r\n" each).
  std::string answer_headers = {};
};

}  // namespace spillway
