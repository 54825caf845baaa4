#pragma once

#include <memory>
#include <optional>
#include <string>

#include "dataplane/exchange/exchange.h"
#include "dataplane/server/answer.h"
#include "dataplane/server/connection.h"
#include "dataplane/server/head_parser.h"
#include "dataplane/server/loop_state.h"
#include "dataplane/server/request_body.h"

namespace spillway {

// One connection's life: request after request, each handed to the pipeline. Lives in its own
// coroutine, started by Run. Loop thread only.
class Session {
 public:
  // `refuse_all`: over the connection limit; one request is read and refused. `loop` outlives the
  // task.
  static Task<void> Run(LoopState& loop, std::shared_ptr<Connection> connection, bool refuse_all);

 private:
  Session(LoopState& loop, Connection& connection, bool refuse_all);

  enum class HeadEnd { kComplete, kBad, kTimedOut, kGone };
  Task<void> Live();
  Task<bool> Handshake();
  Task<HeadEnd> ReadHead();
  // False: the connection ends.
  Task<bool> Serve(HeadEnd head_end);
  Task<bool> Finish();
  void TakeHead(HeadEnd head_end);
  // None: the request is handed on.
  std::optional<Error> Refusal(HeadEnd head_end) const;
  std::string RequestId() const;

  LoopState& loop_;
  Connection& connection_;
  const bool refuse_all_;
  HeadParser parser_;
  std::string head_text_;  // the head's bytes, so that an idle stream holds no lent buffer
  RequestBody body_;
  Answer answer_;
};

}  // namespace spillway
