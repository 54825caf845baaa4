#pragma once

#include <string_view>

#include "dataplane/exchange/exchange.h"
#include "dataplane/server/body_buffer.h"
#include "dataplane/server/chunked_reader.h"
#include "dataplane/server/connection.h"
#include "dataplane/server/limits.h"

namespace spillway {

// The body of the request that a session serves. A small one stays in the buffer it arrived in.
// Lives as long as its session; Begin starts the next request. Loop thread only.
class RequestBody final : public BodyReader {
 public:
  RequestBody(Connection& connection, const SessionLimits& limits)
      : connection_(connection), limits_(limits) {}

  void Begin(const RequestHead& head);
  Task<Result<std::string_view>> ReadAll() override;
  void Release() override;

  // Whether the connection can serve another request: the body was read, or little of it is left.
  bool Skippable() const;
  // Reads and drops what was not read; false: the connection cannot go on.
  Task<bool> SkipRest();

 private:
  enum class State { kUnread, kRead, kFailed };
  Task<Result<void>> Receive();
  Task<Result<void>> ReceiveSized();
  Task<Result<void>> ReceiveChunked();
  Task<Result<void>> SendContinue();
  Error ErrorOf(Connection::ReadEnd end) const;

  Connection& connection_;
  const SessionLimits& limits_;
  const RequestHead* head_ = nullptr;
  State state_ = State::kRead;
  bool continue_due_ = false;
  size_t length_ = 0;        // announced, when not chunked
  size_t inline_bytes_ = 0;  // of the body that lie in the inbox
  BodyBuffer buffer_;        // otherwise
};

}  // namespace spillway
